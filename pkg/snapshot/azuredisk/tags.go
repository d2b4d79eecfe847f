package azuredisk

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
)

// The tags that are ours. Names of tags can't have a slash.
const (
	tagPrefix = "kubectl-velero.io-"
	// tagOwner has the UID of the backup that a snapshot belongs to.
	tagOwner = tagPrefix + "backup-uid"
	// tagDisk has what a snapshot doesn't keep of its disk.
	tagDisk = tagPrefix + "disk"
)

// The limits of Azure:
// https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources
const (
	maxTags     = 50
	maxTagName  = 512
	maxTagValue = 256
)

// tagName is the name that Velero gives to the tag of a label.
var tagName = strings.NewReplacer("/", "-", "<", "-", ">", "-", "%", "-", "&", "-", `\`, "-", "?", "-")

// mergeTags puts tags together, the strongest first. Where Azure's limit is reached,
// the weakest are left out. Names that differ in case are one to Azure.
func mergeTags(layers ...map[string]string) map[string]*string {
	merged := map[string]*string{}
	taken := map[string]bool{}
	for _, layer := range layers {
		for _, name := range slices.Sorted(maps.Keys(layer)) {
			written := cut(tagName.Replace(name), maxTagName)
			if key := strings.ToLower(written); !taken[key] && len(merged) < maxTags {
				taken[key] = true
				merged[written] = to.Ptr(cut(layer[name], maxTagValue))
			}
		}
	}
	return merged
}

func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most])
	}
	return text
}

// foreign are the tags that aren't ours.
func foreign(tags map[string]*string) map[string]string {
	kept := map[string]string{}
	for name, value := range tags {
		if !strings.HasPrefix(strings.ToLower(name), tagPrefix) && value != nil {
			kept[name] = *value
		}
	}
	return kept
}

// tagOf looks a tag up as Azure does.
func tagOf(tags map[string]*string, wanted string) string {
	for name, value := range tags {
		if strings.EqualFold(name, wanted) && value != nil {
			return *value
		}
	}
	return ""
}

// traits are what a disk has and its snapshot hasn't. They travel in a tag, as
// "maxShares=2,throughput=200".
type traits map[string]string

// The names of traits.
const (
	traitThroughput = "throughput" // MB/s
	traitShares     = "maxShares"
	traitTier       = "tier"
	traitBursting   = "bursting"
	traitSector     = "sector" // bytes
)

// traitsOf are those of a disk that differ from what a new disk would have.
func traitsOf(disk *armcompute.Disk) traits {
	t := traits{}
	p := disk.Properties
	if p.DiskMBpsReadWrite != nil && isProvisioned(skuOf(disk)) {
		t[traitThroughput] = strconv.FormatInt(*p.DiskMBpsReadWrite, 10)
	}
	if p.MaxShares != nil && *p.MaxShares > 1 {
		t[traitShares] = strconv.Itoa(int(*p.MaxShares))
	}
	if p.Tier != nil && *p.Tier != "" && isPremium(skuOf(disk)) {
		t[traitTier] = *p.Tier
	}
	if p.BurstingEnabled != nil && *p.BurstingEnabled {
		t[traitBursting] = "true"
	}
	if p.CreationData != nil && p.CreationData.LogicalSectorSize != nil {
		t[traitSector] = strconv.Itoa(int(*p.CreationData.LogicalSectorSize))
	}
	return t
}

func (t traits) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		parts = append(parts, name+"="+t[name])
	}
	return strings.Join(parts, ",")
}

// parseTraits reads what String wrote; what isn't of that form is left out.
func parseTraits(text string) traits {
	t := traits{}
	for _, part := range strings.Split(text, ",") {
		if name, value, ok := strings.Cut(part, "="); ok {
			t[name] = value
		}
	}
	return t
}

// number is a trait's number; nil if there is none.
func (t traits) number(name string) *int64 {
	n, err := strconv.ParseInt(t[name], 10, 64)
	if err != nil || n <= 0 {
		return nil
	}
	return &n
}
