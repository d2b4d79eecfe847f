package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// startedBefore reports whether an earlier attempt of this Backup got as far as to
// take snapshots: then the name in the bucket is its own already.
func (o *operation) startedBefore(ctx context.Context) (bool, error) {
	if o.snapshots == nil {
		return false, nil
	}
	claim, err := o.catalog.ReadClaim(ctx, o.backup.Name)
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	return err == nil && claim.BackupUID == string(o.backup.UID), err
}

// removeLeftovers removes the snapshots that earlier attempts made: of this backup
// nothing is committed.
func (o *operation) removeLeftovers(ctx context.Context) error {
	if o.snapshots.client != nil {
		n, err := o.snapshots.client.Leftovers(ctx, o.backup.Name, string(o.backup.UID))
		if csi.OnlyMarked(err) {
			// They go when their driver gets to it; this attempt needs none of them.
			o.report.Add(report.Warning, ref.Object{}, fmt.Errorf("remove what an earlier attempt left: %w", err))
			err = nil
		}
		if err != nil {
			return fmt.Errorf("remove what an earlier attempt left: %w", err)
		}
		if n > 0 {
			o.Log.Info("removed snapshots of an earlier attempt", "count", n)
		}
	}
	for _, location := range o.snapshots.locations {
		if err := o.deleteDisks(ctx, location, nil); err != nil {
			return fmt.Errorf("remove what an earlier attempt left: %w", err)
		}
	}
	return nil
}

// deleteDisks deletes the disk snapshots that a location has of this backup, but for
// some. The error names those that stay.
func (o *operation) deleteDisks(ctx context.Context, location *snapshotLocation, keep map[string]bool) error {
	ids, err := location.Find(ctx, o.owner())
	if err != nil {
		return fmt.Errorf("find snapshots at location %q: %w", location.name, err)
	}
	var errs []error
	for _, id := range ids {
		if keep[id] {
			continue
		}
		if err := location.Delete(ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("delete snapshot %s at location %q: %w", id, location.name, err))
			continue
		}
		o.Log.Info("deleted a snapshot", "location", location.name, "snapshot", id)
	}
	return errors.Join(errs...)
}

// discard removes the snapshots of a backup that failed. Once the marker may have
// been written they may be all that a committed backup has of its volumes, and stay.
// It returns runErr, and what couldn't be removed.
func (o *operation) discard(ctx context.Context, runErr error) error {
	if runErr == nil || o.snapshots == nil || !o.claimed || o.volumes.snapshots() == 0 {
		return runErr // an earlier attempt's may be a committed backup's
	}
	if o.committing {
		o.Log.Warn("whether the backup was committed isn't known: its snapshots stay")
		return runErr
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	defer o.beat(ctx)()
	errs := []error{runErr}
	if len(o.volumes.byClaim) > 0 {
		if err := o.snapshots.taker.Discard(ctx); err != nil {
			errs = append(errs, fmt.Errorf("remove its snapshots: %w", err))
		}
	}
	for _, location := range o.snapshots.locations {
		if !location.used {
			continue
		}
		if err := o.deleteDisks(ctx, location, nil); err != nil {
			errs = append(errs, fmt.Errorf("remove its snapshots: %w", err))
		}
	}
	if len(errs) == 1 {
		return runErr
	}
	o.Log.Error("snapshots are left behind", "error", errors.Join(errs[1:]...))
	return &leftBehind{cause: runErr, left: errors.Join(errs[1:]...)}
}

// leftBehind is the failure of a backup that couldn't remove all of its snapshots.
// For everything but its text it is the failure itself.
type leftBehind struct{ cause, left error }

func (e *leftBehind) Error() string { return fmt.Sprintf("%v; %v", e.cause, e.left) }
func (e *leftBehind) Unwrap() error { return e.cause }

// keepSnapshots makes the snapshots outlive the objects that stand for them.
func (o *operation) keepSnapshots(ctx context.Context) error {
	if o.snapshots == nil || o.snapshots.taker == nil {
		return nil
	}
	if err := o.snapshots.taker.Keep(ctx); err != nil {
		return fmt.Errorf("keep snapshots: %w", err)
	}
	return nil
}

// releaseSnapshots removes the objects of the drivers' snapshots from the cluster. The
// backup is committed by now: what stays behind is for maintenance to remove.
func (o *operation) releaseSnapshots(ctx context.Context) {
	if o.snapshots == nil || o.snapshots.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	var err error
	switch {
	case o.adopted != nil: // another process took them
		_, err = o.snapshots.client.Forget(ctx, o.backup.Name, string(o.backup.UID))
	case len(o.volumes.byClaim) > 0:
		err = o.snapshots.taker.Release(ctx)
	}
	if err != nil {
		o.Log.Warn("objects of snapshots are left for maintenance to remove; their data is safe", "error", err)
	}
}
