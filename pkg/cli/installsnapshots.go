package cli

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// snapshotFlags are about the default location of the clouds' own disk snapshots.
type snapshotFlags struct {
	use    flag.OptionalBool
	config flag.Map
}

func (s *snapshotFlags) add(flags *pflag.FlagSet) {
	s.config = flag.NewMap("=")
	flag.AddOptionalBool(flags, &s.use, "use-volume-snapshots", "Make a default location for the cloud's own snapshots of disks. Default: where the provider is a cloud; =false makes none. Volumes of CSI drivers need none.")
	flags.Var(&s.config, "snapshot-location-config", "Settings of the default snapshot location, such as region=us-east-1. Default, with the provider aws: the region of --backup-location-config.")
}

// findsDisks reports whether the disks can be found with these credentials: those of
// Azure have to say in which subscription and resource group they are.
func findsDisks(provider string, credentials []byte) bool {
	return settings.SnapshotProvider(provider) != settings.ProviderAzure ||
		bytes.Contains(credentials, []byte("AZURE_SUBSCRIPTION_ID=")) && bytes.Contains(credentials, []byte("AZURE_RESOURCE_GROUP="))
}

// readSnapshots takes over the default snapshot location. It comes after readLocation.
func (fl *installFlags) readSnapshots(o *install.Options) error {
	s := &fl.snapshots
	config := s.config.Data()
	asked := s.use.Value != nil && *s.use.Value || len(config) > 0
	switch {
	case s.use.Value != nil && !*s.use.Value:
		if len(config) > 0 {
			return errors.New("--snapshot-location-config and --use-volume-snapshots=false can't go together; hint: leave out one of the two")
		}
		return nil
	case asked && fl.provider == "":
		return errors.New("--provider is required for a snapshot location; hint: --provider aws, azure or gcp")
	case asked && !settings.TakesSnapshots(fl.provider):
		return fmt.Errorf("--use-volume-snapshots: provider %q takes no snapshots of disks; hint: leave it out; volumes of CSI drivers need no location", fl.provider)
	case !asked && (o.Location == nil || !o.Location.InCloud() || !settings.TakesSnapshots(fl.provider) || !findsDisks(fl.provider, o.Credentials)):
		return nil
	}
	if region := fl.locationConfig.Data()["region"]; config["region"] == "" && region != "" && settings.SnapshotProvider(fl.provider) == settings.ProviderAWS {
		config = with(config, "region", region)
	}
	if err := settings.CheckSnapshots(fl.provider, config); err != nil {
		if !asked {
			return nil // nobody has said where the disks are
		}
		return fmt.Errorf("--snapshot-location-config: %w", err)
	}
	o.SnapshotLocation = &install.SnapshotLocation{Provider: fl.provider, Config: config}
	return nil
}
