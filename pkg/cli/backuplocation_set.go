package cli

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
)

type locationSet struct {
	locationFlags
	config    flag.Changes
	isDefault flag.OptionalBool
}

func newBackupLocationSet(f *Factory, use string) *cobra.Command {
	o := &locationSet{}
	cmd := &cobra.Command{
		Use:   use + " NAME",
		Short: "Change a storage location",
		Long: "Change a storage location. What no flag names stays as it is, the certificates too; an empty value, as in --credential '', takes a thing away. " +
			"The CronJobs of schedules that store their backups there are brought up to date; with no flag at all, only that is done. " +
			"Where a location is, its provider, bucket and prefix, can't be changed: the backups would be elsewhere.",
		Example: f.examples(locationSetExamples),
		Args:    oneName(locationNoun.word),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := f.connect()
			if err != nil {
				return err
			}
			if !anyChanged(cmd) {
				return refreshOnly(cmd.Context(), s, args[0])
			}
			return o.run(cmd.Context(), s, args[0])
		},
	}
	o.add(cmd.Flags())
	o.complete(cmd)
	f.completeFirst(cmd, completeLocations)
	return cmd
}

func (o *locationSet) add(fs *pflag.FlagSet) {
	o.locationFlags.add(fs)
	fs.Var(&o.config, "config", "Settings of the provider to change: KEY=VALUE sets one, KEY- takes one out, and the others stay.")
	flag.AddOptionalBool(fs, &o.isDefault, "default", "Make it the location of backups that name none, in place of the one that is now; =false makes none the default.")
}

// anyChanged reports whether a flag of the command's own was given.
func anyChanged(cmd *cobra.Command) bool {
	changed := false
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { changed = changed || f.Changed })
	return changed
}

const locationSetExamples = `  # Backups that name no location go there from now on
  %[1]s backup-location set east --default

  # Other credentials, from a Secret
  %[1]s backup-location set east --credential east-2=cloud

  # Only restore from it
  %[1]s backup-location set old --access-mode ReadOnly

  # Change one setting, take another out
  %[1]s backup-location set east --config partSizeMiB=64,kmsKeyId-`

func (o *locationSet) run(ctx context.Context, s *session, name string) error {
	if err := s.mustBeAllowed(ctx, permission{verb: "update", group: "velero.io", resource: "backupstoragelocations"},
		permission{verb: "list", group: "velero.io", resource: "backupstoragelocations"}); err != nil {
		return err
	}
	before, err := s.locations(ctx, []string{name}, "")
	if err != nil {
		return err
	}
	after, err := o.changed(&before[0])
	if err != nil {
		return err
	}
	if err := s.mustHaveWhatItNames(ctx, after); err != nil {
		return err
	}
	schedules, err := s.schedulesIn(ctx, name)
	if err != nil {
		return err
	}
	if err := o.update(ctx, s, name); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Backup storage location %q configured successfully.\n", name)
	if err := o.moveDefault(ctx, s, name); err != nil {
		return err
	}
	return s.refreshCronJobs(ctx, schedules)
}

// refreshOnly brings the CronJobs up to date after somebody changed the location by
// other means, such as kubectl edit.
func refreshOnly(ctx context.Context, s *session, name string) error {
	if _, err := s.locations(ctx, []string{name}, ""); err != nil {
		return err
	}
	schedules, err := s.schedulesIn(ctx, name)
	if err != nil {
		return err
	}
	if err := s.refreshCronJobs(ctx, schedules); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Backup storage location %q is unchanged; the CronJobs of its %d schedules are up to date.\n", name, len(schedules))
	return nil
}

// changed is the location with what was typed, if a Job can use that.
func (o *locationSet) changed(location *velerov1.BackupStorageLocation) (*velerov1.BackupStorageLocation, error) {
	location = location.DeepCopy()
	if location.Spec.ObjectStorage == nil {
		return nil, fmt.Errorf("storage location %q names no bucket; hint: delete it and create it again", location.Name)
	}
	location.Spec.Config = o.config.Apply(location.Spec.Config)
	if err := o.apply(&location.Spec); err != nil {
		return nil, err
	}
	if o.isDefault.Value != nil {
		location.Spec.Default = *o.isDefault.Value
	}
	return location, checkLocationSpec(location.Spec)
}

// update writes the change, also when somebody else wrote in between: maintenance
// keeps the location's status.
func (o *locationSet) update(ctx context.Context, s *session, name string) error {
	locations := s.velero.BackupStorageLocations(s.namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		before, err := locations.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		after, err := o.changed(before)
		if err != nil || reflect.DeepEqual(before.Spec, after.Spec) {
			return err
		}
		_, err = locations.Update(ctx, after, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	return s.explain(fmt.Sprintf("change storage location %q", name), err)
}

// moveDefault takes the default from the others. It comes after the new one has it,
// so that there always is one.
func (o *locationSet) moveDefault(ctx context.Context, s *session, name string) error {
	if o.isDefault.Value == nil {
		return nil
	}
	all, err := s.locations(ctx, nil, "")
	if err != nil {
		return err
	}
	var was []string
	for i := range all {
		other := &all[i]
		if !other.Spec.Default || other.Name == name || !*o.isDefault.Value {
			continue
		}
		if err := s.notDefault(ctx, other.Name); err != nil {
			return err
		}
		was = append(was, other.Name)
	}
	switch {
	case len(was) > 0:
		fmt.Fprintf(s.ErrOut, "note: the default was %s\n", strings.Join(inQuotes(was), ", "))
	case !*o.isDefault.Value:
		s.tellNoDefault(all)
	}
	return nil
}

func (s *session) notDefault(ctx context.Context, name string) error {
	locations := s.velero.BackupStorageLocations(s.namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		location, err := locations.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		location.Spec.Default = false
		_, err = locations.Update(ctx, location, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	return s.explain(fmt.Sprintf("take the default from storage location %q, which is still one beside the new", name), err)
}

// tellNoDefault warns when backups that name no location would go nowhere.
func (s *session) tellNoDefault(locations []velerov1.BackupStorageLocation) {
	if _, err := chooseLocation(locations, ""); err == nil || len(locations) == 0 {
		return
	}
	s.warn("no storage location is the default one, so each backup has to name one; hint: `%s backup-location set NAME --default`", s.name)
}
