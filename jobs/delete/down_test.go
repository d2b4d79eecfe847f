package delete

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/saved"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
)

// slowDriver answers nothing about the snapshots that it keeps, and takes its time to
// delete the others.
type slowDriver struct {
	keeps func(handle string) bool
	takes time.Duration
}

func (d slowDriver) Delete(_ context.Context, h csi.Handle, timeout time.Duration) error {
	if d.keeps(h.Snapshot) || d.takes > timeout {
		time.Sleep(timeout)
		return errors.New("no answer")
	}
	time.Sleep(d.takes)
	return nil
}

func (slowDriver) Leftovers(context.Context, string, string) (int, error) { return 0, nil }

// TestAnIdleDriverIsAskedBriefly: a dead driver doesn't take its whole time for each
// snapshot, and one that works loses none to that.
func TestAnIdleDriverIsAskedBriefly(t *testing.T) {
	t.Parallel()
	const n = 25 * snapshotsAtOnce
	before := func(handle string) func(string) bool { return func(h string) bool { return h < handle } }
	for name, c := range map[string]struct {
		driver slowDriver
		left   int
		atMost time.Duration
	}{
		"dead":                       {slowDriver{keeps: before("i")}, n, DefaultSnapshotTimeout + 24*brief},
		"the first ones are used":    {slowDriver{before("h-020"), 15 * time.Second}, snapshotsAtOnce, DefaultSnapshotTimeout + 24*15*time.Second},
		"more than at once are used": {slowDriver{before("h-030"), 15 * time.Second}, 30, 2*DefaultSnapshotTimeout + 24*15*time.Second},
		"a few are used":             {slowDriver{before("h-005"), 20 * time.Second}, 5, 2*DefaultSnapshotTimeout + 24*20*time.Second},
		"one is used":                {slowDriver{before("h-001"), 0}, 1, DefaultSnapshotTimeout},
		"slow":                       {slowDriver{before(""), 4 * time.Minute}, 0, 25 * 4 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				all := &snapshots{drivers: c.driver}
				for i := range n {
					all.csi = append(all.csi, saved.CSI{Handle: csi.Handle{Driver: "dir", Snapshot: fmt.Sprintf("h-%03d", i)}})
				}
				o := &operation{Config: Config{Env: &run.Env{Log: slog.New(slog.DiscardHandler)}}, snapshots: all}
				r := &removal{o: o}
				r.tasks.SetLimit(snapshotsAtOnce)
				begin := time.Now()
				r.csi(t.Context())
				if err := r.tasks.Wait(); err != nil {
					t.Fatal(err)
				}
				if r.total != n || r.left != c.left {
					t.Errorf("%d of %d are left, want %d", r.left, r.total, c.left)
				}
				if took := time.Since(begin); took > c.atMost {
					t.Errorf("it took %s, want at most %s", took, c.atMost)
				}
			})
		})
	}
}
