package cli

import (
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
	case !asked && (o.Location == nil || !o.Location.InCloud() || !settings.TakesSnapshots(fl.provider)):
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
