package run

import (
	"context"
	"errors"
	"fmt"
	"os"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/azuredisk"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/gcepd"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// openSnapshotter opens the snapshotter of a location with the credentials that this
// pod has for it.
func openSnapshotter(opts Options) func(context.Context, *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
	return func(ctx context.Context, location *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
		config := snapshot.Config{Location: location.Name, Settings: location.Spec.Config}
		var err error
		if config.CredentialsFile, err = snapshotCredentials(opts, location); err != nil {
			return nil, err
		}
		return OpenSnapshotter(ctx, location.Spec.Provider, config)
	}
}

// snapshotCredentials is the file with a location's credentials. One with a Secret of
// its own, which this pod's Job didn't mount, is refused: other credentials might be
// another account's.
func snapshotCredentials(opts Options, location *velerov1.VolumeSnapshotLocation) (string, error) {
	for _, file := range launch.SnapshotCredentialsFiles(location) {
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	if location.Spec.Credential == nil {
		return opts.CredentialsFile, nil
	}
	return "", &Refusal{Problems: []string{fmt.Sprintf("this Job was not made for snapshot location %q as it is now: it has not the credentials of secret %q; "+
		"hint: `kubectl velero snapshot-location set %[1]s` brings the CronJobs of schedules up to date; else start the operation again",
		location.Name, location.Spec.Credential.Name)}}
}

// errNoSnapshotter is the error about a provider that this version doesn't know.
var errNoSnapshotter = errors.New("this version takes no snapshots of that provider; hint: it knows aws, azure and gcp, and CSI drivers without a snapshot location")

// OpenSnapshotter opens the snapshotter of a provider, such as "aws" or
// "velero.io/aws".
func OpenSnapshotter(ctx context.Context, provider string, config snapshot.Config) (snapshot.Snapshotter, error) {
	if err := settings.CheckSnapshots(provider, config.Settings); err != nil {
		return nil, config.Errorf("%w", err)
	}
	switch settings.SnapshotProvider(provider) {
	case settings.ProviderAWS:
		return ebs.Open(ctx, config)
	case settings.ProviderAzure:
		return azuredisk.Open(ctx, config)
	case settings.ProviderGCP:
		return gcepd.Open(ctx, config)
	}
	return nil, config.Errorf("provider %q: %w", provider, errNoSnapshotter)
}
