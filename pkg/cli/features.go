package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
)

// knownFeatures are Velero's feature flags.
var knownFeatures = []string{"EnableAPIGroupVersions", "EnableCSI"}

// configuredFeatures are those of the client config file.
func (f *Factory) configuredFeatures() flag.List {
	config, err := readClientConfig()
	if err != nil {
		f.warn("%v", err)
	}
	var features flag.List
	_ = features.Set(config.Features) // a List takes any text
	return features
}

// readFeatures takes the feature flags over. One that Velero has never had may
// be of a later version, so it is only a warning.
func (fl *installFlags) readFeatures(f *Factory) func(*install.Options) error {
	return func(o *install.Options) error {
		for _, name := range fl.features {
			if strings.ContainsAny(name, " \t\n=") {
				return fmt.Errorf("--features: %q is no feature flag; hint: there are %s", name, enumerate(knownFeatures))
			}
			if !slices.Contains(knownFeatures, name) {
				f.warn("--features: %q is not known and has no effect; hint: there are %s", name, enumerate(knownFeatures))
			}
		}
		if o.Features = fl.features; o.Features == nil && fl.featuresSet {
			o.Features = []string{}
		}
		return nil
	}
}
