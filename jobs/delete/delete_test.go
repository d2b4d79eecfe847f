package delete_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/apitest"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	veleroNamespace = "/apis/velero.io/v1/namespaces/velero/"
	backupPath      = veleroNamespace + "backups/shop"
	ourClaim        = `{"clusterID":"this-cluster","backupUID":"uid-of-shop","attempt":1}`
	otherClaim      = `{"clusterID":"other-cluster","backupUID":"theirs","attempt":1}`
)

// world is a cluster and a bucket.
type world struct {
	api    *apitest.Server
	bucket *memstore.Bucket
	env    *run.Env
}

func newWorld(t *testing.T, objects map[string]string) *world {
	t.Helper()
	w := &world{api: apitest.New(t), bucket: memstore.New(objects)}
	velero, kube, dynamic := w.api.Clients()
	w.env = &run.Env{
		REST: w.api.Config, Client: velero, Kube: kube, Dynamic: dynamic, Namespace: "velero",
		Attempt: 1, LastAttempt: true, Log: slog.New(slog.DiscardHandler),
		OpenStore: func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) { return w.bucket, nil },
	}
	w.api.Add("/api/v1/namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "this-cluster"}})
	w.api.Add(veleroNamespace+"backupstoragelocations", &velerov1.BackupStorageLocation{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
	return w
}

// files is what a complete backup and two restores leave in a bucket.
func files() map[string]string {
	return map[string]string{
		"backups/shop/shop-claim.json":     ourClaim,
		"backups/shop/velero-backup.json":  `{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":"shop","uid":"uid-of-shop"},"status":{"phase":"Completed"}}`,
		"backups/shop/shop.tar.gz":         memstore.EmptyArchive(),
		"backups/shop/shop-logs.gz":        "log",
		"backups/shop2/shop2.tar.gz":       "another's",
		"restores/r1/restore-r1-logs.gz":   "log",
		"restores/r2/restore-r2-logs.gz":   "log",
		"restores/else/restore-other.gz":   "log",
		"backups/shop2/velero-backup.json": "{}",
	}
}

func backup(phase velerov1.BackupPhase, edit ...func(*velerov1.Backup)) *velerov1.Backup {
	b := &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{
			Name: "shop", CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour)),
			Annotations: map[string]string{velerov1.AttemptAnnotation: "1"},
		},
		Spec:   velerov1.BackupSpec{StorageLocation: "default"},
		Status: velerov1.BackupStatus{Phase: phase},
	}
	for _, e := range edit {
		e(b)
	}
	return b
}

func restoreOf(backup, name string, edit ...func(*velerov1.Restore)) *velerov1.Restore {
	r := &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       velerov1.RestoreSpec{BackupName: backup},
		Status:     velerov1.RestoreStatus{Phase: velerov1.RestorePhaseCompleted},
	}
	for _, e := range edit {
		e(r)
	}
	return r
}

func (w *world) run(t *testing.T, cfg deletejob.Config) report.Summary {
	t.Helper()
	cfg.Env = w.env
	if cfg.Backup == "" {
		cfg.Backup = "shop"
	}
	summary, err := deletejob.Run(t.Context(), cfg)
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	return summary
}

// writes are those to the cluster, without what is noted about the location.
func (w *world) writes() []string {
	return slices.DeleteFunc(w.api.Writes(), func(write string) bool { return strings.Contains(write, "/backupstoragelocations/") })
}

// events are those of the backup, as "reason: message".
func (w *world) events() []string {
	var all []string
	for _, e := range w.api.List("/api/v1/namespaces/velero/events") {
		reason, _, _ := unstructured.NestedString(e.Object, "reason")
		message, _, _ := unstructured.NestedString(e.Object, "message")
		all = append(all, reason+": "+message)
	}
	return all
}

func TestDeletesEverythingInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, files())
	w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
	w.api.Add(veleroNamespace+"restores", restoreOf("shop", "r1"))
	w.api.Add(veleroNamespace+"restores", restoreOf("shop", "r2", func(r *velerov1.Restore) {
		r.Finalizers = []string{velerov1.RestoreFinalizer}
	}))
	w.api.Add(veleroNamespace+"restores", restoreOf("other", "else"))

	if diff := cmp.Diff(report.Summary{Outcome: report.Completed, TopCauses: []string{}}, w.run(t, deletejob.Config{})); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	deleted := w.bucket.Deleted()
	if len(deleted) != 6 || deleted[0] != "backups/shop/velero-backup.json" || deleted[3] != "backups/shop/shop-claim.json" {
		t.Errorf("deleted %q: want the marker first and the claim last of the backup", deleted)
	}
	want := []string{"backups/shop2/shop2.tar.gz", "backups/shop2/velero-backup.json", "restores/else/restore-other.gz"}
	if diff := cmp.Diff(want, w.bucket.Keys()); diff != "" {
		t.Errorf("left in the bucket (-want +got):\n%s", diff)
	}
	// Signs of life come at any time; the first write is that of the phase.
	writes := w.writes()
	writes = append(writes[:1], slices.DeleteFunc(writes[1:], func(write string) bool { return write == "PATCH "+backupPath })...)
	want = []string{
		"PATCH " + backupPath,
		"DELETE " + veleroNamespace + "restores/r1",
		"PATCH " + veleroNamespace + "restores/r2",
		"DELETE " + veleroNamespace + "restores/r2",
		"DELETE " + backupPath,
	}
	if diff := cmp.Diff(want, writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"BackupDeleted: the backup, its files and 2 restores are deleted"}, w.events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		backup *velerov1.Backup
		alive  bool // its executor beats just before the deletion, not when this table is made
		files  map[string]string
		cfg    deletejob.Config
		setup  func(*world)
		want   string
	}{
		"no such backup": {
			want: `backup "shop" doesn't exist in namespace "velero"; hint: to delete what only a bucket still holds, name its storage location with --location`,
		},
		"bad name": {
			cfg:  deletejob.Config{Backup: "../shop"},
			want: `"../shop" is no name of a backup: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'); hint: check the name`,
		},
		"another location than the backup's": {
			backup: backup(velerov1.BackupPhaseCompleted), cfg: deletejob.Config{Location: "west"},
			want: `backup "shop" is in storage location "default", not in "west"; hint: leave --location out`,
		},
		"in progress, Job there": {
			backup: backup(velerov1.BackupPhaseInProgress), alive: true,
			setup: func(w *world) {
				w.api.Add("/apis/batch/v1/namespaces/velero/jobs", &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "backup-shop-1", CreationTimestamp: metav1.Now(), Labels: map[string]string{
					velerov1.OperationLabel: velerov1.OperationBackup, velerov1.OperationUIDLabel: "uid-of-shop",
				}}})
			},
			want: `Backup "shop" is in progress (Job "backup-shop-1"); hint: wait until it has ended, or stop it by deleting its Job`,
		},
		"in progress, Job not there yet": {
			backup: backup(velerov1.BackupPhaseInProgress), alive: true,
			want: `Backup "shop" is in progress: its Job is about to be created; hint: try again in a minute`,
		},
		"in progress, a Velero server's": {
			backup: backup(velerov1.BackupPhaseFinalizing, func(b *velerov1.Backup) { b.Annotations = nil }),
			want:   `Backup "shop" is in progress (phase "Finalizing"), and no Job of this program works on it: it is a Velero server's; hint: if no Velero server runs any more, use --force`,
		},
		"restore in progress": {
			backup: backup(velerov1.BackupPhaseCompleted),
			setup: func(w *world) {
				w.api.Add(veleroNamespace+"restores", restoreOf("shop", "r1", func(r *velerov1.Restore) {
					r.Status.Phase = velerov1.RestorePhaseInProgress
					r.CreationTimestamp = metav1.Now()
					r.Annotations = map[string]string{velerov1.AttemptAnnotation: "0"}
				}))
			},
			want: `Restore "r1" is in progress: its Job is about to be created; hint: try again in a minute`,
		},
		"location missing": {
			backup: backup(velerov1.BackupPhaseCompleted, func(b *velerov1.Backup) { b.Spec.StorageLocation = "west" }),
			want:   `storage location "west" doesn't exist, so the backup's files can't be deleted; hint: create it again, or remove only the record: kubectl -n velero delete backups.velero.io shop`,
		},
		"location read-only": {
			backup: backup(velerov1.BackupPhaseCompleted, func(b *velerov1.Backup) { b.Spec.StorageLocation = "archive" }),
			setup: func(w *world) {
				w.api.Add(veleroNamespace+"backupstoragelocations", &velerov1.BackupStorageLocation{
					ObjectMeta: metav1.ObjectMeta{Name: "archive"}, Spec: velerov1.BackupStorageLocationSpec{AccessMode: velerov1.BackupStorageLocationAccessModeReadOnly},
				})
			},
			want: `storage location "archive" is read-only, so the backup's files can't be deleted; hint: set its accessMode to ReadWrite, or remove only the record: kubectl -n velero delete backups.velero.io shop`,
		},
		"another cluster's": {
			backup: backup(velerov1.BackupPhaseCompleted), files: map[string]string{"backups/shop/shop-claim.json": otherClaim},
			want: `backup "shop" was made by another cluster (its kube-system namespace has UID "other-cluster"); hint: delete it there, or use --force if that cluster needs it no more; if this one took its place, let it adopt the backups: backup-location adopt`,
		},
		"only in the bucket, and not there": {
			cfg:  deletejob.Config{Location: "default"},
			want: `backup "shop" doesn't exist: neither as an object in the cluster nor in the bucket; hint: check the name and the location`,
		},
		"only in the bucket, another cluster's": {
			cfg: deletejob.Config{Location: "default"}, files: map[string]string{"backups/shop/shop-claim.json": otherClaim},
			want: `backup "shop" was made by another cluster (its kube-system namespace has UID "other-cluster"); hint: delete it there, or use --force if that cluster needs it no more; if this one took its place, let it adopt the backups: backup-location adopt`,
		},
		"only in the bucket, another namespace's": {
			cfg: deletejob.Config{Location: "default", Force: true}, files: map[string]string{"backups/shop/shop-claim.json": ourClaim},
			setup: func(w *world) {
				w.api.Add("/apis/velero.io/v1/namespaces/tenant/backups", backup(velerov1.BackupPhaseCompleted))
			},
			want: `the files belong to Backup "tenant/shop" of this cluster; hint: delete that one, with its namespace as -n`,
		},
		"only in the bucket, being written by a Velero server": {
			cfg:   deletejob.Config{Location: "default"},
			files: map[string]string{"backups/shop/velero-backup.json": `{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":"shop"},"status":{"phase":"Finalizing"}}`},
			want:  `backup "shop" stands in phase "Finalizing" in the bucket: a Velero server may be writing it; hint: if none does any more, use --force`,
		},
		"only in the bucket, location missing": {
			cfg:  deletejob.Config{Location: "west"},
			want: `storage location "west" doesn't exist, so the backup's files can't be deleted; hint: create it again`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.files)
			if test.alive {
				test.backup.Annotations[velerov1.HeartbeatAnnotation] = time.Now().UTC().Format(time.RFC3339)
			}
			if test.backup != nil {
				w.api.Add(veleroNamespace+"backups", test.backup)
			}
			if test.setup != nil {
				test.setup(w)
			}
			got := w.run(t, test.cfg)
			want := report.Summary{Outcome: report.Usage, Reason: test.want, Errors: 1, TopCauses: []string{test.want}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
			if writes, deleted := w.writes(), w.bucket.Deleted(); len(writes)+len(deleted) > 0 {
				t.Errorf("a refusal wrote %q and deleted %q", writes, deleted)
			}
			if events := w.events(); test.backup != nil && (len(events) != 1 || !strings.HasPrefix(events[0], "BackupDeleteRefused: ")) {
				t.Errorf("events = %q", events)
			}
		})
	}
}

