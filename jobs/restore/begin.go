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

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
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
	if !begun(o.restore) {
		if problems := validate(o.restore.Spec); len(problems) > 0 {
			return &run.Refusal{Problems: problems}
		}
		if err := o.chooseBackup(ctx); err != nil {
			return err
		}
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
		"spec": map[string]any{"backupName": o.restore.Spec.BackupName},
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

// begun reports whether an earlier attempt has accepted the spec, and filled in
// the backup's name.
func begun(restore *velerov1.Restore) bool {
	attempt, err := strconv.Atoi(restore.Annotations[velerov1.AttemptAnnotation])
	return err == nil && attempt > 0
}

// validate returns one text for each thing that is wrong with a spec or that
// this version can't do.
func validate(spec velerov1.RestoreSpec) []string {
	problems := filter.Validate(filter.Spec{
		IncludedNamespaces: spec.IncludedNamespaces, ExcludedNamespaces: spec.ExcludedNamespaces,
		IncludedResources: spec.IncludedResources, ExcludedResources: spec.ExcludedResources,
		IncludeClusterResources: spec.IncludeClusterResources,
		LabelSelector:           spec.LabelSelector, OrLabelSelectors: spec.OrLabelSelectors,
	})
	for _, name := range spec.IncludedResources {
		if slices.Contains(nonRestorable, name) {
			problems = append(problems, fmt.Sprintf("includedResources: %s are non-restorable resources", name))
		}
	}
	if (spec.BackupName == "") == (spec.ScheduleName == "") {
		problems = append(problems, "Either a backup or schedule must be specified as a source for the restore, but not both")
	}
	switch spec.ExistingResourcePolicy {
	case "", velerov1.PolicyTypeNone, velerov1.PolicyTypeUpdate:
	default:
		problems = append(problems, fmt.Sprintf("existingResourcePolicy: %q is neither none nor update", spec.ExistingResourcePolicy))
	}
	return append(problems, unsupported(spec)...)
}

// unsupported names what a spec asks for and this version would leave undone.
func unsupported(spec velerov1.RestoreSpec) []string {
	var problems []string
	for field, used := range map[string]bool{
		"hooks":            len(spec.Hooks.Resources) > 0,
		"resourceModifier": spec.ResourceModifier != nil,
		"restoreStatus":    spec.RestoreStatus != nil,
	} {
		if used {
			problems = append(problems, fmt.Sprintf("%s: this version can't do that; hint: leave spec.%s out", field, field))
		}
	}
	slices.Sort(problems)
	return problems
}

// chooseBackup fills in the backup's name where a schedule was given: its
// newest backup that is complete.
func (o *operation) chooseBackup(ctx context.Context) error {
	schedule := o.restore.Spec.ScheduleName
	if schedule == "" {
		return nil
	}
	backups, err := o.Client.Backups(o.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{velerov1.ScheduleNameLabel: schedule}.String(),
	})
	if err != nil {
		return fmt.Errorf("list Backups of schedule %q: %w", schedule, err)
	}
	newest := slices.MaxFunc(append(backups.Items, velerov1.Backup{}), func(a, b velerov1.Backup) int {
		return started(a).Compare(started(b))
	})
	if newest.Name == "" {
		return refuse("scheduleName: schedule %q has no backup that is Completed", schedule)
	}
	o.restore.Spec.BackupName = newest.Name
	return nil
}

// started is when a complete backup began; the beginning of time for others.
func started(b velerov1.Backup) time.Time {
	if b.Status.Phase != velerov1.BackupPhaseCompleted || b.Status.StartTimestamp == nil {
		return time.Time{}
	}
	return b.Status.StartTimestamp.Time
}

// getBackup reads the Backup to restore from and its location.
func (o *operation) getBackup(ctx context.Context) (*velerov1.Backup, *velerov1.BackupStorageLocation, error) {
	name := o.restore.Spec.BackupName
	backup, err := o.Client.Backups(o.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, refuse("Error retrieving backup: Backup %q doesn't exist in namespace %q; hint: kubectl velero backup get", name, o.Namespace)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get Backup %q: %w", name, err)
	}
	location := backup.Spec.StorageLocation
	if location == "" {
		return nil, nil, refuse("Backup %q names no storage location", name)
	}
	bsl, err := o.Client.BackupStorageLocations(o.Namespace).Get(ctx, location, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, refuse("storage location %q of Backup %q doesn't exist; hint: kubectl velero backup-location get", location, name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get BackupStorageLocation %q: %w", location, err)
	}
	if bsl.Spec.ObjectStorage == nil {
		return nil, nil, errors.New("storage location " + strconv.Quote(location) + " names no bucket")
	}
	return backup, bsl, nil
}

// now is the time as objects of the API hold it.
func now() *metav1.Time {
	t := metav1.NewTime(time.Now().UTC().Truncate(time.Second))
	return &t
}
