package settings

import (
	"errors"
	"fmt"
	"strings"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// snapshotConfig is what CheckSnapshots looks at beyond the names of the keys.
type snapshotConfig struct{ region string }

type snapshotKey = func(*snapshotConfig, string) error

// snapshotKeys are the settings of a VolumeSnapshotLocation of each provider, which
// are those of Velero's plugins.
var snapshotKeys = map[string]map[string]snapshotKey{
	ProviderAWS: {
		"region":             func(c *snapshotConfig, v string) error { c.region = v; return nil },
		"profile":            anyValue,
		"credentialsFile":    anyValue,
		"enableSharedConfig": anyValue, // always on
		"ebsKmsKeyId":        anyValue,
	},
	ProviderAzure: {
		"apiTimeout":                  aDuration,
		"resourceGroup":               anyValue,
		"subscriptionId":              anyValue,
		"incremental":                 aBool,
		"tags":                        someTags,
		"credentialsFile":             anyValue,
		"activeDirectoryAuthorityURI": anyValue, // documented, though Velero's plugin refuses it
	},
	ProviderGCP: {
		"snapshotLocation": anyValue,
		"project":          anyValue,
		"volumeProject":    anyValue,
		"snapshotType":     aSnapshotType,
		"credentialsFile":  anyValue,
	},
}

// CheckSnapshots says whether a VolumeSnapshotLocation of this provider can have
// this config. Of a provider that isn't one of Velero's own nothing is known, and
// everything is allowed.
func CheckSnapshots(provider string, config map[string]string) error {
	if provider == "" {
		return errors.New("no provider is named; hint: it is one of \"aws\", \"azure\", \"gcp\"")
	}
	provider = SnapshotProvider(provider)
	keys, ok := snapshotKeys[provider]
	if !ok {
		return nil
	}
	var c snapshotConfig
	if err := parse(&c, keys, config); err != nil {
		return err
	}
	if provider == ProviderAWS && c.region == "" {
		return errors.New("config key \"region\" is missing; hint: set it to the region of the disks, such as region=eu-central-1")
	}
	return nil
}

// TakesSnapshots reports whether snapshots of this provider's disks can be taken by
// its own API.
func TakesSnapshots(provider string) bool {
	_, ok := snapshotKeys[SnapshotProvider(provider)]
	return ok
}

// SnapshotProvider is the full name of the provider of a VolumeSnapshotLocation:
// "velero.io/aws" for "aws".
func SnapshotProvider(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return velerov1.DefaultProviderNamespace + "/" + name
}

func anyValue(*snapshotConfig, string) error { return nil }

func aBool(_ *snapshotConfig, value string) error {
	var b bool
	return setBool(&b, value)
}

func aDuration(_ *snapshotConfig, value string) error {
	if d, err := time.ParseDuration(value); err != nil || d <= 0 {
		return fmt.Errorf("%q is not a duration; hint: write 2m0s", value)
	}
	return nil
}

func aSnapshotType(_ *snapshotConfig, value string) error {
	switch value {
	case "", "STANDARD", "ARCHIVE":
		return nil
	}
	return fmt.Errorf("%q is not one of \"STANDARD\" and \"ARCHIVE\"", value)
}

func someTags(_ *snapshotConfig, value string) error {
	for _, tag := range strings.Split(value, ",") {
		if name, _, ok := strings.Cut(tag, "="); value != "" && (!ok || name == "") {
			return fmt.Errorf("%q is not of the form key1=value1,key2=value2", value)
		}
	}
	return nil
}
