package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// fromSchedule creates the Backup for the turn that this Job stands for. A
// second attempt of the Job finds the Backup of the first.
func (c Config) fromSchedule(ctx context.Context) (*velerov1.Backup, error) {
	schedule, err := c.Client.Schedules(c.Namespace).Get(ctx, c.Schedule, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Schedule %q in namespace %q: %w", c.Schedule, c.Namespace, err)
	}
	due, err := c.dueTime(ctx)
	if err != nil {
		return nil, err
	}
	backup := c.scheduled(schedule, due)
	created, err := c.Client.Backups(c.Namespace).Create(ctx, backup, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return c.ownScheduled(ctx, backup.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("create Backup %q: %w", backup.Name, err)
	}
	c.Log.Info("created the schedule's backup", "name", backup.Name)
	return created, c.noteLastBackup(ctx, created)
}

// dueTime is the time of the turn, not of the pod's start: a late or repeated
// start keeps the name.
func (c Config) dueTime(ctx context.Context) (time.Time, error) {
	if c.JobName == "" {
		return time.Now().UTC(), nil
	}
	job, err := c.Kube.BatchV1().Jobs(c.Namespace).Get(ctx, c.JobName, metav1.GetOptions{})
	if err != nil {
		return time.Time{}, fmt.Errorf("read this process's Job %q: %w", c.JobName, err)
	}
	stamp, ok := job.Annotations[batchv1.CronJobScheduledTimestampAnnotation]
	if !ok {
		return job.CreationTimestamp.UTC(), nil
	}
	due, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return time.Time{}, fmt.Errorf("read Job %q: annotation %s: %w", c.JobName, batchv1.CronJobScheduledTimestampAnnotation, err)
	}
	return due.UTC(), nil
}

// scheduled builds the Backup of this Job.
func (c Config) scheduled(schedule *velerov1.Schedule, due time.Time) *velerov1.Backup {
	backup := schedule.NewBackup(schedule.BackupName(due))
	setMap(&backup.Annotations, velerov1.JobNameAnnotation, c.JobName)
	setMap(&backup.Annotations, velerov1.JobUIDAnnotation, c.JobUID)
	backup.Status = velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress, StartTimestamp: now()}
	return backup
}

// ownScheduled returns the existing Backup if an earlier attempt of this Job
// made it.
func (c Config) ownScheduled(ctx context.Context, name string) (*velerov1.Backup, error) {
	backup, err := c.Client.Backups(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Backup %q: %w", name, err)
	}
	if uid := backup.Annotations[velerov1.JobUIDAnnotation]; uid != c.JobUID {
		return nil, fmt.Errorf("the Backup %q already exists and wasn't made by this Job", name)
	}
	return backup, nil
}

func (c Config) noteLastBackup(ctx context.Context, backup *velerov1.Backup) error {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"phase": velerov1.SchedulePhaseEnabled, "lastBackup": backup.Status.StartTimestamp,
	}})
	if err != nil {
		return fmt.Errorf("encode Schedule %q: %w", c.Schedule, err)
	}
	if _, err := c.Client.Schedules(c.Namespace).Patch(ctx, c.Schedule, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		c.Log.Warn("schedule's last backup not noted", "error", err)
	}
	return nil
}
