package delete_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// TestWhatTheStoreRefusesStaysWhole keeps what can't be deleted restorable.
func TestWhatTheStoreRefusesStaysWhole(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		phase  velerov1.BackupPhase
		setup  func(*world)
		want   velerov1.BackupPhase
		reason string
		left   int
	}{
		"locked": {
			phase: velerov1.BackupPhasePartiallyFailed, want: velerov1.BackupPhasePartiallyFailed, left: 4, reason: "is locked until",
			setup: func(w *world) { w.bucket.Lock("", time.Now().Add(time.Hour)) },
		},
		"all but the marker locked": {
			phase: velerov1.BackupPhaseCompleted, want: velerov1.BackupPhaseDeleting, left: 3, reason: "is locked until",
			setup: func(w *world) { w.bucket.Lock("backups/shop/shop", time.Now().Add(time.Hour)) },
		},
		"failed, its log locked": {
			phase: velerov1.BackupPhaseFailed, want: velerov1.BackupPhaseFailed, left: 4, reason: "is locked until",
			setup: func(w *world) { w.bucket.Lock("", time.Now().Add(time.Hour)) },
		},
		"locked in the middle of its deletion": {
			phase: velerov1.BackupPhaseDeleting, want: velerov1.BackupPhaseDeleting, left: 4, reason: "is locked until",
			setup: func(w *world) { w.bucket.Lock("", time.Now().Add(time.Hour)) },
		},
		"denied": {
			phase: velerov1.BackupPhaseCompleted, want: velerov1.BackupPhaseCompleted, left: 4, reason: "access denied",
			setup: func(w *world) {
				w.bucket.Fault(func(op, _ string) error {
					if op == "Delete" {
						return store.ErrDenied
					}
					return nil
				})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, files())
			w.env.LastAttempt = false // no second attempt would help
			w.api.Add(veleroNamespace+"backups", backup(test.phase, func(b *velerov1.Backup) {
				b.Annotations[velerov1.TopCausesAnnotation] = "its own"
			}))
			w.api.Add(veleroNamespace+"restores", restoreOf("shop", "r1"))
			test.setup(w)
			got := w.run(t, deletejob.Config{})
			if got.Outcome != report.Failed || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("summary = %+v", got)
			}
			left := 0
			for _, key := range w.bucket.Keys() {
				if strings.HasPrefix(key, "backups/shop/") {
					left++
				}
			}
			u := w.api.Get(backupPath)
			phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
			if phase != string(test.want) || left != test.left || w.api.Get(veleroNamespace+"restores/r1") == nil {
				t.Errorf("phase %s, %d files left: %q", phase, left, w.bucket.Keys())
			}
			if causes := u.GetAnnotations()[velerov1.TopCausesAnnotation]; (causes == "its own") != (test.want != velerov1.BackupPhaseDeleting) {
				t.Errorf("causes = %q", causes)
			}
		})
	}
}

// TestAdoptedBackupsAreDeletedWithoutForce looks at who made a backup.
func TestAdoptedBackupsAreDeletedWithoutForce(t *testing.T) {
	t.Parallel()
	named := func(cluster string) map[string]string {
		return map[string]string{"backups/shop/velero-backup.json": `{"kind":"Backup","apiVersion":"velero.io/v1",` +
			`"metadata":{"name":"shop","uid":"theirs","annotations":{"kubectl-velero.io/cluster-id":"` + cluster + `"}},"status":{"phase":"Completed"}}`}
	}
	for name, test := range map[string]struct {
		adopted string
		files   map[string]string
		want    report.Outcome
	}{
		"claimed elsewhere":            {files: map[string]string{"backups/shop/shop-claim.json": otherClaim}, want: report.Usage},
		"claimed elsewhere, adopted":   {adopted: "other-cluster", files: map[string]string{"backups/shop/shop-claim.json": otherClaim}, want: report.Completed},
		"another one adopted":          {adopted: "third-cluster,unknown", files: map[string]string{"backups/shop/shop-claim.json": otherClaim}, want: report.Usage},
		"only the marker says it":      {files: named("other-cluster"), want: report.Usage},
		"only the marker, adopted":     {adopted: "other-cluster", files: named("other-cluster"), want: report.Completed},
		"only the marker, here":        {files: named("this-cluster"), want: report.Completed},
		"a torn marker and no claim":   {files: map[string]string{"backups/shop/velero-backup.json": "{"}, want: report.Completed},
		"no files, and none was known": {want: report.Completed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.files)
			w.api.Add(veleroNamespace+"backupstoragelocations", &velerov1.BackupStorageLocation{ObjectMeta: metav1.ObjectMeta{
				Name: "default", Annotations: map[string]string{velerov1.AdoptedClustersAnnotation: test.adopted},
			}})
			w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
			got := w.run(t, deletejob.Config{})
			if diff := cmp.Diff(test.want, got.Outcome); diff != "" {
				t.Errorf("%+v", got)
			}
			if left := len(w.bucket.Keys()); (left == 0) != (test.want == report.Completed) {
				t.Errorf("left: %q", w.bucket.Keys())
			}
		})
	}
}
