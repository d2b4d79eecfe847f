package delete

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/saved"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// snapshotsAtOnce is how many snapshots are deleted at a time. Providers that want
// less go slower by themselves.
const snapshotsAtOnce = 20

// DefaultSnapshotTimeout is how long a CSI driver may take to delete one snapshot,
// unless it has let that pass for another and deleted none meanwhile.
const DefaultSnapshotTimeout = 5 * time.Minute

// removal deletes the snapshots of a backup and collects what goes wrong.
type removal struct {
	o        *operation
	tasks    errgroup.Group
	patience patience

	mu sync.Mutex // guards what follows
	// total and left count snapshots: all, and those that could not be deleted.
	total, left int
	failed      []error
}

// deleteSnapshots deletes the snapshots. Those that can't be deleted don't keep the
// others, but the files, which tell of them; with force they stay behind.
func (o *operation) deleteSnapshots(ctx context.Context) error {
	r := &removal{o: o}
	r.tasks.SetLimit(snapshotsAtOnce)
	// What still stands in the cluster for them comes first: it would be left without
	// anything to stand for.
	r.leftovers(ctx)
	r.csi(ctx)
	r.native(ctx)
	r.search(ctx)
	_ = r.tasks.Wait() // what fails is noted
	o.deletedSnapshots = r.total - r.left
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return r.end()
}

// end says what is left.
func (r *removal) end() error {
	if len(r.failed) == 0 {
		return nil
	}
	err := &snapshotsError{failed: r.failed, left: r.left, total: r.total}
	if !r.o.Force || run.Temporary(err) && !r.o.LastAttempt {
		for _, one := range r.failed {
			r.o.report.Add(report.Error, ref.Object{}, one)
		}
		return err
	}
	for _, one := range r.failed {
		r.o.warn(fmt.Errorf("%w; it stays behind", one))
	}
	return nil
}

// snapshotsError is that snapshots could not be deleted.
type snapshotsError struct {
	failed      []error
	left, total int
}

func (e *snapshotsError) Error() string {
	text, hint := e.failed[0].Error(), ""
	if before, told, ok := strings.Cut(text, "; hint: "); ok {
		text, hint = before, told+"; "
	}
	return fmt.Sprintf("%d of %d snapshots could not be deleted, the first: %s; hint: %sthen delete the backup again; its files stay until all are gone, or --force leaves them behind",
		e.left, e.total, text, hint)
}

func (e *snapshotsError) Unwrap() []error { return e.failed }

// note counts n snapshots, which err concerns.
func (r *removal) note(n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total += n
	if err != nil {
		r.left += n
		r.failed = append(r.failed, err)
	}
}

func (r *removal) leftovers(ctx context.Context) {
	s := r.o.snapshots
	if s.drivers == nil || s.owner.UID == "" {
		return
	}
	n, err := s.drivers.Leftovers(ctx, s.owner.Backup, s.owner.UID)
	if n > 0 {
		r.o.Log.Info("snapshot objects of the backup were still in the cluster", "count", n)
	}
	if err != nil {
		r.note(1, fmt.Errorf("delete what stands in the cluster for the backup's snapshots: %w", err))
	}
}

// csi deletes the snapshots of CSI drivers, those of a group by one of them.
func (r *removal) csi(ctx context.Context) {
	groups := map[[2]string]int{}
	for _, s := range r.o.snapshots.csi {
		groups[[2]string{s.Handle.Driver, s.Handle.Group}]++
	}
	for _, s := range r.o.snapshots.csi {
		n, group := 1, [2]string{s.Handle.Driver, s.Handle.Group}
		if s.Handle.Group != "" {
			if n = groups[group]; n == 0 {
				continue // with the first of its group
			}
			groups[group] = 0
		}
		r.tasks.Go(func() error {
			err := r.ask(ctx, driverName(s.Handle.Driver), func(timeout time.Duration) error {
				return r.o.snapshots.drivers.Delete(ctx, s.Handle, timeout)
			})
			r.done(n, s.Handle.Snapshot, s.Volume, err)
			return nil
		})
	}
}

func (o *operation) snapshotTimeout() time.Duration {
	if o.SnapshotTimeout > 0 {
		return o.SnapshotTimeout
	}
	return DefaultSnapshotTimeout
}

// native deletes the disk snapshots that are listed.
func (r *removal) native(ctx context.Context) {
	for _, s := range r.o.snapshots.native {
		r.tasks.Go(func() error {
			r.disk(ctx, s)
			return nil
		})
	}
}

func (r *removal) disk(ctx context.Context, s saved.Native) {
	err := r.ask(ctx, locationTitle(s.Location), func(time.Duration) error { return r.o.snapshots.locations[s.Location].Delete(ctx, s.Snapshot) })
	if errors.Is(err, snapshot.ErrInUse) && !strings.Contains(err.Error(), "hint: ") {
		err = fmt.Errorf("%w; hint: delete what was made from it", err)
	}
	r.done(1, s.Snapshot, s.Volume, err)
}

// done notes what became of a snapshot, or of n of a group; the error names it.
func (r *removal) done(n int, id string, of saved.Volume, err error) {
	name := nameOf(of)
	if err != nil && name != "" {
		err = fmt.Errorf("the snapshot of %s: %w", name, err)
	}
	r.note(n, err)
	if err != nil {
		r.o.Log.Error("snapshot not deleted", "error", err)
		return
	}
	r.o.Log.Info("snapshot deleted", "snapshot", id, "of", name)
}

// search deletes the disk snapshots that no list names: of a backup that never got to
// its end, or made by a request whose answer got lost.
func (r *removal) search(ctx context.Context) {
	owner, listed := r.o.snapshots.owner, map[string]bool{}
	if owner.UID == "" {
		return
	}
	for _, s := range r.o.snapshots.native {
		listed[s.Snapshot] = true
	}
	for name, location := range r.o.snapshots.locations {
		ids, err := location.Find(ctx, owner)
		if err != nil {
			r.note(1, fmt.Errorf("look for disk snapshots of the backup that no list names: %w", err))
		}
		for _, id := range ids {
			if listed[id] {
				continue
			}
			r.tasks.Go(func() error {
				r.disk(ctx, saved.Native{Location: name, Snapshot: id})
				return nil
			})
		}
	}
}

// snapshotsGone says how many snapshots were deleted, for an Event that goes on with
// the files.
func (o *operation) snapshotsGone() string {
	switch o.deletedSnapshots {
	case 0:
		return ""
	case 1:
		return ", 1 snapshot"
	}
	return fmt.Sprintf(", %d snapshots", o.deletedSnapshots)
}
