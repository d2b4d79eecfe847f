package delete_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

func TestWhoseFiles(t *testing.T) {
	t.Parallel()
	theirMarker := `{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":"shop","uid":"theirs"},"status":{"phase":"Completed"}}`
	for name, test := range map[string]struct {
		backup   *velerov1.Backup
		files    map[string]string
		cfg      deletejob.Config
		setup    func(*world)
		left     []string
		warnings int
	}{
		"failed because the name was another cluster's": {
			backup: backup(velerov1.BackupPhaseFailed), files: map[string]string{"backups/shop/shop-claim.json": otherClaim},
			left: []string{"backups/shop/shop-claim.json"}, warnings: 1,
		},
		"failed because the name was a Velero server's": {
			backup: backup(velerov1.BackupPhaseFailed), files: map[string]string{"backups/shop/velero-backup.json": theirMarker},
			left: []string{"backups/shop/velero-backup.json"}, warnings: 1,
		},
		"failed with a claim of its own": {
			backup: backup(velerov1.BackupPhaseFailed), files: map[string]string{"backups/shop/shop-claim.json": ourClaim, "backups/shop/shop-logs.gz": "log"},
		},
		"failed on a Velero server, which keeps the log": {
			backup: backup(velerov1.BackupPhaseFailed), files: map[string]string{"backups/shop/shop-logs.gz": "log"},
		},
		"refused for its location, which doesn't exist": {
			backup: backup(velerov1.BackupPhaseFailedValidation, func(b *velerov1.Backup) { b.Spec.StorageLocation = "west" }), warnings: 1,
		},
		"failed for its bucket, which doesn't exist": {
			backup: backup(velerov1.BackupPhaseFailed), warnings: 1,
			setup: func(w *world) {
				w.bucket.Fault(func(string, string) error { return store.ErrNoBucket })
			},
		},
		"failed before it was given a location": {
			backup: backup(velerov1.BackupPhaseFailed, func(b *velerov1.Backup) { b.Spec.StorageLocation = "" }),
			files:  map[string]string{"backups/shop/shop-claim.json": ourClaim},
		},
		"Velero's, without a claim": {
			backup: backup(velerov1.BackupPhaseCompleted, func(b *velerov1.Backup) { b.Annotations = nil }), files: map[string]string{"backups/shop/velero-backup.json": theirMarker},
		},
		"another cluster's, forced": {
			backup: backup(velerov1.BackupPhaseCompleted), files: map[string]string{"backups/shop/shop-claim.json": otherClaim}, cfg: deletejob.Config{Force: true},
		},
		"snapshots, forced": {
			backup: backup(velerov1.BackupPhaseCompleted), cfg: deletejob.Config{Force: true}, warnings: 1,
			files: map[string]string{"backups/shop/shop-volumesnapshots.json.gz": gzipped(`[{"status":{"providerSnapshotID":"snap-1"}}]`)},
		},
		"a torn side file, forced": {
			backup: backup(velerov1.BackupPhaseCompleted), cfg: deletejob.Config{Force: true}, warnings: 1,
			files: map[string]string{"backups/shop/shop-volumesnapshots.json.gz": "torn"},
		},
		"only a claim in the bucket": {
			files: map[string]string{"backups/shop/shop-claim.json": ourClaim}, cfg: deletejob.Config{Location: "default"},
		},
		"only a marker in the bucket": {
			files: map[string]string{"backups/shop/velero-backup.json": theirMarker}, cfg: deletejob.Config{Location: "default"},
		},
		"only a stray file in the bucket": {
			files: map[string]string{"backups/shop/shop.tar.gz": "torn"}, cfg: deletejob.Config{Location: "default"}, warnings: 1,
		},
		"died in the middle, now Deleting": {
			backup: backup(velerov1.BackupPhaseDeleting), files: map[string]string{"backups/shop/shop-claim.json": ourClaim},
		},
		"in progress, but its Job is gone": {
			backup: backup(velerov1.BackupPhaseInProgress), files: map[string]string{"backups/shop/shop-claim.json": ourClaim},
		},
		"in progress on a Velero server that is gone, forced": {
			backup: backup(velerov1.BackupPhaseInProgress, func(b *velerov1.Backup) { b.Annotations = nil }), cfg: deletejob.Config{Force: true}, warnings: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.files)
			if test.backup != nil {
				w.api.Add(veleroNamespace+"backups", test.backup)
			}
			if test.setup != nil {
				test.setup(w)
			}
			summary := w.run(t, test.cfg)
			if diff := cmp.Diff(report.Summary{Outcome: report.Completed, Warnings: test.warnings, TopCauses: []string{}}, summary); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.left, w.bucket.Keys()); diff != "" {
				t.Errorf("left in the bucket (-want +got):\n%s", diff)
			}
			if w.api.Get(backupPath) != nil {
				t.Error("the Backup is still there")
			}
		})
	}
}
