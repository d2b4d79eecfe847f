// Package delete is what a delete Job does: a straight line from the Backup
// object to a bucket, a storage and a cluster that know nothing of it any more.
// The commit marker goes first, so that nobody takes the backup for whole; then the
// snapshots of its volumes, then the files that tell of them, and the Backup object
// goes last of all: whatever breaks on the way leaves something that names what is
// left and that can be deleted again.
package delete

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

var (
	backups  = velerov1.SchemeGroupVersion.WithResource("backups")
	restores = velerov1.SchemeGroupVersion.WithResource("restores")
)

// Config says what to delete and with what.
type Config struct {
	*run.Env
	// Backup is the name of the backup.
	Backup string
	// Location is the storage location of a backup that has no Backup object;
	// with one it may be empty.
	Location string
	// Force also deletes a backup that another cluster made, that something
	// else may be writing, or that has snapshots which can't be deleted: these stay
	// behind, and are named in warnings.
	Force bool
	// Drivers are the CSI drivers of the cluster; nil means those that Env leads to.
	Drivers Drivers
	// SnapshotTimeout is how long a CSI driver may take to delete one snapshot, unless
	// it has let that pass for another and deleted none meanwhile: then it has a
	// minute at most. 0 means DefaultSnapshotTimeout.
	SnapshotTimeout time.Duration
	// Down is what deletions tell each other of drivers and snapshot locations; nil for
	// one that is alone.
	Down *Down
}

// operation is one deletion.
type operation struct {
	Config
	// backup and record are nil for what is only in a bucket.
	backup   *velerov1.Backup
	record   *record.Record
	restores []velerov1.Restore
	location *velerov1.BackupStorageLocation
	bucket   store.Bucket
	catalog  *catalog.Catalog
	report   *report.Report
	// snapshots is nil when the backup's snapshots stay; deletedSnapshots counts those
	// that are gone.
	snapshots        *snapshots
	deletedSnapshots int
	// marked says that the Backup stands in phase Deleting.
	marked bool
	// expired is set when nobody asked for this deletion but the backup's time.
	expired *expired
}

// refuse makes the error of a deletion that doesn't begin: nothing was changed.
func refuse(reason, hint string) error {
	return &run.Refusal{Problems: []string{reason + "; hint: " + hint}}
}

// Run deletes a backup: the snapshots of its volumes, its files in the bucket, the
// Restores made from it with theirs, and the Backup object. Running it again after a failure goes on where
// it stopped. A deletion that is refused (outcome Usage) has changed nothing;
// one that failed half-way leaves the Backup in phase Deleting, with the causes
// in an annotation and an Event. The error is what kept it from saying so.
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	o := newOperation(cfg)
	return o.end(ctx, o.run(ctx))
}

func newOperation(cfg Config) *operation { return &operation{Config: cfg, report: report.New()} }

// run is the deletion itself.
func (o *operation) run(ctx context.Context) error {
	if err := o.find(ctx); err != nil {
		return err
	}
	if o.backup == nil && o.Location == "" {
		return nil // an earlier attempt got to the end
	}
	if err := o.checkExpired(); err != nil {
		return err
	}
	if err := o.checkIdle(ctx); err != nil {
		return err
	}
	files, err := o.files(ctx)
	if err != nil {
		return err
	}
	if err := o.mark(ctx, files); err != nil {
		return err
	}
	stop := o.beat(ctx)
	defer stop()
	if err := o.deleteData(ctx, files); err != nil {
		return err
	}
	if err := o.deleteRestores(ctx); err != nil {
		return err
	}
	stop()
	return o.deleteRecord(ctx)
}

// deleteData deletes what the backup holds: all that isn't an object of the cluster.
// Where the files stay, or there are none, there may still be snapshots.
func (o *operation) deleteData(ctx context.Context, files bool) error {
	switch {
	case !files && o.snapshots == nil:
		return nil
	case !files:
		return o.deleteSnapshots(ctx)
	}
	if err := o.deleteMarker(ctx); err != nil {
		return o.unmarkWhole(ctx, err)
	}
	if err := o.deleteSnapshots(ctx); err != nil {
		return err
	}
	if err := o.deleteFiles(ctx); err != nil {
		return o.unmarkWhole(ctx, err)
	}
	return nil
}

// beat gives signs of life until the returned function is called, once or more
// often.
func (o *operation) beat(ctx context.Context) func() {
	if o.record == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { o.record.Beat(ctx, 0) })
	return func() { cancel(); done.Wait() }
}

// warn notes what the user should know of a deletion that goes on.
func (o *operation) warn(err error) {
	o.Log.Warn("deleting goes on", "reason", err.Error())
	o.report.Add(report.Warning, ref.Object{}, err)
}

// end tells how it went.
func (o *operation) end(ctx context.Context, runErr error) (report.Summary, error) {
	s := o.summary(ctx, runErr)
	if s.Outcome == report.Temporary {
		o.Log.Warn("this attempt failed; the Job starts another", "reason", s.Reason)
		return s, nil
	}
	if o.record == nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var err error
	switch {
	case s.Outcome == report.Completed && o.expired != nil:
		o.record.Event(ctx, corev1.EventTypeNormal, "BackupExpired", fmt.Sprintf("its time was up: the backup%s, its files and %d restores are deleted", o.snapshotsGone(), len(o.restores)))
	case s.Outcome == report.Completed:
		o.record.Event(ctx, corev1.EventTypeNormal, "BackupDeleted", fmt.Sprintf("the backup%s, its files and %d restores are deleted", o.snapshotsGone(), len(o.restores)))
	case o.expired != nil && (errors.Is(runErr, store.ErrLocked) || errors.Is(runErr, ErrDown)):
		// Maintenance tells that, once.
	case s.Outcome == report.Usage:
		o.record.Event(ctx, corev1.EventTypeWarning, "BackupDeleteRefused", s.Reason)
	default:
		o.record.Event(ctx, corev1.EventTypeWarning, "BackupDeleteFailed", s.Reason)
		if o.marked {
			err = o.record.Annotate(ctx, map[string]string{velerov1.TopCausesAnnotation: strings.Join(s.TopCauses, "\n")})
		}
	}
	return s, err
}

// summary decides the outcome.
func (o *operation) summary(ctx context.Context, err error) report.Summary {
	if err != nil {
		o.report.Add(report.Error, ref.Object{}, err)
	}
	return o.Summarize(ctx, o.report, err)
}