func gzipped(text string) string {
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return buffer.String()
}

func TestFailureLeavesItDeletingAndRetryGoesOn(t *testing.T) {
	t.Parallel()
	down := fmt.Errorf("delete objects: %w", store.ErrUnavailable)
	for name, test := range map[string]struct {
		lastAttempt bool
		fault       func(w *world)
		want        report.Summary
		events      []string
		causes      string
	}{
		"store, another attempt follows": {
			fault: storeFault("Delete", down),
			want:  report.Summary{Outcome: report.Temporary},
		},
		"store, last attempt": {
			lastAttempt: true, fault: storeFault("Delete", down),
			want:   report.Summary{Outcome: report.Failed},
			events: []string{`BackupDeleteFailed: storage location "default": delete backup "shop": delete objects: storage is unavailable`},
			causes: `storage location "default": delete backup "shop": delete objects: storage is unavailable`,
		},
		"denied": {
			fault:  storeFault("Delete", store.ErrDenied),
			want:   report.Summary{Outcome: report.Failed},
			events: []string{`BackupDeleteFailed: storage location "default": delete backup "shop": access denied`},
			causes: `storage location "default": delete backup "shop": access denied`,
		},
		"restore can't be deleted": {
			fault: func(w *world) {
				w.api.Fault(func(method, path string) int {
					if method == "DELETE" && strings.HasSuffix(path, "/r1") {
						return 403
					}
					return 0
				})
			},
			want:   report.Summary{Outcome: report.Failed},
			events: []string{`BackupDeleteFailed: 1 of 2 Restores made from the backup could not be deleted, the first: delete Restore "r1": ` + veleroNamespace + `restores/r1: Forbidden`},
			causes: `1 of 2 Restores made from the backup could not be deleted, the first: delete Restore "r1": ` + veleroNamespace + `restores/r1: Forbidden`,
		},
		"API server in trouble": {
			fault: func(w *world) {
				w.api.Fault(func(method, path string) int {
					if method == "DELETE" && path == backupPath {
						return 500
					}
					return 0
				})
			},
			want: report.Summary{Outcome: report.Temporary},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, files())
			w.env.LastAttempt = test.lastAttempt
			w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
			w.api.Add(veleroNamespace+"restores", restoreOf("shop", "r1"))
			w.api.Add(veleroNamespace+"restores", restoreOf("shop", "r2"))
			test.fault(w)

			summary := w.run(t, deletejob.Config{})
			if summary.Outcome != test.want.Outcome || summary.Reason == "" {
				t.Errorf("summary = %+v, want outcome %s", summary, test.want.Outcome)
			}
			left := w.api.Get(backupPath)
			if phase, _, _ := unstructured.NestedString(left.Object, "status", "phase"); phase != "Deleting" {
				t.Errorf("phase = %q, want Deleting", phase)
			}
			if got := left.GetAnnotations()[velerov1.TopCausesAnnotation]; got != test.causes {
				t.Errorf("causes = %q, want %q", got, test.causes)
			}
			if diff := cmp.Diff(test.events, w.events()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}

			w.api.Fault(nil)
			w.bucket.Fault(nil)
			w.env.Attempt, w.env.LastAttempt = 2, true
			if again := w.run(t, deletejob.Config{}); again.Outcome != report.Completed {
				t.Errorf("second attempt = %+v", again)
			}
			if w.api.Get(backupPath) != nil || len(w.bucket.Keys()) != 3 {
				t.Errorf("left: %q", w.bucket.Keys())
			}
			if third := w.run(t, deletejob.Config{}); third.Outcome != report.Completed {
				t.Errorf("an attempt after the end = %+v", third)
			}
		})
	}
}

