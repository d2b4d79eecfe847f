package gcepd

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

const (
	// ownPrefix begins the keys that Velero doesn't have.
	ownPrefix = "kubectl-velero.io/"
	// ownerKey has the UID of the Backup.
	ownerKey = ownPrefix + "backup-uid"
	// throughputKey has what was provisioned for the disk, in MB/s.
	throughputKey = ownPrefix + "disk-throughput"
	// accessModeKey has how many machines may attach the disk, if not one.
	accessModeKey = ownPrefix + "disk-access-mode"
	// defaultAccessMode is what a disk has unless it is told.
	defaultAccessMode = "READ_WRITE_SINGLE"

	// maxDescription is how long a description may be, in bytes.
	maxDescription = 2048
)

// keptTags are the tags that a description has in any case.
var keptTags = []string{"velero.io/backup", "velero.io/pv"}

// describe is the description of a snapshot: the tags, over those that the
// description of the disk has. Where that is too long, those of the disk go, then the
// labels of the backup.
func describe(disk *compute.Disk, r snapshot.CreateRequest) string {
	own := ownTags(disk, r.Owner)
	for _, tags := range []map[string]string{
		merge(withoutOwn(parseTags(disk.Description)), r.Tags, own),
		merge(r.Tags, own),
	} {
		if text := encodeTags(tags); len(text) <= maxDescription {
			return text
		}
	}
	kept := maps.Clone(r.Tags)
	maps.DeleteFunc(kept, func(key, _ string) bool { return !slices.Contains(keptTags, key) })
	return encodeTags(merge(kept, own))
}

// merge puts the later tags over the earlier ones.
func merge(all ...map[string]string) map[string]string {
	merged := map[string]string{}
	for _, tags := range all {
		maps.Copy(merged, tags)
	}
	return merged
}

// ownTags are what CreateVolume and Find look for.
func ownTags(disk *compute.Disk, owner snapshot.Owner) map[string]string {
	own := map[string]string{ownerKey: owner.UID}
	if disk.ProvisionedThroughput > 0 {
		own[throughputKey] = strconv.FormatInt(disk.ProvisionedThroughput, 10)
	}
	if disk.AccessMode != "" && disk.AccessMode != defaultAccessMode {
		own[accessModeKey] = disk.AccessMode
	}
	return own
}

// parseTags reads a description. One that a person wrote has no tags.
func parseTags(description string) map[string]string {
	var tags map[string]string
	if json.Unmarshal([]byte(description), &tags) != nil {
		return nil
	}
	return tags
}

// withoutOwn leaves out what is about another snapshot of ours.
func withoutOwn(tags map[string]string) map[string]string {
	maps.DeleteFunc(tags, func(key, _ string) bool { return strings.HasPrefix(key, ownPrefix) })
	return tags
}

// encodeTags writes a description; no tags are none.
func encodeTags(tags map[string]string) string {
	if len(tags) == 0 {
		return ""
	}
	text, err := json.Marshal(tags)
	if err != nil {
		return "" // strings can always be written
	}
	return string(text)
}
