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

// slowDriver answers nothing about the snapshots that it keeps, and deletes the others
// at once.
type slowDriver struct{ keeps func(handle string) bool }

func (d slowDriver) Delete(_ context.Context, h csi.Handle, timeout time.Duration) error {
	if !d.keeps(h.Snapshot) {
		return nil
	}
	time.Sleep(timeout)
	return errors.New("no answer")
}

func (slowDriver) Leftovers(context.Context, string, string) (int, error) { return 0, nil }

// TestASlowDriverIsAskedBriefly: a hundred snapshots of a dead driver take one whole
// timeout and a few brief ones, and each is asked for all the same.
func TestASlowDriverIsAskedBriefly(t *testing.T) {
	t.Parallel()
	const n = 5 * snapshotsAtOnce
	for name, c := range map[string]struct {
		keeps  func(string) bool
		left   int
		atMost time.Duration
	}{
		"dead":          {func(string) bool { return true }, n, DefaultSnapshotTimeout + 4*brief},
		"some are used": {func(h string) bool { return h < "h-030" }, 30, DefaultSnapshotTimeout + brief},
		"one is used":   {func(h string) bool { return h == "h-000" }, 1, DefaultSnapshotTimeout},
		"works":         {func(string) bool { return false }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				all := &snapshots{drivers: slowDriver{c.keeps}}
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
