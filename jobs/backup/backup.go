// Package backup is what a backup Job does: a straight line from the Backup
// object to the commit marker in the bucket. Objects stream from the API server
// through filter, tar and gzip into the store; nothing is staged.
package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// Config says what to back up and with what.
type Config struct {
	*run.Env
	// Name of the Backup. Empty when Schedule is set.
	Name string
	// Schedule, if set, is the Schedule whose turn has come: its Backup is
	// created first.
	Schedule string
}

// operation is one run of a backup.
type operation struct {
	Config
	backup  *velerov1.Backup
	record  *record.Record
	report  *report.Report
	catalog *catalog.Catalog
	// ours is what stays out of every backup.
	ours    ourselves
	request request
	volumes *volumes
	// snapshotLocations are those of our namespace.
	snapshotLocations []velerov1.VolumeSnapshotLocation
	// snapshots is nil when none are taken.
	snapshots *snapshots
	progress  snapshotProgress
	hooks     *hooks.Hooks
	// hookRunner runs hooks and counts them.
	hookRunner *hooks.Runner
	// planned is nil before the cluster was looked at.
	planned *plan
	// index tells where in the archive what is; nil before the archive is whole.
	index *archive.Index
	// location is where the backup goes; nil before it was opened.
	location *velerov1.BackupStorageLocation
	// claimed says that the name in the bucket is this backup's.
	claimed bool
	// committing says that the marker may have been written.
	committing bool
	// adopted is the marker that an earlier attempt wrote; usually nil.
	adopted *velerov1.Backup
}

// Run backs up and tells the Backup object how it ended. The error is what kept
// it from doing even that.
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	backup, err := cfg.load(ctx)
	if err != nil {
		return cfg.Summarize(ctx, report.New(), err), nil
	}
	if backup.Status.Phase.Terminal() {
		cfg.Log.Info("the backup has already ended", "phase", backup.Status.Phase)
		return ended(backup), nil
	}
	o := &operation{
		Config: cfg, backup: backup, report: report.New().LogTo(cfg.Log), volumes: newVolumes(),
		record: record.Open(cfg.Dynamic, velerov1.SchemeGroupVersion.WithResource("backups"), "Backup", backup, cfg.Log),
	}
	return o.end(ctx, o.discard(ctx, o.run(ctx)))
}

// ended is the summary of a backup that had its end before.
func ended(b *velerov1.Backup) report.Summary {
	s := report.Summary{Outcome: report.Outcome(b.Status.Phase), Reason: b.Status.FailureReason, Warnings: b.Status.Warnings, Errors: b.Status.Errors}
	if b.Status.Phase == velerov1.BackupPhaseFailedValidation {
		s.Outcome, s.Reason = report.Usage, strings.Join(b.Status.ValidationErrors, "; ")
	}
	if b.Status.Progress != nil {
		s.Items = b.Status.Progress.ItemsBackedUp
	}
	return s
}

// run is the backup itself.
func (o *operation) run(ctx context.Context) error {
	location, err := o.prepare(ctx)
	if err != nil {
		return err
	}
	stop := o.beat(ctx)
	defer stop()
	bucket, err := o.OpenStore(ctx, location)
	if err != nil {
		return fmt.Errorf("storage location %q: %w", location.Name, err)
	}
	o.location, o.catalog = location, catalog.New(bucket)
	again, err := o.startedBefore(ctx)
	if err != nil {
		return err
	}
	var committed *catalog.AlreadyCommittedError
	switch err := o.claim(ctx); {
	case errors.As(err, &committed):
		o.adopt(committed.Marker)
		o.releaseSnapshots(ctx)
		return nil
	case err != nil:
		return err
	}
	o.claimed = true
	if again {
		if err := o.removeLeftovers(ctx); err != nil {
			return err
		}
	}
	o.keepVolume(ctx, location)
	if o.planned, err = o.plan(ctx); err != nil {
		return err
	}
	if err := o.prepareHooks(); err != nil {
		return err
	}
	if err := o.upload(ctx); err != nil {
		return err
	}
	if err := o.commit(ctx); err != nil {
		return err
	}
	o.releaseSnapshots(ctx)
	return nil
}

// adopt takes over the end that an earlier attempt committed and couldn't tell.
func (o *operation) adopt(marker *velerov1.Backup) {
	o.Log.Info("an earlier attempt has committed this backup", "phase", marker.Status.Phase)
	o.adopted = marker
	o.backup.Status = marker.Status
}

