package sync_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/apitest"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/jobs/sync"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	veleroNamespace = "/apis/velero.io/v1/namespaces/velero/"
	backupsPath     = veleroNamespace + "backups"
)

// world is a cluster and the buckets of its locations.
type world struct {
	api     *apitest.Server
	env     *run.Env
	buckets map[string]*memstore.Bucket
}

// newWorld has the locations with empty buckets; the first is the default one.
func newWorld(t *testing.T, locations ...string) *world {
	t.Helper()
	w := &world{api: apitest.New(t), buckets: map[string]*memstore.Bucket{}}
	velero, kube, dynamic := w.api.Clients()
	w.env = &run.Env{
		REST: w.api.Config, Client: velero, Kube: kube, Dynamic: dynamic, Namespace: "velero",
		Attempt: 1, LastAttempt: true, Log: slog.New(slog.DiscardHandler),
		OpenStore: func(_ context.Context, location *velerov1.BackupStorageLocation) (store.Bucket, error) {
			return w.buckets[location.Name], nil
		},
	}
	w.api.Add("/api/v1/namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "this-cluster"}})
	for i, name := range locations {
		w.buckets[name] = memstore.New(nil)
		w.api.Add(veleroNamespace+"backupstoragelocations", &velerov1.BackupStorageLocation{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: velerov1.BackupStorageLocationSpec{Default: i == 0},
		})
	}
	return w
}

// store puts a backup's marker into a location.
func (w *world) store(t *testing.T, location string, marker *velerov1.Backup) {
	t.Helper()
	marker.Kind, marker.APIVersion = "Backup", "velero.io/v1"
	body, err := json.Marshal(marker)
	if err != nil {
		t.Fatal(err)
	}
	w.put(t, location, "backups/"+marker.Name+"/velero-backup.json", string(body))
}

func (w *world) put(t *testing.T, location, key, body string) {
	t.Helper()
	if err := w.buckets[location].Put(t.Context(), key, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

func (w *world) sync(t *testing.T, cfg sync.Config) report.Summary {
	t.Helper()
	cfg.Env = w.env
	summary, err := sync.Run(t.Context(), cfg)
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	return summary
}

// shown is "name location phase" of every Backup in the cluster.
func (w *world) shown() []string {
	var all []string
	for _, u := range w.api.List(backupsPath) {
		location, _, _ := unstructured.NestedString(u.Object, "spec", "storageLocation")
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		all = append(all, u.GetName()+" "+location+" "+phase)
	}
	return all
}

func (w *world) events() []string {
	var all []string
	for _, e := range w.api.List("/api/v1/namespaces/velero/events") {
		reason, _, _ := unstructured.NestedString(e.Object, "reason")
		message, _, _ := unstructured.NestedString(e.Object, "message")
		all = append(all, reason+": "+message)
	}
	return all
}

func (w *world) locationStatus(name string) (phase string, synced bool) {
	u := w.api.Get(veleroNamespace + "backupstoragelocations/" + name)
	phase, _, _ = unstructured.NestedString(u.Object, "status", "phase")
	_, synced, _ = unstructured.NestedString(u.Object, "status", "lastSyncedTime")
	return phase, synced
}

// marker is the Backup in a commit marker.
func marker(name string, phase velerov1.BackupPhase, edit ...func(*velerov1.Backup)) *velerov1.Backup {
	b := &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "elsewhere", UID: "there-uid"},
		Spec:       velerov1.BackupSpec{StorageLocation: "theirs", IncludedNamespaces: []string{"shop"}},
		Status:     velerov1.BackupStatus{Phase: phase, Version: 1, FormatVersion: "1.1.0"},
	}
	for _, e := range edit {
		e(b)
	}
	return b
}

// object is the Backup in the cluster.
func object(name, location string, phase velerov1.BackupPhase, edit ...func(*velerov1.Backup)) *velerov1.Backup {
	b := &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "here-uid"},
		Spec:       velerov1.BackupSpec{StorageLocation: location},
		Status:     velerov1.BackupStatus{Phase: phase},
	}
	for _, e := range edit {
		e(b)
	}
	return b
}

