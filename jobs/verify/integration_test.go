//go:build integration

package verify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/snapshotted"
	"github.com/kubectl-velero/kubectl-velero/jobs/verify"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestSnapshotsOnRealServers loses a snapshot here and there.
func TestSnapshotsOnRealServers(t *testing.T) {
	t.Parallel()
	w := snapshotted.New(t)
	backup := w.Take("shop", velerov1.BackupPhaseCompleted, w.Claims(3)).Commit().Release()
	cfg := verify.Config{Env: w.Env, Backup: "shop", Timeout: time.Minute}
	all := report.VolumesEnd{Checked: 4, OK: 4}
	if told, end := ask(t, cfg); end != all {
		t.Errorf("%+v: %s", end, strings.Join(told, "\n"))
	}
	stored := w.Stored()
	if diff := cmp.Diff([]string(nil), w.Objects(backup.UID)); diff != "" {
		t.Errorf("asking left (-want +got):\n%s", diff)
	}

	w.Driver.Fault(t, testenv.CSIFault{Method: "ListSnapshots", ID: backup.Handles()[0], Code: "Unavailable", Message: "back in a minute"})
	w.Cloud.DeleteSnapshot(backup.Disk())
	cfg.Timeout = 10 * time.Second
	told, end := ask(t, cfg)
	if end.Missing != 1 || end.OK != 2 || end.Unknown != 1 {
		t.Errorf("%+v: %s", end, strings.Join(told, "\n"))
	}
	w.Driver.Fault(t)

	w.Driver.KillDriver(t)
	if told, end := ask(t, cfg); end.Unknown != 3 {
		t.Errorf("%+v: %s", end, strings.Join(told, "\n"))
	}
	w.Driver.StartDriver(t)
	if n := len(w.Stored()); n != len(stored)-1 {
		t.Errorf("%d snapshots are stored, want %d", n, len(stored)-1)
	}
}