func storeFault(op string, err error) func(*world) {
	return func(w *world) {
		w.bucket.Fault(func(got, key string) error {
			if got == op && key != "backups/shop/velero-backup.json" {
				return err
			}
			return nil
		})
	}
}

func TestStoreDownBeforeTheBeginning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, files())
	w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
	w.bucket.Fault(func(string, string) error { return store.ErrUnavailable })
	if got := w.run(t, deletejob.Config{}); got.Outcome != report.Failed {
		t.Errorf("summary = %+v", got)
	}
	if writes := w.writes(); len(writes) > 0 {
		t.Errorf("writes = %q; want the backup untouched", writes)
	}
	location := w.api.Get(veleroNamespace + "backupstoragelocations/default")
	if phase, _, _ := unstructured.NestedString(location.Object, "status", "phase"); phase != "Unavailable" {
		t.Errorf("phase of the location = %q, want Unavailable", phase)
	}
}

func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, files())
	w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
	w.env.OpenStore = func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) {
		// Deleted and created again under the same name while we looked.
		w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseInProgress, func(b *velerov1.Backup) { b.UID = types.UID("another") }))
		return w.bucket, nil
	}
	if got := w.run(t, deletejob.Config{}); got.Outcome != report.Failed {
		t.Errorf("summary = %+v", got)
	}
	if deleted := w.bucket.Deleted(); len(deleted) > 0 {
		t.Errorf("deleted %q of a backup that changed", deleted)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, files())
	w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
	ctx, cancel := context.WithCancel(t.Context())
	w.bucket.Fault(func(op, _ string) error {
		if op == "Delete" {
			cancel()
			return errors.New("cut off")
		}
		return nil
	})
	summary, err := deletejob.Run(ctx, deletejob.Config{Env: w.env, Backup: "shop"})
	if err != nil || summary.Outcome != report.Cancelled || summary.Reason != "interrupted" {
		t.Errorf("Run = %+v, %v", summary, err)
	}
	if phase, _, _ := unstructured.NestedString(w.api.Get(backupPath).Object, "status", "phase"); phase != "Deleting" {
		t.Errorf("phase = %q, want Deleting", phase)
	}
}