func at(d time.Duration) *metav1.Time {
	t := metav1.NewTime(time.Now().Add(d))
	return &t
}

func TestAForeignBackupIsMadeTheClustersOwn(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("west", 20)
	w := newWorld(t, long)
	w.store(t, long, marker("shop", velerov1.BackupPhaseCompleted, func(b *velerov1.Backup) {
		b.Labels = map[string]string{"app": "shop", velerov1.StorageLocationLabel: "theirs", velerov1.ScheduleNameLabel: "daily", velerov1.GCFailureLabel: "Locked"}
		b.Annotations = map[string]string{
			"note": "kept", velerov1.ClusterIDAnnotation: "that-cluster", velerov1.ChecksumsAnnotation: "sum", velerov1.TopCausesAnnotation: "none",
			velerov1.HeartbeatAnnotation: "x", velerov1.CommittingAnnotation: "true", velerov1.AttemptAnnotation: "2",
			velerov1.JobNameAnnotation: "job", velerov1.JobUIDAnnotation: "uid", velerov1.LockedUntilAnnotation: "x",
		}
		b.OwnerReferences = []metav1.OwnerReference{{APIVersion: "velero.io/v1", Kind: "Schedule", Name: "daily", UID: "s"}}
		b.Finalizers = []string{"velero.io/stuck"}
		b.ResourceVersion, b.Generation, b.GenerateName = "12345", 7, "shop-"
		b.DeletionTimestamp = at(-time.Hour)
		b.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "velero"}}
		b.Status.Expiration, b.Status.Warnings = at(-time.Hour), 3
	}))
	if got := w.sync(t, sync.Config{}); got.Outcome != report.Completed || got.Items != 1 || got.Warnings > 0 {
		t.Fatalf("summary = %+v", got)
	}
	got := w.api.Get(backupsPath + "/shop")
	if got == nil {
		t.Fatal("no Backup")
	}
	wantMeta := map[string]any{
		"name": "shop", "namespace": "velero", "uid": "uid-of-shop", "resourceVersion": got.GetResourceVersion(),
		"labels": map[string]any{"app": "shop", velerov1.StorageLocationLabel: velerov1.ValidName(long), velerov1.ScheduleNameLabel: "daily"},
		"annotations": map[string]any{
			"note": "kept", velerov1.ClusterIDAnnotation: "that-cluster", velerov1.ChecksumsAnnotation: "sum", velerov1.TopCausesAnnotation: "none",
		},
	}
	meta, _, _ := unstructured.NestedMap(got.Object, "metadata")
	delete(meta, "creationTimestamp")
	if diff := cmp.Diff(wantMeta, meta); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"shop " + long + " Completed"}, w.shown()); diff != "" {
		t.Error(diff)
	}
	if status, _, _ := unstructured.NestedMap(got.Object, "status"); fmt.Sprint(status["warnings"]) != "3" {
		t.Errorf("status = %v", status)
	}
	if phase, synced := w.locationStatus(long); phase != "Available" || !synced {
		t.Errorf("location: %q, %v", phase, synced)
	}
	want := []string{"BackupsSynced: 1 Backups created, 0 removed; made elsewhere: 1 by cluster that-cluster; hint: those don't expire here unless this cluster adopts them: backup-location adopt"}
	if diff := cmp.Diff(want, w.events()); diff != "" {
		t.Error(diff)
	}
	before := slices.DeleteFunc(w.api.Writes(), isLocation)
	if got := w.sync(t, sync.Config{}); got.Items != 0 || got.Outcome != report.Completed {
		t.Errorf("a second sync: %+v", got)
	}
	if diff := cmp.Diff(before, slices.DeleteFunc(w.api.Writes(), isLocation)); diff != "" {
		t.Errorf("a second sync wrote:\n%s", diff)
	}
}

