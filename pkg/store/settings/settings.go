// Package settings knows what a location's config may say: the keys of each
// provider, what their values look like and which go together. It links no cloud
// SDK, so that the command line can refuse what no Job could use. Names and
// meanings are those of Velero's plugins for AWS, Azure and GCP.
package settings

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/spelling"
)

// The providers, by their full names.
const (
	ProviderAWS        = velerov1.DefaultProviderNamespace + "/aws"
	ProviderAzure      = velerov1.DefaultProviderNamespace + "/azure"
	ProviderGCP        = velerov1.DefaultProviderNamespace + "/gcp"
	ProviderFilesystem = velerov1.DefaultProviderNamespace + "/filesystem"
)

// Providers are the names that a user writes.
func Providers() []string { return []string{"aws", "azure", "filesystem", "gcp"} }

// Provider is the full name of a provider: one without a slash gets Velero's
// domain. A name that isn't known is an error that tells the nearest.
func Provider(name string) (string, error) {
	full := name
	if !strings.Contains(full, "/") {
		full = velerov1.DefaultProviderNamespace + "/" + full
	}
	switch full {
	case ProviderAWS, ProviderAzure, ProviderGCP, ProviderFilesystem:
		return full, nil
	}
	if name == "" {
		return "", fmt.Errorf("no provider is named; hint: it is one of %q", Providers())
	}
	short := strings.TrimPrefix(full, velerov1.DefaultProviderNamespace+"/")
	return "", fmt.Errorf("provider %q is not supported by this version; hint: did you mean %q? It is one of %q", name, nearest(short, Providers()), Providers())
}

// Check says whether a BackupStorageLocation of this provider can have this
// config.
func Check(provider string, config map[string]string) error {
	full, err := Provider(provider)
	if err != nil {
		return err
	}
	switch full {
	case ProviderAWS:
		_, err = ParseS3(config)
	case ProviderAzure:
		_, err = ParseAzure(config)
	case ProviderGCP:
		_, err = ParseGCS(config)
	case ProviderFilesystem:
		_, err = ParseFilesystem(config)
	}
	return err
}

// parse reads each setting into the struct that into points to. One that isn't
// known is an error, since it is most likely a known one misspelt.
func parse[T any](into *T, keys map[string]func(*T, string) error, config map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(config)) {
		set, ok := keys[key]
		if !ok {
			return fmt.Errorf("unknown config key %q; hint: did you mean %q?", key, nearest(key, slices.Sorted(maps.Keys(keys))))
		}
		if err := set(into, config[key]); err != nil {
			return fmt.Errorf("config key %q: %w", key, err)
		}
	}
	return nil
}

func setBool(to *bool, value string) error {
	if value == "" {
		return nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return fmt.Errorf("%q is not a boolean; hint: set it to \"true\" or \"false\"", value)
	}
	*to = b
	return nil
}

// nearest picks the candidate that takes the fewest edits to become name,
// without regard to case.
func nearest(name string, candidates []string) string {
	best, fewest := "", -1
	for _, c := range candidates {
		if d := spelling.Distance(strings.ToLower(name), strings.ToLower(c)); fewest < 0 || d < fewest {
			best, fewest = c, d
		}
	}
	return best
}
