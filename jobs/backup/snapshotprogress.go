package backup

import (
	"context"
	"fmt"
	"sync/atomic"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// whole is all of a disk's copy, in percent.
const whole = 100

// snapshotProgress counts snapshots while they are made. It is safe for concurrent use.
type snapshotProgress struct {
	// disks and claims are those that snapshots were asked for of.
	disks, claims atomic.Int64
	// disksReady are the snapshots of disks that can be used.
	disksReady atomic.Int64
	// copied is how much of the disks' copies is done, in percent of one; what failed
	// counts as done.
	copied atomic.Int64
	// noted says that the Backup's annotation tells that.
	noted atomic.Bool
}

// percent is how much of all disks' copies is done.
func (p *snapshotProgress) percent() int {
	disks := p.disks.Load()
	if disks == 0 {
		return whole
	}
	return int(p.copied.Load() / disks)
}

// snapshotStatus are the fields of the status that count snapshots, as far as they are.
// Those that failed are counted at the end.
func (o *operation) snapshotStatus() map[string]any {
	p := &o.progress
	ready, cut := 0, 0
	if o.snapshots != nil && o.snapshots.taker != nil {
		ready, cut = o.snapshots.taker.Progress()
	}
	return map[string]any{
		"volumeSnapshotsAttempted": p.disks.Load(), "volumeSnapshotsCompleted": p.disksReady.Load(),
		"csiVolumeSnapshotsAttempted": p.claims.Load(), "csiVolumeSnapshotsCompleted": ready,
		"backupItemOperationsAttempted": cut, "backupItemOperationsCompleted": ready,
	}
}

// copiedNote is the annotation about the copies of disks. It is taken away when there is
// nothing to wait for.
func (o *operation) copiedNote() map[string]any {
	var value any
	if percent := o.progress.percent(); percent < whole {
		value = fmt.Sprintf("%d%%", percent)
		o.progress.noted.Store(true)
	}
	return map[string]any{velerov1.DisksCopiedAnnotation: value}
}

// tellCopied takes the annotation away if it is there.
func (o *operation) tellCopied(ctx context.Context) {
	if !o.progress.noted.Load() {
		return
	}
	if err := o.record.Patch(ctx, map[string]any{"metadata": map[string]any{"annotations": o.copiedNote()}}); err != nil && ctx.Err() == nil {
		o.Log.Warn("progress not written", "error", err)
	}
}
