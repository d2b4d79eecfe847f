package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// maxDisks is the number of disks that are asked about at once. Snapshotters keep to
// what their provider bears.
const maxDisks = 32

// newDisk begins the record of a disk's snapshot; id is the location's name of the disk.
func (o *operation) newDisk(location *snapshotLocation, id string, pv *corev1.PersistentVolume) *volume.Snapshot {
	return &volume.Snapshot{
		Spec: volume.SnapshotSpec{
			BackupName: o.backup.Name, BackupUID: string(o.backup.UID), Location: location.name,
			PersistentVolumeName: pv.Name, ProviderVolumeID: id, VolumeAZ: volume.Zone(pv),
		},
		Status: volume.SnapshotStatus{Phase: volume.SnapshotNew},
	}
}

// cutDisks has clouds cut the snapshots of disks.
func (c *collector) cutDisks(ctx context.Context, all []*savedVolume) error {
	c.progress.disks.Add(int64(len(all)))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxDisks)
	for _, s := range all {
		s.location.used = true
		group.Go(func() error {
			if err := c.cutDisk(ctx, s); err != nil {
				s.disk.Status.Phase = volume.SnapshotFailed
				s.failed(fmt.Errorf("neither the volume nor its data is saved: snapshot location %q: %w", s.location.name, err))
				c.progress.copied.Add(whole)
			}
			s.noteDisk()
			return ctx.Err()
		})
	}
	return group.Wait()
}

// cutDisk cuts the snapshot of one disk and notes it.
func (c *collector) cutDisk(ctx context.Context, s *savedVolume) error {
	spec := &s.disk.Spec
	disk, err := s.location.Disk(ctx, spec.ProviderVolumeID, spec.VolumeAZ)
	if err != nil {
		return err
	}
	spec.VolumeType, spec.VolumeIOPS = disk.Type, disk.IOPS
	s.disk.Status.ProviderSnapshotID, err = s.location.Create(ctx, snapshot.CreateRequest{
		VolumeID: spec.ProviderVolumeID, Zone: spec.VolumeAZ, Owner: c.owner(), Volume: spec.PersistentVolumeName, Tags: c.tags(spec.PersistentVolumeName),
	})
	return err
}

// Waiting for disk snapshots: how long between two looks, at first and at most, how
// long one may take at least, and how many may fail one after the other.
const (
	firstLook  = 500 * time.Millisecond
	lastLook   = 15 * time.Second
	minLook    = 30 * time.Second
	maxUnknown = 20
)

// copying is a disk snapshot that was cut and isn't settled yet.
type copying struct {
	*savedVolume
	// percent is how much was copied when it was last asked.
	percent int
	// unknown counts the looks in a row that failed; err is why the last one did.
	unknown int
	err     error
	// settled says that nobody has to look any more.
	settled bool
}

// waitDisks waits until the clouds have copied what they cut, or can't, or until the
// time is up. It looks at all of them, a few at a time, then pauses.
func (c *collector) waitDisks(ctx context.Context) error {
	limit := c.readyTime(ctx)
	deadline := time.Now().Add(limit)
	var open []*copying
	for _, s := range c.volumes.sorted() {
		if s.disk != nil && s.err == nil {
			open = append(open, &copying{savedVolume: s})
		}
	}
	told := -1
	for pause := firstLook; len(open) > 0; pause = min(2*pause, lastLook) {
		if err := c.lookAtDisks(ctx, open, deadline); err != nil {
			return err
		}
		open = slices.DeleteFunc(open, func(d *copying) bool { return d.settled })
		if time.Now().Add(pause).After(deadline) {
			c.giveUp(open, limit)
			return nil
		}
		if percent := c.progress.percent(); percent != told {
			told = percent
			c.Log.Info("snapshots are being copied", "open", len(open), "percent", percent)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

// lookAtDisks asks once how far each snapshot is. A provider that is slow to answer is
// waited for until the deadline, and at least for a look.
func (c *collector) lookAtDisks(ctx context.Context, open []*copying, deadline time.Time) error {
	asking, cancel := context.WithTimeout(ctx, max(time.Until(deadline), minLook))
	defer cancel()
	var group errgroup.Group
	group.SetLimit(maxDisks)
	for _, d := range open {
		group.Go(func() error {
			c.lookAtDisk(ctx, asking, d)
			return nil
		})
	}
	_ = group.Wait() // each notes what goes wrong
	return ctx.Err()
}

// lookAtDisk asks once how far a snapshot is, for as long as asking lasts. One that will
// never be ready is deleted.
func (c *collector) lookAtDisk(ctx, asking context.Context, d *copying) {
	id := d.disk.Status.ProviderSnapshotID
	state, err := d.location.State(asking, id)
	switch {
	case asking.Err() != nil && err != nil: // it is as open as it was
	case errors.Is(err, snapshot.ErrNotExist):
		d.disk.Status = volume.SnapshotStatus{Phase: volume.SnapshotFailed}
		c.settleDisk(d, id, err)
	case err != nil:
		d.err = err
		if d.unknown++; d.unknown == maxUnknown {
			c.settleDisk(d, id, fmt.Errorf("whether it can be used isn't known: %w", err))
		}
	case state.Ready:
		c.settleDisk(d, id, nil)
	case state.Failure != "":
		c.settleDisk(d, id, c.dropDisk(ctx, d.savedVolume, errors.New(state.Failure)))
	default:
		d.unknown, d.err = 0, nil
		c.progress.copied.Add(int64(state.Progress - d.percent))
		d.percent = state.Progress
	}
}

// settleDisk notes how a snapshot ended; err is why it can't be used.
func (c *collector) settleDisk(d *copying, id string, err error) {
	d.settled = true
	c.progress.copied.Add(int64(whole - d.percent))
	if err != nil {
		d.failed(fmt.Errorf("the volume is saved, its data isn't: snapshot %s at location %q: %w", id, d.location.name, err))
		c.report.Add(report.Error, d.at, d.savedVolume.err)
	} else {
		d.disk.Status.Phase = volume.SnapshotCompleted
		d.succeeded(nil)
		c.progress.disksReady.Add(1)
	}
	d.noteDisk()
}

// giveUp ends the wait for snapshots that aren't ready in time. They stay: the cloud
// goes on copying them.
func (c *collector) giveUp(open []*copying, limit time.Duration) {
	for _, d := range open {
		late := fmt.Errorf("not ready after %s, %d %%; it stays with the backup", limit.Round(time.Second), d.percent)
		c.settleDisk(d, d.disk.Status.ProviderSnapshotID, errors.Join(late, d.err))
	}
}

// dropDisk deletes a snapshot that is of no use.
func (c *collector) dropDisk(ctx context.Context, s *savedVolume, why error) error {
	s.disk.Status.Phase = volume.SnapshotFailed
	if err := s.location.Delete(ctx, s.disk.Status.ProviderSnapshotID); err != nil {
		return fmt.Errorf("%w; it couldn't be deleted and stays with the backup: %w", why, err)
	}
	s.disk.Status.ProviderSnapshotID = ""
	return why
}
