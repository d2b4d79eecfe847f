package maintain_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	shopPath     = veleroNamespace + "backups/shop"
	locationPath = veleroNamespace + "backupstoragelocations/default"
)

// expired is a completed backup whose time is up.
func expired(edit ...func(*velerov1.Backup)) *velerov1.Backup {
	b := backup()
	b.Status.Phase, b.Status.Expiration = velerov1.BackupPhaseCompleted, new(metav1.Time)
	*b.Status.Expiration = ago(time.Minute)
	for _, e := range edit {
		e(b)
	}
	return b
}

func phase(p velerov1.BackupPhase) func(*velerov1.Backup) {
	return func(b *velerov1.Backup) { b.Status.Phase = p }
}

func annotation(key, value string) func(*velerov1.Backup) {
	return func(b *velerov1.Backup) { b.Annotations[key] = value }
}

func stamp(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

// files are those of backup shop in the bucket, made by the cluster with this id;
// "" is a Velero server's.
func files(clusterID, uid string) map[string]string {
	all := map[string]string{"backups/shop/shop.tar.gz": memstore.EmptyArchive(), "backups/shop/shop-logs.gz": "log"}
	annotations := ""
	if clusterID != "" {
		annotations = fmt.Sprintf(`,"annotations":{"kubectl-velero.io/cluster-id":%q}`, clusterID)
		all["backups/shop/shop-claim.json"] = fmt.Sprintf(`{"clusterID":%q,"backupUID":%q,"attempt":1}`, clusterID, uid)
	}
	all[markerKey] = fmt.Sprintf(`{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":"shop","uid":%q%s},"status":{"phase":"Completed"}}`, uid, annotations)
	return all
}

// expiry is what became of backup shop.
type expiry struct {
	// Phase is empty when it is deleted.
	Phase, Label string
	Locked       bool
	// Files are how many are left.
	Files int
}

func (w *world) expiry() expiry {
	e := expiry{}
	for _, key := range w.bucket.Keys() {
		if strings.HasPrefix(key, "backups/shop/") {
			e.Files++
		}
	}
	if u := w.api.Get(shopPath); u != nil {
		e.Phase, _, _ = unstructured.NestedString(u.Object, "status", "phase")
		e.Label = u.GetLabels()[velerov1.GCFailureLabel]
		e.Locked = u.GetAnnotations()[velerov1.LockedUntilAnnotation] != ""
	}
	return e
}

func (w *world) events(reason string) []string {
	var all []string
	for _, e := range w.api.List("/api/v1/namespaces/velero/events") {
		if got, _, _ := unstructured.NestedString(e.Object, "reason"); got == reason {
			message, _, _ := unstructured.NestedString(e.Object, "message")
			all = append(all, message)
		}
	}
	return all
}

// location changes the location "default".
func (w *world) location(edit func(*velerov1.BackupStorageLocation)) {
	l := &velerov1.BackupStorageLocation{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	edit(l)
	w.api.Add(veleroNamespace+"backupstoragelocations", l)
}

func adopts(ids string) func(*world) {
	return func(w *world) {
		w.location(func(l *velerov1.BackupStorageLocation) {
			l.Annotations = map[string]string{velerov1.AdoptedClustersAnnotation: ids}
		})
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	const all, velero = 4, 3 // files of ours, and of a Velero server's
	gone, kept := expiry{}, expiry{Phase: "Completed", Files: all}
	ours := files("this-cluster", "uid-of-shop")
	for name, test := range map[string]struct {
		backup *velerov1.Backup
		files  map[string]string
		setup  func(*world)
		want   expiry
		// event is part of what is told about a backup that stays.
		event    string
		problems int
	}{
		"ours":               {backup: expired(), files: ours, want: gone},
		"its time isn't up":  {backup: expired(func(b *velerov1.Backup) { *b.Status.Expiration = ago(-time.Hour) }), files: ours, want: kept},
		"it has no time":     {backup: expired(func(b *velerov1.Backup) { b.Status.Expiration = nil }), files: ours, want: kept},
		"it runs":            {backup: expired(phase("InProgress"), func(b *velerov1.Backup) { b.Annotations = nil }), files: ours, want: expiry{Phase: "InProgress", Files: all}},
		"only a record":      {backup: expired(phase("Failed")), want: gone},
		"failed, with a log": {backup: expired(phase("Failed")), files: map[string]string{"backups/shop/shop-logs.gz": "log"}, want: gone},
		"failed, since the name was another's": {
			backup: expired(phase("Failed"), annotation(velerov1.ClusterIDAnnotation, "this-cluster")),
			files:  files("that-cluster", "theirs"), want: expiry{Files: all},
		},
		"failed elsewhere": {
			backup: expired(phase("Failed"), annotation(velerov1.ClusterIDAnnotation, "that-cluster")),
			files:  files("that-cluster", "theirs"), want: expiry{Phase: "Failed", Label: "NotOurs", Files: all}, event: "NotOurs: cluster that-cluster made it",
		},
		"another cluster's": {
			backup: expired(), files: files("that-cluster", "theirs"), want: expiry{Phase: "Completed", Label: "NotOurs", Files: all},
			event: "NotOurs: cluster that-cluster made it, which is who deletes it; hint: if this cluster took its place: kubectl velero backup-location adopt default --cluster-id that-cluster",
		},
		"another cluster's, adopted":         {backup: expired(), files: files("that-cluster", "theirs"), setup: adopts("x, that-cluster"), want: gone},
		"a Velero server's of here":          {backup: expired(), files: files("", "uid-of-shop"), want: gone},
		"a Velero server's, synced":          {backup: expired(), files: files("", "theirs"), want: expiry{Phase: "Completed", Label: "NotOurs", Files: velero}, event: "--cluster-id unknown"},
		"a Velero server's, synced, adopted": {backup: expired(), files: files("", "theirs"), setup: adopts("unknown"), want: gone},
		"read-only": {
			backup: expired(), files: ours, want: expiry{Phase: "Completed", Label: "BSLReadOnly", Files: all}, event: "read-only",
			setup: func(w *world) {
				w.location(func(l *velerov1.BackupStorageLocation) {
					l.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
				})
			},
		},
		"no location": {
			backup: expired(func(b *velerov1.Backup) { b.Spec.StorageLocation = "west" }), want: expiry{Phase: "Completed", Label: "BSLNotFound"},
			event: `storage location "west" doesn't exist; hint: create it again, or remove only the record: kubectl -n velero delete backups.velero.io shop`,
		},
		"no access": {
			backup: expired(), files: ours, want: expiry{Phase: "Completed", Label: "BSLCannotGet", Files: all}, event: "can't be used", problems: 1,
			setup: func(w *world) { w.bucket.Fault(func(string, string) error { return store.ErrDenied }) },
		},
		"store down": {
			backup: expired(), files: ours, want: kept, problems: 1,
			setup: func(w *world) { w.bucket.Fault(func(string, string) error { return store.ErrUnavailable }) },
		},
		"no right to delete": {
			backup: expired(), files: ours, want: kept, problems: 1,
			setup: func(w *world) {
				w.bucket.Fault(func(op, _ string) error {
					if op == "Delete" {
						return store.ErrDenied
					}
					return nil
				})
			},
		},
		"locked": {
			backup: expired(), files: ours, want: expiry{Phase: "Completed", Label: "Locked", Locked: true, Files: all}, event: "is locked until",
			setup: func(w *world) { w.bucket.Lock("", time.Now().Add(time.Hour)) },
		},
		"held": {
			backup: expired(), files: ours, want: expiry{Phase: "Completed", Label: "Locked", Files: all}, event: "is under a legal hold",
			setup: func(w *world) {
				w.bucket.Fault(func(op, key string) error {
					if op == "Delete" {
						return &store.LockedError{Key: key, Hold: true}
					}
					return nil
				})
			},
		},
		"was locked":       {backup: expired(annotation(velerov1.LockedUntilAnnotation, stamp(-time.Minute))), files: ours, want: gone},
		"is locked, noted": {backup: expired(annotation(velerov1.LockedUntilAnnotation, stamp(time.Hour))), files: ours, want: expiry{Phase: "Completed", Locked: true, Files: all}},
		"is given more time": {
			backup: expired(func(b *velerov1.Backup) {
				*b.Status.Expiration = ago(-time.Hour)
				b.Labels = map[string]string{velerov1.GCFailureLabel: "Locked"}
				b.Annotations[velerov1.LockedUntilAnnotation] = stamp(time.Hour)
			}),
			files: ours, want: kept,
		},
		"its deletion broke off": {backup: expired(phase("Deleting")), files: map[string]string{"backups/shop/shop.tar.gz": "tar"}, want: gone},
		"its deletion goes on": {
			backup: expired(phase("Deleting"), annotation(velerov1.HeartbeatAnnotation, stamp(time.Hour))), files: ours, want: expiry{Phase: "Deleting", Files: all},
		},
		"it has snapshots": {
			backup: expired(), want: expiry{Phase: "Completed", Files: 1},
			files: map[string]string{"backups/shop/shop-volumesnapshots.json.gz": gzipped(`[{"status":{"providerSnapshotID":"snap-1"}}]`)},
			setup: func(w *world) {
				// Without a marker the sync would remove the Backup.
				w.location(func(l *velerov1.BackupStorageLocation) { l.Spec.BackupSyncPeriod = &metav1.Duration{} })
			},
		},
		"it is being restored": {
			backup: expired(), files: ours, want: kept,
			setup: func(w *world) {
				r := restore()
				r.CreationTimestamp = metav1.Now()
				w.api.Add(veleroNamespace+"restores", r)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for key, body := range test.files {
				w.put(t, key, body)
			}
			w.api.Add(veleroNamespace+"backups", test.backup)
			if test.setup != nil {
				test.setup(w)
			}
			summary := w.run(t)
			if diff := cmp.Diff(test.want, w.expiry()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if summary.Errors != test.problems {
				t.Errorf("summary = %+v, want %d errors", summary, test.problems)
			}
			told := w.events("BackupNotExpired")
			if (test.event == "") != (len(told) == 0) || len(told) > 0 && !strings.Contains(told[0], test.event) {
				t.Errorf("told %q, want %q", told, test.event)
			}
			w.run(t)
			if again := w.events("BackupNotExpired"); len(again) > len(told) {
				t.Errorf("told again: %q", again)
			}
		})
	}
}

func TestALockedBackupIsDeletedWhenItMayBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for key, body := range files("this-cluster", "uid-of-shop") {
		w.put(t, key, body)
	}
	w.api.Add(veleroNamespace+"backups", expired())
	until := time.Now().Add(4 * time.Second)
	w.bucket.Lock("", until)
	w.run(t)
	if got := w.expiry(); got.Label != "Locked" || !got.Locked || got.Phase != "Completed" || len(w.bucket.Deleted()) > 0 {
		t.Fatalf("%+v, deleted %q", got, w.bucket.Deleted())
	}
	time.Sleep(time.Until(until) + time.Second) // statuses have whole seconds
	if summary := w.run(t); summary.Items != 1 || w.expiry() != (expiry{}) {
		t.Errorf("%+v, %+v", summary, w.expiry())
	}
}

// TestTheBackupChangesMeanwhile gives it more time, or its name to another one,
// after it was found expired.
func TestTheBackupChangesMeanwhile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*velerov1.Backup){
		"more time": func(b *velerov1.Backup) { *b.Status.Expiration = ago(-time.Hour) },
		"another":   func(b *velerov1.Backup) { b.UID = types.UID("another") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for key, body := range files("this-cluster", "uid-of-shop") {
				w.put(t, key, body)
			}
			w.api.Add(veleroNamespace+"backups", expired())
			read := false
			w.bucket.Fault(func(_, key string) error {
				if key == markerKey && !read {
					read = true
					return nil
				}
				return nil
			})
			w.location(func(l *velerov1.BackupStorageLocation) { l.Spec.BackupSyncPeriod = &metav1.Duration{} })
			w.bucket.Fault(func(op, key string) error {
				if op == "Get" && key == markerKey {
					w.api.Add(veleroNamespace+"backups", expired(change))
				}
				return nil
			})
			w.run(t)
			if got := w.expiry(); got.Phase != "Completed" || got.Files != 4 || len(w.bucket.Deleted()) > 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestStatusOfTheLocation(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edit      func(*velerov1.BackupStorageLocation)
		fault     error
		phase     string
		validated bool
		synced    bool
	}{
		"new":       {edit: func(*velerov1.BackupStorageLocation) {}, phase: "Available", validated: true, synced: true},
		"down":      {edit: func(*velerov1.BackupStorageLocation) {}, fault: store.ErrUnavailable, phase: "Unavailable", validated: true},
		"no bucket": {edit: func(*velerov1.BackupStorageLocation) {}, fault: store.ErrNoBucket, phase: "Unavailable", validated: true},
		"switched off": {
			edit: func(l *velerov1.BackupStorageLocation) {
				l.Spec.ValidationFrequency, l.Spec.BackupSyncPeriod = &metav1.Duration{}, &metav1.Duration{}
			},
			phase: "Available", validated: true, // the first time it is
		},
		"switched off, validated before": {
			edit: func(l *velerov1.BackupStorageLocation) {
				l.Spec.ValidationFrequency, l.Spec.BackupSyncPeriod = &metav1.Duration{}, &metav1.Duration{}
				l.Status.LastValidationTime, l.Status.Phase = new(ago(time.Hour)), "Unavailable"
			},
			phase: "Unavailable",
		},
		"due in a while": {
			edit: func(l *velerov1.BackupStorageLocation) {
				l.Spec.ValidationFrequency, l.Spec.BackupSyncPeriod = &metav1.Duration{Duration: 4 * time.Hour}, &metav1.Duration{Duration: 4 * time.Hour}
				l.Status.LastValidationTime, l.Status.LastSyncedTime, l.Status.Phase = new(ago(time.Hour)), new(ago(time.Hour)), "Available"
			},
			phase: "Available",
		},
		"due again": {
			edit: func(l *velerov1.BackupStorageLocation) {
				l.Spec.ValidationFrequency, l.Spec.BackupSyncPeriod = &metav1.Duration{Duration: time.Hour}, &metav1.Duration{Duration: time.Hour}
				l.Status.LastValidationTime, l.Status.LastSyncedTime, l.Status.Phase = new(ago(59*time.Minute)), new(ago(59*time.Minute)), "Unavailable"
			},
			phase: "Available", validated: true, synced: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.location(test.edit)
			w.bucket.Fault(func(string, string) error { return test.fault })
			begin := time.Now().Add(-2 * time.Second)
			summary := w.run(t)
			if (summary.Outcome == report.Completed) != (test.fault == nil) {
				t.Errorf("summary = %+v", summary)
			}
			u := w.api.Get(locationPath)
			got, _, _ := unstructured.NestedString(u.Object, "status", "phase")
			message, _, _ := unstructured.NestedString(u.Object, "status", "message")
			if got != test.phase || (message == "") != (test.fault == nil) {
				t.Errorf("phase %q, message %q", got, message)
			}
			for field, want := range map[string]bool{"lastValidationTime": test.validated, "lastSyncedTime": test.synced} {
				text, _, _ := unstructured.NestedString(u.Object, "status", field)
				stamp, _ := time.Parse(time.RFC3339, text)
				if stamp.After(begin) != want {
					t.Errorf("%s = %q", field, text)
				}
			}
		})
	}
}

func TestForeignFoldersAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "photos/cat", "")
	w.put(t, "kopia/shop/x", "")
	if got := w.run(t); got.Outcome != report.Completed || got.Warnings != 1 {
		t.Errorf("summary = %+v", got)
	}
}

