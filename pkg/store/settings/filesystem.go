package settings

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Filesystem is the config of a location of provider velero.io/filesystem: a
// folder, named by the bucket, of a volume that the Job mounts.
type Filesystem struct {
	// Claim is the PersistentVolumeClaim, in the location's namespace.
	Claim string
	// Group is the group that the volume is given to, so that the executor may
	// write; 0: the cluster's own rules decide.
	Group int64
}

// The config keys of a filesystem location.
const (
	// FilesystemClaimKey names the claim; it is required.
	FilesystemClaimKey = "persistentVolumeClaim"
	// FilesystemGroupKey is the number of the group, or FilesystemGroupNone.
	FilesystemGroupKey = "fsGroup"
	// FilesystemGroupNone leaves the group to the cluster, as OpenShift asks for.
	FilesystemGroupNone = "none"
)

// DefaultFilesystemGroup is the group of the executor image.
const DefaultFilesystemGroup = 65532

var filesystemKeys = map[string]func(*Filesystem, string) error{
	FilesystemClaimKey: setClaim,
	FilesystemGroupKey: setGroup,
}

// ParseFilesystem reads the config.
func ParseFilesystem(config map[string]string) (Filesystem, error) {
	f := Filesystem{Group: DefaultFilesystemGroup}
	if err := parse(&f, filesystemKeys, config); err != nil {
		return f, err
	}
	if f.Claim == "" {
		return f, fmt.Errorf("config key %q is missing; hint: set it to the name of the PersistentVolumeClaim that is to hold the backups", FilesystemClaimKey)
	}
	return f, nil
}

func setClaim(f *Filesystem, value string) error {
	if problems := validation.IsDNS1123Subdomain(value); value != "" && len(problems) > 0 {
		return fmt.Errorf("%q is no name of a PersistentVolumeClaim: %s", value, strings.Join(problems, "; "))
	}
	f.Claim = value
	return nil
}

func setGroup(f *Filesystem, value string) error {
	switch value {
	case "":
		return nil
	case FilesystemGroupNone:
		f.Group = 0
		return nil
	}
	group, err := strconv.ParseUint(value, 10, 31)
	if err != nil || group == 0 {
		return fmt.Errorf("%q is not the number of a group; hint: set it to a number, or to %q where the cluster assigns one, as OpenShift does", value, FilesystemGroupNone)
	}
	f.Group = int64(group)
	return nil
}
