//go:build integration

package maintain_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/snapshotted"
	"github.com/kubectl-velero/kubectl-velero/jobs/maintain"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// TestSnapshotsAreLookedAfter: those of a backup that died go, those of one whose
// executor died after the commit stay without their objects, and those of one that
// expires go with it.
func TestSnapshotsAreLookedAfter(t *testing.T) {
	t.Parallel()
	w := snapshotted.New(t)
	claims := w.Claims(2)
	died := w.Take("died", velerov1.BackupPhaseFailed, claims)
	kept := w.Take("kept", velerov1.BackupPhaseCompleted, claims).Commit()
	running := w.Take("running", velerov1.BackupPhaseInProgress, claims)
	w.Job(velerov1.OperationBackup, "running", running.UID)
	maintainAll(t, w)

	var want []string
	for _, backup := range []*snapshotted.Taken{kept, running} {
		want = append(append(want, backup.Handles()...), backup.Disk())
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, w.Stored()); diff != "" {
		t.Errorf("snapshots in the storage (-want +got):\n%s", diff)
	}
	if n := len(w.Objects(running.UID)); n != 3 {
		t.Errorf("left in the cluster: %q, want what the running backup has", w.Objects(running.UID))
	}
	if left := w.Objects(died.UID); slices.Contains(left, "snapshots of died") {
		t.Errorf("left in the cluster: %q", left)
	}

	patch := []byte(`{"status":{"expiration":"` + time.Now().Add(-time.Minute).UTC().Format(time.RFC3339) + `"}}`)
	if _, err := w.Velero.Backups(w.Namespace).Patch(t.Context(), "kept", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	maintainAll(t, w)
	want = append(running.Handles(), running.Disk())
	slices.Sort(want)
	if diff := cmp.Diff(want, w.Stored()); diff != "" {
		t.Errorf("snapshots after the expiry (-want +got):\n%s", diff)
	}
	if _, err := w.Velero.Backups(w.Namespace).Get(t.Context(), "kept", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the expired Backup: %v", err)
	}
}

func maintainAll(t *testing.T, w *snapshotted.World) {
	t.Helper()
	got, err := maintain.Run(t.Context(), maintain.Config{Env: w.Env, SnapshotTimeout: time.Minute})
	if err != nil || got.Outcome != report.Completed {
		t.Errorf("%+v, %v", got, err)
	}
}
