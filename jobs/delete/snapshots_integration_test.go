//go:build integration

package delete_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	backupjob "github.com/kubectl-velero/kubectl-velero/jobs/backup"
	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/snapshotted"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// removed deletes the backup, with drivers that get so long for each snapshot.
func removed(t *testing.T, w *snapshotted.World, name string, timeout time.Duration) report.Summary {
	t.Helper()
	summary, err := deletejob.Run(t.Context(), deletejob.Config{Env: w.Env, Backup: name, SnapshotTimeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

// expectGone wants nothing of the backup to be left anywhere.
func expectGone(t *testing.T, w *snapshotted.World, backup *velerov1.Backup, stored ...string) {
	t.Helper()
	slices.Sort(stored)
	if diff := cmp.Diff(stored, w.Stored(), cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		t.Errorf("snapshots in the storage (-want +got):\n%s", diff)
	}
	if left := w.Objects(backup.UID); len(left) > 0 {
		t.Errorf("left in the cluster: %q", left)
	}
	for _, key := range keys(t, w.Bucket) {
		if strings.HasPrefix(key, "backups/"+backup.Name+"/") {
			t.Errorf("left in the bucket: %s", key)
		}
	}
	_, err := w.Velero.Backups(w.Namespace).Get(t.Context(), backup.Name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the Backup: %v", err)
	}
}

func phaseOf(t *testing.T, w *snapshotted.World, name string) velerov1.BackupPhase {
	t.Helper()
	b, err := w.Velero.Backups(w.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return b.Status.Phase
}

func TestSnapshotsGoWithTheirBackup(t *testing.T) {
	t.Parallel()
	w := snapshotted.New(t)
	claims := w.Claims(3)
	first := w.Take("first", velerov1.BackupPhaseCompleted, claims).Commit().Release()
	second := w.Take("second", velerov1.BackupPhaseCompleted, claims).Commit() // its executor died before it could release
	if got := removed(t, w, "first", time.Minute); got.Outcome != report.Completed || got.Warnings > 0 {
		t.Fatalf("%+v", got)
	}
	expectStored := append(second.Handles(), second.Disk())
	slices.Sort(expectStored)
	if diff := cmp.Diff(expectStored, w.Stored()); diff != "" {
		t.Errorf("another backup's snapshots (-want +got):\n%s", diff)
	}
	if got := removed(t, w, "second", time.Minute); got.Outcome != report.Completed || got.Warnings > 0 {
		t.Fatalf("%+v", got)
	}
	expectGone(t, w, first.Backup)
	expectGone(t, w, second.Backup)
	if diff := cmp.Diff([]string{"Backup/first BackupDeleted", "Backup/second BackupDeleted"}, w.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestAGroupOfSnapshots is deleted as one.
func TestAGroupOfSnapshots(t *testing.T) {
	t.Parallel()
	w := snapshotted.New(t)
	backup := w.Take("shop", velerov1.BackupPhaseCompleted, w.Claims(3, velerov1.VolumeGroupLabel, "db")).Commit().Release()
	if got := removed(t, w, "shop", time.Minute); got.Outcome != report.Completed || got.Warnings > 0 {
		t.Errorf("%+v", got)
	}
	expectGone(t, w, backup.Backup)
	calls := 0
	for _, call := range w.Driver.Calls(t) {
		if call.Method == "DeleteVolumeGroupSnapshot" && call.Code == "OK" {
			calls++
		}
	}
	if calls != 1 {
		t.Errorf("the group was deleted %d times", calls)
	}
}

// TestWhatABackupTookIsDeleted takes the snapshots as a Job does, one driver's and one
// cloud's.
func TestWhatABackupTookIsDeleted(t *testing.T) {
	t.Parallel()
	w := snapshotted.New(t)
	w.Claims(2)
	w.DiskClaim("disk")
	backup, err := w.Velero.Backups(w.Namespace).Create(t.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: velerov1.BackupSpec{IncludedNamespaces: []string{w.App}},
		Status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := backupjob.Run(t.Context(), backupjob.Config{Env: w.Env, Name: "shop"}); err != nil || got.Outcome != report.Completed {
		t.Fatalf("%+v, %v", got, err)
	}
	if stored := w.Stored(); len(stored) != 3 {
		t.Errorf("snapshots: %q", stored)
	}
	if got := removed(t, w, "shop", time.Minute); got.Outcome != report.Completed || got.Warnings > 0 {
		t.Errorf("%+v", got)
	}
	expectGone(t, w, backup)
}

// TestADriverThatRefuses keeps the files and says who refused; the next deletion goes
// on.
func TestADriverThatRefuses(t *testing.T) {
	t.Parallel()
	w := snapshotted.New(t)
	backup := w.Take("shop", velerov1.BackupPhaseCompleted, w.Claims(3)).Commit().Release()
	used := backup.Handles()[1]
	w.Driver.Fault(t, testenv.CSIFault{Method: "DeleteSnapshot", ID: used, Code: "FailedPrecondition", Message: "a clone needs it"})
	w.Cloud.UseSnapshot(backup.Disk(), "ami-1")
	got := removed(t, w, "shop", 12*time.Second)
	if got.Outcome != report.Failed || !strings.HasPrefix(got.Reason, "2 of 4 snapshots could not be deleted, the first: ") {
		t.Errorf("%+v", got)
	}
	causes := strings.Join(got.TopCauses, "\n")
	for _, want := range []string{used, "ami-1", `claim "` + backup.Namespace} {
		if !strings.Contains(causes, strings.TrimSuffix(want, backup.Namespace)) {
			t.Errorf("causes lack %q:\n%s", want, causes)
		}
	}
	stored := []string{used, backup.Disk()}
	slices.Sort(stored)
	if diff := cmp.Diff(stored, w.Stored()); diff != "" {
		t.Errorf("snapshots in the storage (-want +got):\n%s", diff)
	}
	if phase, files := phaseOf(t, w, "shop"), keys(t, w.Bucket); phase != velerov1.BackupPhaseDeleting || len(files) != 4 {
		t.Errorf("phase %s, files %q", phase, files)
	}
	w.Driver.Fault(t)
	w.Cloud.UseSnapshot(backup.Disk(), "")
	if got := removed(t, w, "shop", time.Minute); got.Outcome != report.Completed {
		t.Errorf("again: %+v", got)
	}
	expectGone(t, w, backup.Backup)
}

func TestADriverThatIsDown(t *testing.T) {
	t.Parallel()
	w := snapshotted.New(t)
	backup := w.Take("shop", velerov1.BackupPhaseCompleted, w.Claims(2)).Commit().Release()
	w.Driver.KillDriver(t)
	got := removed(t, w, "shop", 3*time.Second)
	if got.Outcome != report.Failed || !strings.Contains(got.Reason, "2 of 3 snapshots could not be deleted") || !strings.Contains(got.Reason, "csi-snapshotter") {
		t.Errorf("%+v", got)
	}
	w.Driver.StartDriver(t)
	if got := removed(t, w, "shop", time.Minute); got.Outcome != report.Completed {
		t.Errorf("again: %+v", got)
	}
	expectGone(t, w, backup.Backup)
}

// TestABackupThatNeverWasOne: what its executor left when it died is found by its
// labels and tags.
func TestABackupThatNeverWasOne(t *testing.T) {
	t.Parallel()
	w := snapshotted.New(t)
	died := w.Take("died", velerov1.BackupPhaseFailed, w.Claims(2))
	if n := len(w.Stored()); n != 3 {
		t.Fatalf("%d snapshots", n)
	}
	if got := removed(t, w, "died", time.Minute); got.Outcome != report.Completed {
		t.Errorf("%+v", got)
	}
	expectGone(t, w, died.Backup)
}
