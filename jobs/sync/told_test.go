package sync_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-velero/kubectl-velero/jobs/sync"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

func TestWhatIsNotShownIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default", "west")
	w.store(t, "default", marker("both", "Completed"))
	w.store(t, "west", marker("both", "Completed"))
	w.store(t, "west", marker("hidden", "Completed"))
	w.api.Add(backupsPath, object("hidden", "west", "Failed"))
	w.store(t, "west", marker("failed", "Failed"))
	w.api.Add(backupsPath, object("failed", "west", "Failed"))
	w.put(t, "west", "backups/torn/velero-backup.json", "{")
	w.put(t, "west", "backups/other/velero-backup.json", `{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":"liar"}}`)
	w.put(t, "west", "backups/claimed/claimed-claim.json", "{}")
	w.put(t, "west", "backups/Not A Name/velero-backup.json", "{}")
	w.store(t, "west", marker("good", "Completed"))
	w.put(t, "west", "backups/good/good-claim.json", "{")
	got := w.sync(t, sync.Config{})
	if got.Outcome != report.Completed || got.Warnings != 4 || got.Items != 2 {
		t.Errorf("summary = %+v", got)
	}
	if diff := cmp.Diff([]string{"both default Completed", "failed west Failed", "good west Completed", "hidden west Failed"}, w.shown()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatTheAPIServerRefusesIsTold(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]report.Summary{
		422: {Outcome: report.Completed, Warnings: 1},
		403: {Outcome: report.Failed, Errors: 1},
	} {
		w := newWorld(t, "default")
		w.store(t, "default", marker("odd", "Completed"))
		w.api.Fault(func(method, path string) int {
			if method == "POST" && path == backupsPath {
				return status
			}
			return 0
		})
		got := w.sync(t, sync.Config{})
		if got.Outcome != want.Outcome || got.Warnings != want.Warnings || got.Errors != want.Errors {
			t.Errorf("%d: %+v", status, got)
		}
	}
}

func TestLocations(t *testing.T) {
	t.Parallel()
	down := fmt.Errorf("list: %w", store.ErrUnavailable)
	for name, test := range map[string]struct {
		locations []string
		again     bool // the Job starts another attempt
		fault     error
		shown     []string
		outcome   report.Outcome
		west      string
	}{
		"all":                                {shown: []string{"a default Completed", "b west Completed"}, outcome: report.Completed, west: "Available"},
		"one":                                {locations: []string{"default"}, shown: []string{"a default Completed"}, outcome: report.Completed},
		"one that doesn't exist":             {locations: []string{"default", "north"}, outcome: report.Usage},
		"one of two is down":                 {fault: down, shown: []string{"a default Completed"}, outcome: report.PartiallyFailed, west: "Unavailable"},
		"the only one is down, again":        {locations: []string{"west"}, again: true, fault: down, outcome: report.Temporary, west: "Unavailable"},
		"the only one is down, last attempt": {locations: []string{"west"}, fault: down, outcome: report.Failed, west: "Unavailable"},
		"one of two refuses":                 {fault: store.ErrDenied, shown: []string{"a default Completed"}, outcome: report.PartiallyFailed, west: "Unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "default", "west")
			w.store(t, "default", marker("a", "Completed"))
			w.store(t, "west", marker("b", "Completed"))
			w.env.LastAttempt = !test.again
			w.buckets["west"].Fault(func(string, string) error { return test.fault })
			got := w.sync(t, sync.Config{Locations: test.locations})
			if got.Outcome != test.outcome || (got.Reason == "") != (got.Outcome == report.Completed) {
				t.Errorf("summary = %+v, want %s", got, test.outcome)
			}
			if diff := cmp.Diff(test.shown, w.shown()); diff != "" {
				t.Error(diff)
			}
			phase, synced := w.locationStatus("west")
			if phase != test.west || synced != (test.west == "Available") {
				t.Errorf("west: phase %q, synced %v", phase, synced)
			}
		})
	}
}

func TestAReadOnlyLocationIsSyncedAndNotWrittenTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	w.store(t, "default", marker("a", "Completed"))
	location := &velerov1.BackupStorageLocation{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	location.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
	w.api.Add(veleroNamespace+"backupstoragelocations", location)
	w.buckets["default"].Fault(func(op, key string) error {
		if slices.Contains([]string{"Put", "Create", "Delete"}, op) {
			return errors.New("written to")
		}
		return nil
	})
	if got := w.sync(t, sync.Config{}); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("%+v", got)
	}
}

func TestVolumeBackupsComeAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	w.store(t, "default", marker("shop", "Completed"))
	w.put(t, "default", "backups/shop/shop-podvolumebackups.json.gz", gzipped(t, []velerov1.PodVolumeBackup{{
		ObjectMeta: metav1.ObjectMeta{
			Name: "shop-x1", Namespace: "elsewhere", UID: "old", ResourceVersion: "7", Finalizers: []string{"velero.io/pod-volume-finalizer"},
			Labels:          map[string]string{velerov1.BackupNameLabel: "shop", velerov1.BackupUIDLabel: "there-uid"},
			Annotations:     map[string]string{velerov1.PVCNameAnnotation: "data"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "velero.io/v1", Kind: "Backup", Name: "shop", UID: "there-uid"}},
		},
		Spec:   velerov1.PodVolumeBackupSpec{BackupStorageLocation: "theirs", Volume: "data"},
		Status: velerov1.PodVolumeBackupStatus{Phase: "Completed", SnapshotID: "k1"},
	}}))
	w.sync(t, sync.Config{})
	got := w.api.Get(veleroNamespace + "podvolumebackups/shop-x1")
	if got == nil {
		t.Fatal("no PodVolumeBackup")
	}
	owners, _ := json.Marshal(got.GetOwnerReferences())
	want := `[{"apiVersion":"velero.io/v1","kind":"Backup","name":"shop","uid":"uid-of-shop","controller":true}]`
	location, _, _ := unstructured.NestedString(got.Object, "spec", "backupStorageLocation")
	snapshot, _, _ := unstructured.NestedString(got.Object, "status", "snapshotID")
	if string(owners) != want || location != "default" || snapshot != "k1" || len(got.GetFinalizers()) > 0 ||
		!maps.Equal(got.GetLabels(), map[string]string{velerov1.BackupNameLabel: "shop", velerov1.BackupUIDLabel: "uid-of-shop"}) {
		t.Errorf("%v", got.Object)
	}
}