// beat gives signs of life until the returned function is called.
func (o *operation) beat(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { o.record.Beat(ctx, record.BeatInterval) })
	return func() { cancel(); done.Wait() }
}

// end writes how the run ended into the Backup, unless the end is already there
// or another attempt follows.
func (o *operation) end(ctx context.Context, runErr error) (report.Summary, error) {
	summary := o.summary(ctx, runErr)
	if o.location != nil {
		// At the end, since after a write lists of other kinds have to wait for the
		// API server's cache.
		o.NoteLocation(ctx, o.location, runErr)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	phase := summary.Outcome.Phase()
	if phase == "" {
		o.Log.Warn("this attempt failed; the Job starts another", "reason", summary.Reason)
		return summary, nil
	}
	annotations := map[string]string{}
	if len(summary.TopCauses) > 0 {
		annotations[velerov1.TopCausesAnnotation] = strings.Join(summary.TopCauses, "\n")
	}
	err := o.record.Finish(ctx, phase, o.finalStatus(summary, runErr), annotations)
	o.tell(ctx, summary)
	if summary.Outcome != report.Completed && summary.Outcome != report.PartiallyFailed {
		o.keepLog(ctx, summary)
	}
	if errors.Is(err, record.ErrEnded) {
		o.Log.Warn("the backup was ended by someone else", "error", err)
		return summary, nil
	}
	return summary, err
}

// summary decides the outcome.
func (o *operation) summary(ctx context.Context, err error) report.Summary {
	if err == nil && o.adopted != nil {
		return ended(o.adopted)
	}
	s := o.Summarize(ctx, o.report, err)
	var left *leftBehind
	if errors.As(err, &left) && !strings.Contains(s.Reason, left.left.Error()) {
		s.Reason += "; " + left.left.Error()
	}
	return s
}

// finalStatus is the part of the status that the end adds.
func (o *operation) finalStatus(s report.Summary, runErr error) map[string]any {
	if s.Outcome == report.Completed || s.Outcome == report.PartiallyFailed {
		return map[string]any{
			"completionTimestamp": o.backup.Status.CompletionTimestamp,
			"progress":            o.backup.Status.Progress,
			"warnings":            s.Warnings,
			"errors":              s.Errors,
			"hookStatus":          o.backup.Status.HookStatus,

			"volumeSnapshotsAttempted":      o.backup.Status.VolumeSnapshotsAttempted,
			"volumeSnapshotsCompleted":      o.backup.Status.VolumeSnapshotsCompleted,
			"csiVolumeSnapshotsAttempted":   o.backup.Status.CSIVolumeSnapshotsAttempted,
			"csiVolumeSnapshotsCompleted":   o.backup.Status.CSIVolumeSnapshotsCompleted,
			"backupItemOperationsAttempted": o.backup.Status.BackupItemOperationsAttempted,
			"backupItemOperationsCompleted": o.backup.Status.BackupItemOperationsCompleted,
			"backupItemOperationsFailed":    o.backup.Status.BackupItemOperationsFailed,
		}
	}
	status := map[string]any{"completionTimestamp": now(), "warnings": s.Warnings, "errors": s.Errors}
	for _, count := range velerov1.SnapshotCounts() {
		status[count] = nil // what was counted belongs to no backup
	}
	var refused *run.Refusal
	if errors.As(runErr, &refused) {
		status["validationErrors"] = refused.Problems
	} else {
		status["failureReason"] = s.Reason
	}
	return status
}

// tell writes the Event.
func (o *operation) tell(ctx context.Context, s report.Summary) {
	if s.Outcome == report.Completed {
		o.record.Event(ctx, corev1.EventTypeNormal, "BackupCompleted", fmt.Sprintf("%d items saved, %d warnings", s.Items, s.Warnings))
		return
	}
	o.record.Event(ctx, corev1.EventTypeWarning, "Backup"+string(s.Outcome), s.Reason)
}

// keepLog stores the log of a backup that has no marker beside its claim. Where
// the name is another backup's, nothing is written.
func (o *operation) keepLog(ctx context.Context, s report.Summary) {
	o.Log.Error("backup failed", "reason", s.Reason)
	if !o.claimed {
		return
	}
	if err := o.putLog(ctx); err != nil {
		o.Log.Warn("log not stored", "error", err)
	}
}
