//go:build integration

package maintain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/snapshotted"
	"github.com/kubectl-velero/kubectl-velero/jobs/maintain"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// TestADeadDriverIsToldOnce, by its name, whatever number of backups died with
// snapshots of it. When it works again they go.
func TestADeadDriverIsToldOnce(t *testing.T) {
	t.Parallel()
	w := snapshotted.New(t)
	claims := w.Claims(2)
	for _, name := range []string{"first", "second", "third"} {
		w.Take(name, velerov1.BackupPhaseFailed, claims)
	}
	w.Driver.KillDriver(t)
	got, err := maintain.Run(t.Context(), maintain.Config{Env: w.Env, SnapshotTimeout: 2 * time.Second})
	if err != nil || got.Outcome != report.PartiallyFailed || got.Errors != 1 || !strings.Contains(got.Reason, w.Driver.Driver) {
		t.Errorf("%+v, %v", got, err)
	}
	w.Driver.StartDriver(t)
	maintainAll(t, w)
	if left := w.Stored(); len(left) > 0 {
		t.Errorf("left in the storage: %q", left)
	}
}
