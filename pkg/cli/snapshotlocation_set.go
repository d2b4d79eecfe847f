package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
)

type snapshotLocationSet struct {
	credential flag.SecretKey
	// change says that there is something to change.
	change bool
}

func newSnapshotLocationSet(f *Factory, use string) *cobra.Command {
	o := &snapshotLocationSet{}
	cmd := &cobra.Command{
		Use:   use + " NAME",
		Short: "Change a snapshot location",
		Long:  "Change a snapshot location, and bring the CronJobs of schedules up to date with the snapshot locations. Without flags it does only the latter.",
		Example: f.examples(`  # Other credentials
  %[1]s snapshot-location set disks --credential disks-2=cloud

  # Those given at installation
  %[1]s snapshot-location set disks --credential ''`),
		Args: oneName(snapshotLocationNoun.word),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.connect()
			if err != nil {
				return err
			}
			o.change = cmd.Flags().Changed("credential")
			return o.run(cmd.Context(), s, args[0])
		},
	}
	cmd.Flags().Var(&o.credential, "credential", "The Secret with the provider's credentials, and the key in it: SECRET=KEY; empty for those given at installation.")
	f.completeFirst(cmd, completeSnapshotLocations)
	return cmd
}

func (o *snapshotLocationSet) run(ctx context.Context, s *session, name string) error {
	if _, err := s.snapshotLocations(ctx, []string{name}, ""); err != nil {
		return err
	}
	if o.change {
		if err := o.setCredential(ctx, s, name); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.Out, "Volume snapshot location %q configured successfully.\n", name)
	return s.refreshSnapshotSchedules(ctx)
}

// refreshSnapshotSchedules gives the CronJobs of schedules the credentials of the
// snapshot locations as they are now.
func (s *session) refreshSnapshotSchedules(ctx context.Context) error {
	schedules, err := s.schedulesWithSnapshots(ctx)
	if err != nil {
		return err
	}
	return s.refreshCronJobs(ctx, schedules)
}

func (o *snapshotLocationSet) setCredential(ctx context.Context, s *session, name string) error {
	credential := selector(o.credential)
	if credential != nil {
		if err := s.checkSecretKey(ctx, "--credential", credential, checkNotEmpty); err != nil {
			return err
		}
	}
	locations := s.velero.VolumeSnapshotLocations(s.namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		location, err := locations.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		location.Spec.Credential = credential
		_, err = locations.Update(ctx, location, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	if err != nil {
		return s.explain(fmt.Sprintf("change snapshot location %q", name), err)
	}
	return nil
}
