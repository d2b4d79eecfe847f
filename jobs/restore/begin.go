package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// refuse says that the restore was wrong before it began.
func refuse(format string, args ...any) error {
	return &run.Refusal{Problems: []string{fmt.Sprintf(format, args...)}}
}

// load reads the Restore.
func (c *Config) load(ctx context.Context) (*velerov1.Restore, error) {
	restore, err := c.Client.Restores(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get Restore %q in namespace %q: %w", c.Name, c.Namespace, err)
	}
	return restore, nil
}

// begin checks the spec, finds out which backup is meant, and notes in the
// Restore that this process works on it.
func (o *operation) begin(ctx context.Context) error {
	if err := o.readRequest(ctx); err != nil {
		return err
	}
	if err := o.chooseBackup(ctx); err != nil {
		return err
	}
	if o.restore.Status.StartTimestamp == nil {
		o.restore.Status.StartTimestamp = now()
	}
	err := o.record.Patch(ctx, map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{
			velerov1.JobNameAnnotation: o.JobName,
			velerov1.JobUIDAnnotation:  o.JobUID,
			velerov1.AttemptAnnotation: strconv.Itoa(o.Attempt),
		}},
		"spec": map[string]any{"backupName": o.restore.Spec.BackupName, "scheduleName": o.restore.Spec.ScheduleName},
		"status": map[string]any{
			"phase":          velerov1.RestorePhaseInProgress,
			"startTimestamp": o.restore.Status.StartTimestamp,
		},
	})
	if err != nil {
		return err
	}
	o.Log.Info("restore begins", "backup", o.restore.Spec.BackupName, "attempt", o.Attempt)
	return nil
}

// chooseBackup finds the Backup to restore and fills in what the Restore leaves
// out: the newest complete backup of its schedule, or the backup's schedule.
func (o *operation) chooseBackup(ctx context.Context) error {
	spec := &o.restore.Spec
	if spec.BackupName == "" {
		newest, err := o.newestOf(ctx, spec.ScheduleName)
		if err != nil {
			return err
		}
		spec.BackupName = newest
	}
	backup, err := o.Client.Backups(o.Namespace).Get(ctx, spec.BackupName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return refuse("Error retrieving backup: Backup %q doesn't exist in namespace %q; hint: kubectl velero backup get", spec.BackupName, o.Namespace)
	}
	if err != nil {
		return fmt.Errorf("get Backup %q: %w", spec.BackupName, err)
	}
	schedule := backup.Labels[velerov1.ScheduleNameLabel]
	if spec.ScheduleName != "" && schedule != spec.ScheduleName {
		return refuse("backupName: Backup %q isn't one of schedule %q; hint: name a backup or a schedule, but not both", spec.BackupName, spec.ScheduleName)
	}
	spec.ScheduleName = schedule
	o.backup = backup
	return nil
}

// newestOf is the name of a schedule's newest backup that is complete.
func (o *operation) newestOf(ctx context.Context, schedule string) (string, error) {
	backups, err := o.Client.Backups(o.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{velerov1.ScheduleNameLabel: schedule}.String(),
	})
	if err != nil {
		return "", fmt.Errorf("list Backups of schedule %q: %w", schedule, err)
	}
	newest := slices.MaxFunc(append(backups.Items, velerov1.Backup{}), func(a, b velerov1.Backup) int {
		return started(a).Compare(started(b))
	})
	if newest.Name == "" {
		return "", refuse("scheduleName: schedule %q has no backup that is Completed", schedule)
	}
	return newest.Name, nil
}

// started is when a complete backup began; the beginning of time for others.
func started(b velerov1.Backup) time.Time {
	if b.Status.Phase != velerov1.BackupPhaseCompleted || b.Status.StartTimestamp == nil {
		return time.Time{}
	}
	return b.Status.StartTimestamp.Time
}

// location reads the storage location of the backup.
func (o *operation) location(ctx context.Context) (*velerov1.BackupStorageLocation, error) {
	name := o.backup.Spec.StorageLocation
	if name == "" {
		return nil, refuse("Backup %q names no storage location", o.backup.Name)
	}
	bsl, err := o.Client.BackupStorageLocations(o.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, refuse("storage location %q of Backup %q doesn't exist; hint: kubectl velero backup-location get", name, o.backup.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("get BackupStorageLocation %q: %w", name, err)
	}
	if bsl.Spec.ObjectStorage == nil {
		return nil, errors.New("storage location " + strconv.Quote(name) + " names no bucket")
	}
	return bsl, nil
}

// now is the time as objects of the API hold it.
func now() *metav1.Time {
	t := metav1.NewTime(time.Now().UTC().Truncate(time.Second))
	return &t
}
