//go:build integration

package sync_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/installed"
	"github.com/kubectl-velero/kubectl-velero/jobs/sync"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// commit puts backups into the installation's bucket.
func commit(t *testing.T, i *installed.Installation, markers ...*velerov1.Backup) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	cat := catalog.New(i.Bucket)
	for _, m := range markers {
		group.Go(func() error { return cat.Commit(ctx, m) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func synced(t *testing.T, i *installed.Installation, cfg sync.Config) report.Summary {
	t.Helper()
	cfg.Env = i.Env
	summary, err := sync.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

// TestMoreThanAThousandBackups is more than one page of any list.
func TestMoreThanAThousandBackups(t *testing.T) {
	t.Parallel()
	i := installed.New(t)
	const many = 1050
	markers := make([]*velerov1.Backup, many)
	for n := range markers {
		markers[n] = marker(fmt.Sprintf("backup-%04d", n), velerov1.BackupPhaseCompleted)
	}
	commit(t, i, markers...)
	begin := time.Now()
	if got := synced(t, i, sync.Config{}); got.Outcome != report.Completed || got.Items != many {
		t.Fatalf("summary = %+v", got)
	}
	first := time.Since(begin)
	list, err := i.Velero.Backups(i.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: velerov1.StorageLocationLabel + "=default"})
	if err != nil || len(list.Items) != many {
		t.Errorf("%d Backups, %v", len(list.Items), err)
	}
	begin = time.Now()
	if got := synced(t, i, sync.Config{}); got.Outcome != report.Completed || got.Items != 0 {
		t.Errorf("a second sync: %+v", got)
	}
	t.Logf("%d backups synced in %s, looked through again in %s", many, first, time.Since(begin))
	location, err := i.Velero.BackupStorageLocations(i.Namespace).Get(t.Context(), velerov1.DefaultName, metav1.GetOptions{})
	if err != nil || location.Status.Phase != velerov1.BackupStorageLocationPhaseAvailable || location.Status.LastSyncedTime == nil {
		t.Errorf("status %+v, %v", location.Status, err)
	}
}

// TestARealAPIServerTakesWhatIsSynced has what only a real one checks: fields of
// the schema, finalizers, owners, deletion.
func TestARealAPIServerTakesWhatIsSynced(t *testing.T) {
	t.Parallel()
	i := installed.New(t)
	rich := marker("rich", velerov1.BackupPhasePartiallyFailed, func(b *velerov1.Backup) {
		b.ResourceVersion, b.UID, b.Generation = "1", "there", 3
		b.OwnerReferences = []metav1.OwnerReference{{APIVersion: "velero.io/v1", Kind: "Schedule", Name: "s", UID: "s"}}
		b.Finalizers = []string{"velero.io/stuck"}
		b.DeletionTimestamp = at(-time.Hour)
		b.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "velero", Operation: "Update", APIVersion: "velero.io/v1"}}
		b.Status.Expiration, b.Status.StartTimestamp, b.Status.Errors = at(time.Hour), at(-time.Hour), 2
	})
	odd := marker("odd", "NoSuchPhase")
	odd.Status.Expiration = at(-time.Hour)
	label := marker("label", velerov1.BackupPhaseCompleted, func(b *velerov1.Backup) { b.Labels = map[string]string{"bad key!": "x"} })
	commit(t, i, rich, odd, label)
	volumes := []velerov1.PodVolumeBackup{{
		ObjectMeta: metav1.ObjectMeta{Name: "rich-x", UID: "old", ResourceVersion: "7", Labels: map[string]string{velerov1.BackupUIDLabel: "there"}},
		Spec:       velerov1.PodVolumeBackupSpec{BackupStorageLocation: "theirs", Volume: "data"},
		Status:     velerov1.PodVolumeBackupStatus{Phase: velerov1.PodVolumeBackupPhaseCompleted},
	}}
	if err := catalog.New(i.Bucket).PutJSON(t.Context(), catalog.BackupFile("rich", catalog.PodVolumeBackups), volumes); err != nil {
		t.Fatal(err)
	}
	if got := synced(t, i, sync.Config{Locations: []string{"default"}}); got.Outcome != report.Completed || got.Items != 2 || got.Warnings != 1 {
		t.Errorf("summary = %+v", got)
	}
	b, err := i.Velero.Backups(i.Namespace).Get(t.Context(), "rich", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b.UID == "there" || len(b.OwnerReferences)+len(b.Finalizers) > 0 || b.DeletionTimestamp != nil || b.Status.Errors != 2 {
		body, _ := json.Marshal(b)
		t.Errorf("%s", body)
	}
	volume, err := i.Velero.PodVolumeBackups(i.Namespace).Get(t.Context(), "rich-x", metav1.GetOptions{})
	if err != nil || len(volume.OwnerReferences) != 1 || volume.OwnerReferences[0].UID != b.UID || types.UID(volume.Labels[velerov1.BackupUIDLabel]) != b.UID {
		t.Errorf("%+v, %v", volume, err)
	}
	odder, err := i.Velero.Backups(i.Namespace).Get(t.Context(), "odd", metav1.GetOptions{})
	if err != nil || odder.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		t.Errorf("%+v, %v", odder, err)
	}
}

// TestRemovalOnARealAPIServer deletes exactly what was looked at.
func TestRemovalOnARealAPIServer(t *testing.T) {
	t.Parallel()
	i := installed.New(t)
	var markers []*velerov1.Backup
	for _, name := range []string{"a", "b", "c"} {
		markers = append(markers, marker(name, velerov1.BackupPhaseCompleted))
	}
	commit(t, i, markers...)
	synced(t, i, sync.Config{})
	i.Backup("runs", velerov1.BackupPhaseInProgress, nil)
	if err := i.Bucket.Delete(t.Context(), "backups/c/velero-backup.json"); err != nil {
		t.Fatal(err)
	}
	if got := synced(t, i, sync.Config{}); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("summary = %+v", got)
	}
	for name, want := range map[string]bool{"a": true, "b": true, "c": false, "runs": true} {
		_, err := i.Velero.Backups(i.Namespace).Get(t.Context(), name, metav1.GetOptions{})
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
