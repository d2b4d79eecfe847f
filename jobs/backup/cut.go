package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// maxDisks is the number of disks that are asked about at once. Snapshotters keep to
// what their provider bears.
const maxDisks = 32

// cut has all snapshots cut that were decided for, drivers and clouds side by side,
// and returns when what is written from now on is in none of them. A snapshot that
// fails is reported; an error ends the backup.
func (c *collector) cut(ctx context.Context, all []*savedVolume) error {
	var drivers, disks []*savedVolume
	for _, s := range all {
		switch s.decision.Method {
		case volume.CSISnapshot:
			drivers = append(drivers, s)
		case volume.NativeSnapshot:
			disks = append(disks, s)
		}
	}
	if len(drivers)+len(disks) == 0 {
		return nil
	}
	begin := time.Now()
	group, cutting := errgroup.WithContext(ctx)
	group.Go(func() error { return c.cutClaims(cutting, drivers) })
	group.Go(func() error { return c.cutDisks(cutting, disks) })
	if err := group.Wait(); err != nil {
		return err
	}
	failed := 0
	for _, s := range all {
		s.pv, s.pvc = nil, nil
		if s.err != nil {
			failed++
			c.report.Add(report.Error, s.at, s.err)
		}
	}
	c.Log.Info("snapshots cut", "csi", len(drivers), "disks", len(disks), "failed", failed, "seconds", time.Since(begin).Seconds())
	return nil
}

// cutClaims has drivers cut the snapshots of claims.
func (c *collector) cutClaims(ctx context.Context, all []*savedVolume) error {
	if len(all) == 0 {
		return nil
	}
	claims := make([]csi.Claim, 0, len(all))
	for _, s := range all {
		claims = append(claims, csi.Claim{PVC: s.pvc, PV: s.pv})
		s.info.CSI = &volume.CSIInfo{Driver: s.pv.Spec.CSI.Driver}
	}
	cuts, err := c.snapshots.taker.Cut(ctx, claims)
	if err != nil {
		return fmt.Errorf("cut CSI snapshots: %w", err)
	}
	for i, s := range all {
		if err := cuts[i].Err; err != nil {
			s.failed(fmt.Errorf("neither the claim nor its data is saved: snapshot: %w", err))
			continue
		}
		s.noteCSI(cuts[i])
	}
	return nil
}

// cutDisks has clouds cut the snapshots of disks.
func (c *collector) cutDisks(ctx context.Context, all []*savedVolume) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxDisks)
	for _, s := range all {
		s.location.used = true
		group.Go(func() error {
			if err := c.cutDisk(ctx, s); err != nil {
				s.disk.Status.Phase = volume.SnapshotFailed
				s.failed(fmt.Errorf("neither the volume nor its data is saved: snapshot location %q: %w", s.location.name, err))
			}
			s.noteDisk()
			return ctx.Err()
		})
	}
	return group.Wait()
}

// cutDisk cuts the snapshot of one disk and notes it.
func (c *collector) cutDisk(ctx context.Context, s *savedVolume) error {
	zone := volume.Zone(s.pv)
	s.disk = &volume.Snapshot{
		Spec: volume.SnapshotSpec{
			BackupName: c.backup.Name, BackupUID: string(c.backup.UID), Location: s.location.name,
			PersistentVolumeName: s.pv.Name, VolumeAZ: zone,
		},
		Status: volume.SnapshotStatus{Phase: volume.SnapshotNew},
	}
	id, err := s.location.VolumeID(s.pv)
	if err != nil {
		return err
	}
	s.disk.Spec.ProviderVolumeID = id
	disk, err := s.location.Disk(ctx, id, zone)
	if err != nil {
		return err
	}
	s.disk.Spec.VolumeType, s.disk.Spec.VolumeIOPS = disk.Type, disk.IOPS
	s.disk.Status.ProviderSnapshotID, err = s.location.Create(ctx, snapshot.CreateRequest{
		VolumeID: id, Zone: zone, Owner: c.owner(), Volume: s.pv.Name, Tags: c.tags(s.pv.Name),
	})
	return err
}

// Waiting for disk snapshots: how long between two looks, at first and at most, and
// how many looks may fail one after the other.
const (
	firstLook  = 500 * time.Millisecond
	lastLook   = 15 * time.Second
	maxUnknown = 20
)

// waitDisks waits until the clouds have copied what they cut, or can't, or until the
// time is up.
func (c *collector) waitDisks(ctx context.Context) error {
	limit := c.readyTime(ctx)
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range c.volumes.sorted() {
		if s.disk == nil || s.err != nil {
			continue
		}
		group.Go(func() error {
			err := c.waitDisk(ctx, s, limit)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				s.failed(fmt.Errorf("the volume is saved, its data isn't: snapshot %s at location %q: %w", s.disk.Status.ProviderSnapshotID, s.location.name, err))
				c.report.Add(report.Error, s.at, s.err)
			} else {
				s.disk.Status.Phase = volume.SnapshotCompleted
				s.succeeded(nil)
			}
			s.noteDisk()
			return nil
		})
	}
	return group.Wait()
}

// waitDisk waits for one snapshot. One that will never be ready is deleted; one that
// only isn't yet stays.
func (c *collector) waitDisk(ctx context.Context, s *savedVolume, limit time.Duration) error {
	id, unknown := s.disk.Status.ProviderSnapshotID, 0
	deadline := time.Now().Add(limit)
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		state, err := s.location.State(ctx, id)
		switch {
		case errors.Is(err, snapshot.ErrNotExist):
			s.disk.Status = volume.SnapshotStatus{Phase: volume.SnapshotFailed}
			return err
		case err != nil:
			if unknown++; unknown == maxUnknown {
				return fmt.Errorf("whether it can be used isn't known: %w", err)
			}
		case state.Ready:
			return nil
		case state.Failure != "":
			return c.dropDisk(ctx, s, errors.New(state.Failure))
		default:
			unknown = 0
			if state.Progress != s.percent {
				s.percent = state.Progress
				c.Log.Info("snapshot is being copied", "location", s.location.name, "snapshot", id, "volume", s.info.PVName, "percent", s.percent)
			}
		}
		if time.Now().Add(pause).After(deadline) {
			return errors.Join(fmt.Errorf("not ready after %s, %d %%; it stays with the backup", limit.Round(time.Second), state.Progress), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
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
