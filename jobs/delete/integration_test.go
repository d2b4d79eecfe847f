//go:build integration

package delete_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/installed"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// written puts a complete backup into the bucket.
func written(t *testing.T, i *installed.Installation, backup *velerov1.Backup, clusterID string) {
	t.Helper()
	c := catalog.New(i.Bucket)
	committed := backup.DeepCopy()
	committed.Status.Phase = velerov1.BackupPhaseCompleted
	for what, err := range map[string]error{
		"claim":   c.Claim(t.Context(), backup.Name, catalog.Claim{ClusterID: clusterID, BackupUID: string(backup.UID), Attempt: 1, Created: metav1.Now()}),
		"archive": c.PutArchive(t.Context(), backup.Name, strings.NewReader(memstore.EmptyArchive())),
		"volumes": c.PutJSON(t.Context(), catalog.BackupFile(backup.Name, catalog.VolumeInfo), []any{map[string]any{"skipped": true}}),
		"none":    c.PutJSON(t.Context(), catalog.BackupFile(backup.Name, catalog.VolumeSnapshots), nil),
		"log":     c.WriteGzip(t.Context(), catalog.BackupFile(backup.Name, catalog.Logs), text("log")),
	} {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if err := c.Commit(t.Context(), committed); err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, bucket store.Bucket) []string {
	t.Helper()
	var all []string
	for info, err := range bucket.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return all
}

func TestDeleteOnRealServers(t *testing.T) {
	t.Parallel()
	i := installed.New(t)
	shop := i.Backup("shop", velerov1.BackupPhaseCompleted, nil)
	written(t, i, shop, i.ClusterID())
	other := i.Backup("shop-2", velerov1.BackupPhaseCompleted, nil)
	written(t, i, other, i.ClusterID())
	for _, restore := range []*velerov1.Restore{
		i.Restore("back", "shop", velerov1.RestorePhaseCompleted, velerov1.RestoreFinalizer),
		i.Restore("else", "shop-2", velerov1.RestorePhaseCompleted),
	} {
		file := catalog.RestoreFile(restore.Name, catalog.RestoreLogs)
		if err := catalog.New(i.Bucket).WriteGzip(t.Context(), file, text("log")); err != nil {
			t.Fatal(err)
		}
	}

	summary, err := deletejob.Run(t.Context(), deletejob.Config{Env: i.Env, Backup: "shop"})
	if err != nil || summary.Outcome != report.Completed || summary.Warnings > 0 {
		t.Fatalf("Run = %+v, %v", summary, err)
	}
	for _, key := range keys(t, i.Bucket) {
		if !strings.HasPrefix(key, "backups/shop-2/") && !strings.HasPrefix(key, "restores/else/") {
			t.Errorf("%s is left", key)
		}
	}
	if n := len(keys(t, i.Bucket)); n != 7 {
		t.Errorf("%d keys are left, want the 7 of another backup and restore", n)
	}
	_, err = i.Velero.Backups(i.Namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	_, restoreErr := i.Velero.Restores(i.Namespace).Get(t.Context(), "back", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) || !apierrors.IsNotFound(restoreErr) {
		t.Errorf("Backup: %v, Restore: %v; want both not found", err, restoreErr)
	}
	if _, err := i.Velero.Restores(i.Namespace).Get(t.Context(), "else", metav1.GetOptions{}); err != nil {
		t.Errorf("another backup's Restore: %v", err)
	}
	if diff := cmp.Diff([]string{"Backup/shop BackupDeleted"}, i.Events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestRefusedOnRealServers(t *testing.T) {
	t.Parallel()
	i := installed.New(t)
	theirs := i.Backup("theirs", velerov1.BackupPhaseCompleted, nil)
	theirs.UID = "another"
	written(t, i, theirs, "another-cluster")
	runs := i.Backup("runs", velerov1.BackupPhaseInProgress, map[string]string{velerov1.AttemptAnnotation: "0"})
	job := i.Job(velerov1.OperationBackup, "runs", runs.UID)
	before := keys(t, i.Bucket)
	for name, want := range map[string]string{
		"theirs": `backup "theirs" was made by another cluster (its kube-system namespace has UID "another-cluster"); hint: delete it there, or use --force if that cluster needs it no more; if this one took its place, let it adopt the backups: backup-location adopt`,
		"runs":   `Backup "runs" is in progress (Job "` + job + `"); hint: wait until it has ended, or stop it by deleting its Job`,
		"nobody": `backup "nobody" doesn't exist in namespace "` + i.Namespace + `"; hint: to delete what only a bucket still holds, name its storage location with --location`,
	} {
		summary, err := deletejob.Run(t.Context(), deletejob.Config{Env: i.Env, Backup: name})
		if err != nil || summary.Outcome != report.Usage || summary.Reason != want {
			t.Errorf("Run = %+v, %v; want %q", summary, err, want)
		}
	}
	if diff := cmp.Diff(before, keys(t, i.Bucket)); diff != "" {
		t.Errorf("a refusal changed the bucket (-before +after):\n%s", diff)
	}
	events := i.Events()
	slices.Sort(events)
	if diff := cmp.Diff([]string{"Backup/runs BackupDeleteRefused", "Backup/theirs BackupDeleteRefused"}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	summary, err := deletejob.Run(t.Context(), deletejob.Config{Env: i.Env, Backup: "theirs", Force: true})
	if err != nil || summary.Outcome != report.Completed || len(keys(t, i.Bucket)) > 0 {
		t.Errorf("forced: %+v, %v; left %q", summary, err, keys(t, i.Bucket))
	}
}

func TestClaimWithoutRecordOnRealServers(t *testing.T) {
	t.Parallel()
	i := installed.New(t)
	claim := catalog.Claim{ClusterID: i.ClusterID(), BackupUID: "long-gone", Attempt: 1, Created: metav1.Now()}
	if err := catalog.New(i.Bucket).Claim(t.Context(), "torn", claim); err != nil {
		t.Fatal(err)
	}
	summary, err := deletejob.Run(t.Context(), deletejob.Config{Env: i.Env, Backup: "torn", Location: velerov1.DefaultName})
	if err != nil || summary.Outcome != report.Completed || len(keys(t, i.Bucket)) > 0 {
		t.Errorf("Run = %+v, %v; left %q", summary, err, keys(t, i.Bucket))
	}
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}
