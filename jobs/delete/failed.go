package delete

import (
	"context"
	"errors"
	"fmt"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// neverSucceeded reports whether backup failed: then the name in the bucket may
// well be somebody else's, and be the very reason for the failure.
func neverSucceeded(backup *velerov1.Backup) bool {
	return backup.Status.Phase == velerov1.BackupPhaseFailed || backup.Status.Phase == velerov1.BackupPhaseFailedValidation
}

// withoutBucket lets a backup that failed go although its bucket can't be had:
// that may be what it failed of, and then it has no files.
func (o *operation) withoutBucket(ctx context.Context, err error) (bool, error) {
	var refused *run.Refusal
	if o.backup == nil || !neverSucceeded(o.backup) || !errors.As(err, &refused) && !errors.Is(err, store.ErrNoBucket) {
		return false, err
	}
	if planErr := o.planFailed(ctx); planErr != nil {
		return false, planErr
	}
	what := "only the record and the snapshots that bear its name are deleted"
	if o.snapshots == nil {
		what = "only the record is deleted"
	}
	o.warn(fmt.Errorf("%s: %w", what, err))
	return false, nil
}

// planFailed has the snapshots deleted that a failed backup left, of which no file can
// tell, by its name and UID: without its record nobody would know of them. Where it
// was committed after all they stay with the files.
func (o *operation) planFailed(ctx context.Context) error {
	committed, err := o.committed(ctx)
	if err != nil || committed {
		return err
	}
	o.snapshots = &snapshots{
		locations: map[string]snapshot.Snapshotter{},
		owner:     snapshot.Owner{Backup: o.Backup, UID: string(o.backup.UID)},
	}
	if err := o.openSearched(ctx); err != nil {
		return err
	}
	return o.connectDrivers(ctx)
}

// committed reports whether the bucket, if it can be read, has the backup's own commit
// marker; true also where nobody can tell and force lets the snapshots stay.
func (o *operation) committed(ctx context.Context) (bool, error) {
	if o.location == nil {
		return false, nil // and its bucket with it
	}
	bucket, err := o.OpenStore(ctx, o.location)
	var marker *velerov1.Backup
	if err == nil {
		marker, err = catalog.New(bucket).ReadBackup(ctx, o.Backup)
	}
	switch {
	case err == nil:
		return marker.UID == o.backup.UID, nil
	case errors.Is(err, store.ErrNotExist), errors.Is(err, store.ErrNoBucket):
		return false, nil
	case ctx.Err() != nil, run.Temporary(err):
		return false, err
	}
	reason := fmt.Sprintf("whether the snapshots of backup %q may go can't be told, since storage location %q can't be read: %v", o.Backup, o.location.Name, err)
	return true, o.orLeave(reason, "put the location right")
}