func TestLeftoversOfUploads(t *testing.T) {
	t.Parallel()
	claim := func(clusterID, uid string, age time.Duration) string {
		return fmt.Sprintf(`{"clusterID":%q,"backupUID":%q,"attempt":1,"created":%q}`, clusterID, uid, stamp(-age))
	}
	for name, test := range map[string]struct {
		claim   string
		marker  bool
		backup  *velerov1.Backup
		setup   func(*world)
		aborted bool
	}{
		"failed":                    {claim: claim("this-cluster", "uid-of-shop", 0), backup: expired(phase("Failed")), aborted: true},
		"its Backup is gone":        {claim: claim("this-cluster", "gone", 0), aborted: true},
		"runs":                      {claim: claim("this-cluster", "uid-of-shop", 0), backup: backup()},
		"completed":                 {claim: claim("this-cluster", "uid-of-shop", 0), marker: true, backup: expired()},
		"committed, record unknown": {claim: claim("this-cluster", "uid-of-shop", 0), marker: true},
		"failed, the name is another's which runs": {
			claim: claim("that-cluster", "theirs", 0), backup: expired(phase("Failed")),
		},
		"another cluster's": {claim: claim("that-cluster", "theirs", 48*time.Hour)},
		"adopted, may run":  {claim: claim("that-cluster", "theirs", time.Hour), setup: adopts("that-cluster")},
		"adopted, dead":     {claim: claim("that-cluster", "theirs", 48*time.Hour), setup: adopts("that-cluster"), aborted: true},
		"a Velero server's": {},
		"a torn claim":      {claim: "{"},
		"another installation's that runs": {
			claim: claim("this-cluster", "uid-of-shop", 0),
			setup: func(w *world) { w.api.Add("/apis/velero.io/v1/namespaces/tenant/backups", backup()) },
		},
		"read-only": {
			claim: claim("this-cluster", "gone", 0),
			setup: func(w *world) {
				w.location(func(l *velerov1.BackupStorageLocation) { l.Spec.AccessMode = "ReadOnly" })
			},
		},
		"no right to list them": {
			claim: claim("this-cluster", "gone", 0),
			setup: func(w *world) {
				w.bucket.Fault(func(op, _ string) error {
					if op == "AbortUploads" {
						return store.ErrDenied
					}
					return nil
				})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.put(t, "backups/shop/shop-logs.gz", "log")
			if test.claim != "" {
				w.put(t, "backups/shop/shop-claim.json", test.claim)
			}
			if test.marker {
				w.put(t, markerKey, files("this-cluster", "uid-of-shop")[markerKey])
			}
			if test.backup != nil {
				test.backup.Status.Expiration = nil
				test.backup.CreationTimestamp = metav1.Now()
				w.api.Add(veleroNamespace+"backups", test.backup)
			}
			w.bucket.LeaveUpload("backups/shop/shop.tar.gz")
			if test.setup != nil {
				test.setup(w)
			}
			if got := w.run(t); got.Outcome != report.Completed {
				t.Errorf("summary = %+v", got)
			}
			if aborted := !slices.Contains(w.bucket.Uploads(), "backups/shop/shop.tar.gz"); aborted != test.aborted {
				t.Errorf("aborted: %v", aborted)
			}
		})
	}
}