func isLocation(write string) bool { return strings.Contains(write, "/backupstoragelocations/") }

func TestWhichPhasesAreShown(t *testing.T) {
	t.Parallel()
	for phase, want := range map[velerov1.BackupPhase]struct{ running, expired string }{
		velerov1.BackupPhaseCompleted:                                 {"Completed", "Completed"},
		velerov1.BackupPhasePartiallyFailed:                           {"PartiallyFailed", "PartiallyFailed"},
		velerov1.BackupPhaseFailed:                                    {"Failed", "Failed"},
		velerov1.BackupPhaseWaitingForPluginOperations:                {"", "PartiallyFailed"},
		velerov1.BackupPhaseWaitingForPluginOperationsPartiallyFailed: {"", "PartiallyFailed"},
		velerov1.BackupPhaseFinalizing:                                {"", "PartiallyFailed"},
		velerov1.BackupPhaseFinalizingPartiallyFailed:                 {"", "PartiallyFailed"},
		velerov1.BackupPhaseInProgress:                                {"", "PartiallyFailed"},
		velerov1.BackupPhaseNew:                                       {"", "PartiallyFailed"},
		"":                                                            {"", "PartiallyFailed"},
	} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "default")
			w.store(t, "default", marker("never", phase))
			w.store(t, "default", marker("later", phase, func(b *velerov1.Backup) { b.Status.Expiration = at(time.Hour) }))
			w.store(t, "default", marker("over", phase, func(b *velerov1.Backup) { b.Status.Expiration = at(-time.Hour) }))
			w.sync(t, sync.Config{})
			var all []string
			if want.running != "" {
				all = append(all, "later default "+want.running, "never default "+want.running)
			}
			if diff := cmp.Diff(append(all, "over default "+want.expired), w.shown()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsRemoved(t *testing.T) {
	t.Parallel()
	ago := func(b *velerov1.Backup) { b.CreationTimestamp = *at(-time.Hour) }
	for name, test := range map[string]struct {
		stored  []string
		objects []*velerov1.Backup
		force   bool
		left    []string
		reason  string
	}{
		"one of three": {
			stored:  []string{"a", "b"},
			objects: []*velerov1.Backup{object("a", "default", "Completed"), object("b", "default", "Completed"), object("c", "default", "PartiallyFailed")},
			left:    []string{"a default Completed", "b default Completed"},
		},
		"half": {
			stored:  []string{"a"},
			objects: []*velerov1.Backup{object("a", "default", "Completed"), object("b", "default", "Completed")},
			left:    []string{"a default Completed"},
		},
		"more than half": {
			stored:  []string{"a", "new"},
			objects: []*velerov1.Backup{object("a", "default", "Completed"), object("b", "default", "Completed"), object("c", "default", "Completed")},
			left:    []string{"a default Completed", "b default Completed", "c default Completed", "new default Completed"},
			reason: `1 errors: the files of 2 of the 3 backups that the cluster shows for storage location "default" are gone (b, c): no Backup is removed; ` +
				`hint: check bucket and prefix of the location; if they are right, sync with --force: kubectl velero backup-location sync default --force`,
		},
		"more than half, forced": {
			stored:  []string{"a"},
			objects: []*velerov1.Backup{object("a", "default", "Completed"), object("b", "default", "Completed"), object("c", "default", "Completed")},
			force:   true,
			left:    []string{"a default Completed"},
		},
		"all": {
			objects: []*velerov1.Backup{object("a", "default", "Completed")},
			left:    []string{"a default Completed"},
			reason: `1 errors: the files of all 1 backups that the cluster shows for storage location "default" are gone (a): no Backup is removed; ` +
				`hint: check bucket and prefix of the location; if they are right, sync with --force: kubectl velero backup-location sync default --force`,
		},
		"all, forced": {
			objects: []*velerov1.Backup{object("a", "default", "Completed")},
			force:   true,
		},
		"what never had files, or may get some": {
			stored: []string{"a"},
			objects: []*velerov1.Backup{
				object("a", "default", "Completed"), object("runs", "default", "InProgress", ago), object("new", "default", ""),
				object("failed", "default", "Failed", ago), object("refused", "default", "FailedValidation"), object("goes", "default", "Deleting"),
				object("server", "default", "Finalizing"), object("nowhere", "", "Completed"), object("west", "west", "Completed"),
				object("commits", "default", "InProgress", func(b *velerov1.Backup) {
					b.Annotations = map[string]string{velerov1.CommittingAnnotation: "true"}
				}),
			},
			force: true,
			left: []string{
				"a default Completed", "commits default InProgress", "failed default Failed", "goes default Deleting", "new default ",
				"nowhere  Completed", "refused default FailedValidation", "runs default InProgress", "server default Finalizing", "west west Completed",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "default")
			for _, stored := range test.stored {
				w.store(t, "default", marker(stored, velerov1.BackupPhaseCompleted))
			}
			for _, o := range test.objects {
				w.api.Add(backupsPath, o)
			}
			summary := w.sync(t, sync.Config{Force: test.force})
			if diff := cmp.Diff(test.left, w.shown()); diff != "" {
				t.Errorf("Backups (-want +got):\n%s", diff)
			}
			if summary.Reason != test.reason || (summary.Outcome == report.Completed) != (test.reason == "") {
				t.Errorf("summary = %+v", summary)
			}
			if told := slices.ContainsFunc(w.events(), func(e string) bool { return strings.HasPrefix(e, "BackupsVanished: ") }); told != (test.reason != "") {
				t.Errorf("events = %q", w.events())
			}
			if _, synced := w.locationStatus("default"); !synced {
				t.Error("no time of the sync")
			}
		})
	}
}

