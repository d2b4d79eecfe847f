package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// restoreSource is what is restored from: a backup, or the newest good one of a
// schedule.
type restoreSource struct {
	fromBackup, fromSchedule flag.Name
	allowPartiallyFailed     flag.OptionalBool
}

func (o *restoreSource) add(fs *pflag.FlagSet) {
	fs.Var(&o.fromBackup, "from-backup", "The backup to restore from. This or --from-schedule is required.")
	fs.Var(&o.fromSchedule, "from-schedule", "The schedule whose newest backup that is Completed to restore from. The schedule itself may be gone.")
	flag.AddOptionalBool(fs, &o.allowPartiallyFailed, "allow-partially-failed", "With --from-schedule: a newer backup that is PartiallyFailed will do, too.")
}

func (o *restoreSource) complete(f *Factory, cmd *cobra.Command) {
	f.completeFlag(cmd, "from-backup", completeBackups)
	f.completeFlag(cmd, "from-schedule", completeSchedules)
}

// completeNamespaces proposes the namespaces that the chosen backup lists; where
// it lists none, those of the cluster.
func (o *restoreSource) completeNamespaces(ctx context.Context, s *session) []string {
	backup, err := s.velero.Backups(s.namespace).Get(ctx, string(o.fromBackup), metav1.GetOptions{})
	if err != nil || len(backup.Spec.IncludedNamespaces) == 0 || slices.ContainsFunc(backup.Spec.IncludedNamespaces, filter.IsPattern) {
		return completeNamespaces(ctx, s)
	}
	return backup.Spec.IncludedNamespaces
}

func (o *restoreSource) check(f *Factory) error {
	switch {
	case o.fromBackup != "" && o.fromSchedule != "":
		return fmt.Errorf("--from-backup and --from-schedule can't be used together; hint: leave out one of the two")
	case o.fromBackup == "" && o.fromSchedule == "":
		return fmt.Errorf("--from-backup is missing; hint: `%s backup get` lists the backups", f.name)
	}
	return nil
}

// defaultName is what Velero names a restore without a name: after its source and
// the time.
func (o *restoreSource) defaultName(now time.Time) string {
	return string(o.fromBackup+o.fromSchedule) + "-" + now.Format("20060102150405")
}

// resolve names in the restore the backup that its schedule stands for, and says
// which it is. A restore of a backup is left as it is.
func (o *restoreSource) resolve(ctx context.Context, s *session, restore *velerov1.Restore) error {
	schedule := restore.Spec.ScheduleName
	if restore.Spec.BackupName != "" {
		return nil
	}
	selector := labels.Set{velerov1.ScheduleNameLabel: schedule}
	list, err := s.velero.Backups(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return s.explain(fmt.Sprintf("list the backups of schedule %q", schedule), err)
	}
	partial := o.allowPartiallyFailed.Value != nil && *o.allowPartiallyFailed.Value
	best := newestBackup(list.Items, partial)
	if best == nil {
		return o.noneGood(ctx, s, list.Items)
	}
	restore.Spec.BackupName = best.Name
	fmt.Fprintf(s.ErrOut, "note: restoring from backup %q of %s (%s)\n", best.Name, best.Status.StartTimestamp.UTC().Format(time.RFC3339), best.Status.Phase)
	if newer := newestBackup(list.Items, true); newer.Name != best.Name {
		s.warn("backup %q is newer, but PartiallyFailed; hint: --allow-partially-failed takes it", newer.Name)
	}
	return nil
}

// newestBackup is the good backup that began last; nil if there is none.
func newestBackup(backups []velerov1.Backup, partial bool) *velerov1.Backup {
	var newest *velerov1.Backup
	for i := range backups {
		b := &backups[i]
		good := b.Status.Phase == velerov1.BackupPhaseCompleted || partial && b.Status.Phase == velerov1.BackupPhasePartiallyFailed
		if !good || b.Status.StartTimestamp == nil {
			continue
		}
		if newest == nil || newest.Status.StartTimestamp.Before(b.Status.StartTimestamp) {
			newest = b
		}
	}
	return newest
}

// noneGood explains why a schedule has nothing to restore from.
func (o *restoreSource) noneGood(ctx context.Context, s *session, backups []velerov1.Backup) error {
	name := string(o.fromSchedule)
	switch {
	case newestBackup(backups, true) != nil:
		return fmt.Errorf("schedule %q has no backup that is Completed: %s; hint: --allow-partially-failed takes the newest that is PartiallyFailed", name, phases(backups))
	case len(backups) > 0:
		return fmt.Errorf("schedule %q has no backup that is Completed: %s; hint: `%s backup get -o wide -l %s=%s` says why", name, phases(backups), s.name, velerov1.ScheduleNameLabel, name)
	}
	_, err := s.velero.Schedules(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !notInstalled(err) {
		return &missingError{what: fmt.Sprintf("A backup of schedule %q", name), text: fmt.Sprintf(
			"schedule %q does not exist in namespace %q, and no backup is of it; hint: `%s backup get -L %s` lists whose backups there are", name, s.namespace, s.name, velerov1.ScheduleNameLabel)}
	}
	return fmt.Errorf("schedule %q has made no backup yet; hint: `%s backup create --from-schedule %s` makes one now", name, s.name, name)
}

// phases counts backups by their phase: "2 Failed, 1 InProgress".
func phases(backups []velerov1.Backup) string {
	counts := map[string]int{}
	for _, b := range backups {
		counts[cmp.Or(string(b.Status.Phase), string(velerov1.BackupPhaseNew))]++
	}
	texts := make([]string, 0, len(counts))
	for _, phase := range slices.Sorted(maps.Keys(counts)) {
		texts = append(texts, fmt.Sprintf("%d %s", counts[phase], phase))
	}
	return strings.Join(texts, ", ")
}
