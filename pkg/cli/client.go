package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// configKeys are the keys of the client config file that have an effect here.
var configKeys = []string{"cacert", "features", "namespace"}

func newClientCommand(f *Factory) *cobra.Command {
	config := group(f, &cobra.Command{Use: "config", Short: "Read and change the client config file"},
		newConfigGet(f), newConfigSet(f))
	return group(f, &cobra.Command{Use: "client", Short: "Settings of this program on this machine"}, config)
}

func newConfigGet(f *Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "get [KEY...]",
		Short: "Print what the client config file says",
		Long:  "Print what the client config file, $HOME/.config/velero/config.json, says: the given keys, or all.",
		Example: f.examples(`  # Everything
  %[1]s client config get

  # Which feature flags install uses
  %[1]s client config get features`),
		ValidArgs: configKeys,
		RunE:      func(_ *cobra.Command, keys []string) error { return f.printConfig(keys) },
	}
}

func (f *Factory) printConfig(keys []string) error {
	values, err := readConfigValues()
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		keys = slices.Sorted(maps.Keys(values))
	}
	for _, key := range keys {
		value, set := values[key]
		if !set {
			value = "<NOT SET>"
		}
		fmt.Fprintf(f.Out, "%s: %v\n", key, value)
	}
	return nil
}

func newConfigSet(f *Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "set KEY=VALUE...",
		Short: "Change the client config file",
		Long:  "Change the client config file, $HOME/.config/velero/config.json, which Velero's own client reads, too. KEY= takes a key out.",
		Example: f.examples(`  # Where Velero's objects live, when -n is not given
  %[1]s client config set namespace=backup

  # The feature flags that install gives to Jobs
  %[1]s client config set features=EnableAPIGroupVersions`),
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, pairs []string) error { return f.setConfig(pairs) },
	}
}

func (f *Factory) setConfig(pairs []string) error {
	if len(pairs) == 0 {
		return fmt.Errorf("nothing to set; hint: %s client config set namespace=backup", f.name)
	}
	values, err := readConfigValues()
	if err != nil {
		return err
	}
	if values == nil {
		values = map[string]any{}
	}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok || key == "":
			return fmt.Errorf("%q is not of the form KEY=VALUE; hint: %s client config set namespace=backup", pair, f.name)
		case !slices.Contains(configKeys, key):
			f.warn("%q is stored, and has no effect here; hint: there are %s", key, enumerate(configKeys))
		}
		if value == "" {
			delete(values, key)
			continue
		}
		values[key] = value
	}
	return writeConfigValues(values)
}