// TestWhatHappensMeanwhile changes the cluster while the bucket is listed.
func TestWhatHappensMeanwhile(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		meanwhile func(*testing.T, *world)
		left      []string
	}{
		"a backup is completed": {
			meanwhile: func(_ *testing.T, w *world) { w.api.Add(backupsPath, object("new", "default", "Completed")) },
			left:      []string{"a default Completed", "b default Completed", "new default Completed"},
		},
		"what is gone is being deleted": {
			meanwhile: func(_ *testing.T, w *world) { w.api.Add(backupsPath, object("gone", "default", "Deleting")) },
			left:      []string{"a default Completed", "b default Completed", "gone default Deleting"},
		},
		"its name is used anew": {
			meanwhile: func(_ *testing.T, w *world) {
				w.api.Add(backupsPath, object("gone", "default", "InProgress", func(b *velerov1.Backup) { b.UID = "another" }))
			},
			left: []string{"a default Completed", "b default Completed", "gone default InProgress"},
		},
		"the list lags behind": {
			meanwhile: func(t *testing.T, w *world) { w.store(t, "default", marker("gone", "Completed")) },
			left:      []string{"a default Completed", "b default Completed", "gone default Completed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "default")
			for _, name := range []string{"a", "b"} {
				w.store(t, "default", marker(name, "Completed"))
				w.api.Add(backupsPath, object(name, "default", "Completed"))
			}
			w.api.Add(backupsPath, object("gone", "default", "Completed"))
			bucket := &meanwhile{Bucket: w.buckets["default"], do: func() { test.meanwhile(t, w) }}
			w.env.OpenStore = func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) { return bucket, nil }
			w.sync(t, sync.Config{})
			if diff := cmp.Diff(test.left, w.shown()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// meanwhile does something just after the bucket was listed.
type meanwhile struct {
	store.Bucket
	do func()
}

func (m *meanwhile) Prefixes(ctx context.Context, prefix string) ([]string, error) {
	names, err := m.Bucket.Prefixes(ctx, prefix)
	if m.do != nil {
		m.do()
		m.do = nil
	}
	return names, err
}
