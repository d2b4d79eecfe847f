package delete_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const markerKey = "backups/shop/velero-backup.json"

// failedIn is a failed backup with disks, and a world with what it left: one snapshot.
func failedIn(t *testing.T, location string, bucket map[string]string) (*world, *storage) {
	t.Helper()
	w, s := volumeWorld(t, bucket)
	s.has = map[string]error{"found": nil}
	s.owned = map[snapshot.Owner][]string{{Backup: "shop", UID: "uid-of-shop"}: {"found"}}
	w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseFailed, func(b *velerov1.Backup) {
		b.Spec.StorageLocation, b.Spec.VolumeSnapshotLocations = location, []string{"aws"}
	}))
	return w, s
}

// TestFailedWithoutABucket: what a failed backup left of snapshots goes also where no
// file can tell of it.
func TestFailedWithoutABucket(t *testing.T) {
	t.Parallel()
	readOnly := func(w *world) {
		w.api.Add(veleroNamespace+"backupstoragelocations", locationOf(velerov1.BackupStorageLocationAccessModeReadOnly))
	}
	searched := []string{"delete found", "leftovers of shop uid-of-shop"}
	for name, test := range map[string]struct {
		location string
		setup    func(*world)
		marker   string
		force    bool
		calls    []string
		// refused is part of why nothing was done.
		refused string
	}{
		"the location is gone": {location: "west", calls: searched},
		"the bucket is gone": {
			location: "default", calls: searched,
			setup: func(w *world) { w.bucket.Fault(func(string, string) error { return store.ErrNoBucket }) },
		},
		"the location is read-only": {location: "default", setup: readOnly, calls: searched},
		"the location is read-only, the name is another's": {
			location: "default", setup: readOnly, calls: searched, marker: "theirs",
		},
		"it was committed after all": {location: "default", setup: readOnly, marker: "uid-of-shop"},
		"whether it was can't be told": {
			location: "default", refused: `whether the snapshots of backup "shop" may go can't be told`,
			setup: func(w *world) {
				readOnly(w)
				w.bucket.Fault(func(string, string) error { return store.ErrDenied })
			},
		},
		"whether it was can't be told, forced": {
			location: "default", force: true,
			setup: func(w *world) {
				readOnly(w)
				w.bucket.Fault(func(string, string) error { return store.ErrDenied })
			},
		},
		"its snapshot location can't be opened": {location: "west", setup: noCredentials, refused: "or use --force to leave it behind"},
		"its snapshot location can't be opened, forced": {
			location: "west", setup: noCredentials, force: true, calls: []string{"leftovers of shop uid-of-shop"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := map[string]string{}
			if test.marker != "" {
				bucket[markerKey] = strings.ReplaceAll(files()[markerKey], "uid-of-shop", test.marker)
			}
			w, s := failedIn(t, test.location, bucket)
			if test.setup != nil {
				test.setup(w)
			}
			got := w.run(t, s.config(deletejob.Config{Force: test.force}))
			if refused := got.Outcome == report.Usage; refused != (test.refused != "") || !strings.Contains(got.Reason, test.refused) {
				t.Errorf("summary = %+v, want refused %q", got, test.refused)
			}
			if there := w.api.Get(backupPath) != nil; there != (test.refused != "") {
				t.Errorf("the Backup is there: %v", there)
			}
			if diff := cmp.Diff(test.calls, s.calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFailedWithoutABucketIsTriedAgain: what can't be deleted keeps the record as it
// was, so that the next deletion finds out the same about it.
func TestFailedWithoutABucketIsTriedAgain(t *testing.T) {
	t.Parallel()
	w, s := failedIn(t, "west", nil)
	s.has["found"] = errors.New("no")
	if got := w.run(t, s.config(deletejob.Config{})); got.Outcome != report.Failed {
		t.Errorf("summary = %+v", got)
	}
	if phase, _, _ := unstructured.NestedString(w.api.Get(backupPath).Object, "status", "phase"); phase != "Failed" {
		t.Errorf("phase %q", phase)
	}
	s.has["found"] = nil
	if got := w.run(t, s.config(deletejob.Config{})); got.Outcome != report.Completed || len(s.has) > 0 || w.api.Get(backupPath) != nil {
		t.Errorf("again: %+v, left %v", got, s.has)
	}
}

func noCredentials(w *world) {
	w.env.OpenSnapshotter = func(context.Context, *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
		return nil, errors.New("no credentials; hint: start it again")
	}
}

// calls are what was asked for, in alphabetical order.
func (s *storage) calls() []string {
	var all []string
	for _, call := range s.called {
		all = append(all, strings.TrimPrefix(strings.TrimPrefix(call, "before the marker went: "), "after the files went: "))
	}
	slices.Sort(all)
	return all
}

func locationOf(mode velerov1.BackupStorageLocationAccessMode) *velerov1.BackupStorageLocation {
	l := &velerov1.BackupStorageLocation{}
	l.Name, l.Spec.AccessMode = "default", mode
	return l
}
