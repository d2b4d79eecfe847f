package armtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// check says why Azure refuses to make a disk or a snapshot, and else of what it is
// made.
func (s *Server) check(r *request, wanted *Resource) (source *Resource, problem *Fault) {
	created := wanted.Properties.CreationData
	if created == nil || created.CreateOption != "Copy" || created.SourceResourceID == "" {
		return nil, invalid("Required parameter 'creationData.sourceResourceId' is missing (null).")
	}
	if wanted.Location != Region {
		return nil, &Fault{Status: http.StatusBadRequest, Code: "LocationNotAvailableForResourceType", Message: "The provided location '" + wanted.Location + "' is not available."}
	}
	from := strings.ToLower(created.SourceResourceID)
	source, linked := s.disks[from], "Microsoft.Compute/disks/beginGetAccess/action"
	if r.kind == kindDisks {
		source, linked = s.snapshots[from], "Microsoft.Compute/snapshots/beginGetAccess/action"
	}
	switch {
	case source == nil:
		return nil, &Fault{Status: http.StatusNotFound, Code: "NotFound", Message: "Resource " + created.SourceResourceID + " is not found."}
	case !s.has(linked):
		return nil, &Fault{Status: http.StatusForbidden, Code: "LinkedAuthorizationFailed", Message: fmt.Sprintf("The client '%s' has permission to perform action 'Microsoft.Compute/%s/write' on scope '%s'; however, it does not have permission to perform action(s) '%s' on the linked scope(s) '%s' (respectively) or the linked scope(s) are invalid.", Client, r.kind, r.id(), linked, created.SourceResourceID)}
	}
	for _, rule := range []*Fault{checkName(r.name), checkTags(wanted.Tags), s.checkEncryption(r, wanted, source)} {
		if rule != nil {
			return nil, rule
		}
	}
	if r.kind == kindDisks {
		return source, checkDisk(wanted, source)
	}
	return source, checkSnapshot(r, wanted, source)
}

func invalid(message string) *Fault {
	return &Fault{Status: http.StatusBadRequest, Code: "InvalidParameter", Message: message}
}

// checkName knows https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
func checkName(name string) *Fault {
	if len(name) > 80 || strings.HasSuffix(name, ".") || strings.HasSuffix(name, "-") {
		return invalid("The entity name '" + name + "' is invalid according to its validation rule.")
	}
	return nil
}

// checkTags knows https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations
func checkTags(tags map[string]string) *Fault {
	if len(tags) > 50 {
		return &Fault{Status: http.StatusBadRequest, Code: "InvalidTagsCount", Message: "The tags count exceeds the limit of '50'."}
	}
	seen := map[string]bool{}
	for name, value := range tags {
		if strings.ContainsAny(name, `<>%&\?/`) || len(name) > 512 || seen[strings.ToLower(name)] {
			return &Fault{Status: http.StatusBadRequest, Code: "InvalidTagNameCharacters", Message: "The tag name '" + name + "' is invalid."}
		}
		if len(value) > 256 {
			return &Fault{Status: http.StatusBadRequest, Code: "TagValueTooLong", Message: "The value of tag '" + name + "' is too long."}
		}
		seen[strings.ToLower(name)] = true
	}
	return nil
}

// checkEncryption knows that copies have the key of what they are copies of.
func (s *Server) checkEncryption(r *request, wanted, source *Resource) *Fault {
	set := func(of *Resource) string {
		if of.Properties.Encryption == nil {
			return ""
		}
		return of.Properties.Encryption.DiskEncryptionSetID
	}
	switch {
	case set(source) != set(wanted):
		return invalid("The disk encryption set of the source and of '" + r.name + "' must be the same.")
	case set(wanted) != "" && !strings.HasPrefix(set(wanted), "/subscriptions/"+r.subscription+"/"):
		return invalid("The disk encryption set must be in the subscription of '" + r.name + "'.")
	case set(wanted) != "" && !s.has("Microsoft.Compute/diskEncryptionSets/read"):
		return &Fault{Status: http.StatusForbidden, Code: "LinkedAuthorizationFailed", Message: "The client does not have permission to perform action(s) 'Microsoft.Compute/diskEncryptionSets/read' on the linked scope(s)."}
	}
	return nil
}

// checkSnapshot knows https://learn.microsoft.com/azure/virtual-machines/disks-incremental-snapshots#restrictions
func checkSnapshot(r *request, wanted, source *Resource) *Fault {
	incremental := wanted.Properties.Incremental != nil && *wanted.Properties.Incremental
	if onlyIncremental(source) && !incremental {
		return invalid("Only incremental snapshots are supported for disks of sku " + source.SKU.Name + ".")
	}
	if incremental && !strings.HasPrefix(strings.ToLower(source.ID), "/subscriptions/"+strings.ToLower(r.subscription)+"/") {
		return &Fault{Status: http.StatusBadRequest, Code: "OperationNotAllowed", Message: "An incremental snapshot can't be created outside of the subscription of the disk."}
	}
	return nil
}

func onlyIncremental(disk *Resource) bool {
	return disk.SKU != nil && (disk.SKU.Name == "UltraSSD_LRS" || disk.SKU.Name == "PremiumV2_LRS")
}

func checkDisk(wanted, source *Resource) *Fault {
	percent := source.Properties.CompletionPercent
	switch {
	case percent != nil && *percent < 100 && source.Properties.SnapshotAccessState != "InstantAccess":
		return &Fault{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: "Snapshot " + source.Name + " is still being copied."}
	case len(wanted.Zones) > 1:
		return &Fault{Status: http.StatusBadRequest, Code: "ResourceTypeNotSupportMultiZones", Message: "The resource type 'disks' does not support multiple availability zones."}
	case len(wanted.Zones) == 1 && wanted.SKU != nil && strings.HasSuffix(wanted.SKU.Name, "_ZRS"):
		return invalid("Zones can't be set for disks of sku " + wanted.SKU.Name + ".")
	case len(wanted.Zones) == 1 && !slices.Contains([]string{"1", "2", "3"}, wanted.Zones[0]):
		return &Fault{Status: http.StatusBadRequest, Code: "InvalidAvailabilityZone", Message: fmt.Sprintf("The zone(s) '%s' for resource 'Microsoft.Compute/disks' is not supported. The supported zones for location '%s' are '1,2,3'.", wanted.Zones[0], Region)}
	case !onlyIncremental(wanted) && (wanted.Properties.DiskIOPSReadWrite != 0 || wanted.Properties.DiskMBpsReadWrite != 0):
		return invalid("diskIOPSReadWrite can only be set for UltraSSD_LRS and PremiumV2_LRS.")
	}
	return nil
}
