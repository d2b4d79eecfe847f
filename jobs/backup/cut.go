package backup

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// cut has all snapshots cut that were decided for, drivers and clouds side by side,
// and returns when what is written from now on is in none of them. A snapshot that
// fails is reported; an error ends the backup.
func (c *collector) cut(ctx context.Context, all []*savedVolume) error {
	var drivers, disks []*savedVolume
	for _, s := range all {
		switch s.method {
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
	c.progress.claims.Add(int64(len(all)))
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
