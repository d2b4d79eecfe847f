package delete_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// storage is a CSI driver and a cloud in memory.
type storage struct {
	mu sync.Mutex
	// has are the snapshots that there are, with the error that keeps each from being
	// deleted; owned are those of them that the labels of a backup lead to.
	has   map[string]error
	owned map[snapshot.Owner][]string
	// state is what keeps the cloud from telling anything.
	state error
	// called is what was asked for, with what was in the bucket then.
	called []string
	bucket func() []string
}

func (s *storage) note(call string) {
	marker := "before the marker went: "
	if keys := s.bucket(); !slices.Contains(keys, "backups/shop/velero-backup.json") {
		marker = ""
	}
	if !slices.ContainsFunc(s.bucket(), func(key string) bool { return strings.HasSuffix(key, "-volumeinfo.json.gz") }) {
		marker = "after the files went: "
	}
	s.called = append(s.called, marker+call)
}

func (s *storage) remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("delete " + id)
	if err := s.has[id]; err != nil {
		return err
	}
	delete(s.has, id)
	return nil
}

// drivers are the CSI side.
type drivers struct{ *storage }

func (d drivers) Delete(_ context.Context, h csi.Handle, timeout time.Duration) error {
	if timeout != time.Minute {
		return fmt.Errorf("timeout %s", timeout)
	}
	return d.remove(h.Snapshot)
}

func (d drivers) Leftovers(_ context.Context, backup, uid string) (int, error) {
	d.mu.Lock()
	d.note("leftovers of " + backup + " " + uid)
	d.mu.Unlock()
	return 0, nil
}

// cloud is the side of disks.
type cloud struct{ *storage }

func (c cloud) State(_ context.Context, id string) (snapshot.State, error) {
	if c.state != nil {
		return snapshot.State{}, c.state
	}
	if _, ok := c.has[id]; !ok {
		return snapshot.State{}, fmt.Errorf("look at %q: %w", id, snapshot.ErrNotExist)
	}
	return snapshot.State{Ready: true}, nil
}

func (c cloud) Find(_ context.Context, owner snapshot.Owner) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owned[owner], nil
}

func (c cloud) Delete(_ context.Context, id string) error { return c.remove(id) }

func (cloud) VolumeID(*corev1.PersistentVolume) (string, error) { return "", errors.ErrUnsupported }
func (cloud) Disk(context.Context, string, string) (snapshot.Disk, error) {
	return snapshot.Disk{}, errors.ErrUnsupported
}
func (cloud) Create(context.Context, snapshot.CreateRequest) (string, error) {
	return "", errors.ErrUnsupported
}
func (cloud) CreateVolume(context.Context, snapshot.VolumeRequest) (string, error) {
	return "", errors.ErrUnsupported
}
func (cloud) SetVolumeID(*corev1.PersistentVolume, string) error { return errors.ErrUnsupported }

// volumeFiles are those of a backup of two CSI volumes and one disk.
func volumeFiles() map[string]string {
	all := files()
	all["backups/shop/shop-volumeinfo.json.gz"] = gzipped(`[
		{"pvName":"pv-1","pvcName":"one","pvcNamespace":"shop","backupMethod":"CSISnapshot","result":"succeeded","csiSnapshotInfo":{"driver":"dir","snapshotHandle":"h1"}},
		{"pvName":"pv-2","pvcName":"two","pvcNamespace":"shop","backupMethod":"CSISnapshot","result":"succeeded","csiSnapshotInfo":{"driver":"dir","snapshotHandle":"h2"}},
		{"pvName":"pv-3","pvcName":"three","pvcNamespace":"shop","backupMethod":"NativeSnapshot","result":"succeeded","nativeSnapshotInfo":{"snapshotHandle":"snap-3"}}]`)
	all["backups/shop/shop-volumesnapshots.json.gz"] = gzipped(`[{"spec":{"location":"aws","persistentVolumeName":"pv-3"},"status":{"providerSnapshotID":"snap-3","phase":"Completed"}}]`)
	return all
}

// volumeWorld is a world with a driver "dir" and a snapshot location "aws".
func volumeWorld(t *testing.T, files map[string]string) (*world, *storage) {
	t.Helper()
	w := newWorld(t, files)
	s := &storage{has: map[string]error{"h1": nil, "h2": nil, "snap-3": nil}, bucket: w.bucket.Keys}
	w.env.OpenSnapshotter = func(context.Context, *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
		return cloud{s}, nil
	}
	w.api.Add("/apis/storage.k8s.io/v1/csidrivers", &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "dir"}})
	w.api.Add(veleroNamespace+"volumesnapshotlocations", &velerov1.VolumeSnapshotLocation{ObjectMeta: metav1.ObjectMeta{Name: "aws"}})
	return w, s
}

func (s *storage) config(cfg deletejob.Config) deletejob.Config {
	cfg.Drivers, cfg.SnapshotTimeout = drivers{s}, time.Minute
	return cfg
}

func TestSnapshotsGoBetweenMarkerAndFiles(t *testing.T) {
	t.Parallel()
	w, s := volumeWorld(t, volumeFiles())
	s.has["unlisted"] = nil
	s.owned = map[snapshot.Owner][]string{{Backup: "shop", UID: "uid-of-shop"}: {"snap-3", "unlisted"}}
	w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
	if got := w.run(t, s.config(deletejob.Config{})); got.Outcome != report.Completed || got.Warnings > 0 {
		t.Errorf("summary = %+v", got)
	}
	if s.called[0] != "leftovers of shop uid-of-shop" {
		t.Errorf("first %q", s.called[0])
	}
	slices.Sort(s.called)
	if diff := cmp.Diff([]string{"delete h1", "delete h2", "delete snap-3", "delete unlisted", "leftovers of shop uid-of-shop"}, s.called); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if len(s.has) > 0 || len(w.bucket.Keys()) != 5 || w.api.Get(backupPath) != nil {
		t.Errorf("left: %v, %q", s.has, w.bucket.Keys())
	}
	if diff := cmp.Diff([]string{"BackupDeleted: the backup, 4 snapshots, its files and 0 restores are deleted"}, w.events()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestSnapshotThatIsRefusedKeepsTheFiles: the backup stays Deleting with what names
// the rest, and the next deletion goes on.
func TestSnapshotThatIsRefusedKeepsTheFiles(t *testing.T) {
	t.Parallel()
	w, s := volumeWorld(t, volumeFiles())
	s.has["h2"] = errors.New("volume vol-7 was made from it")
	s.has["snap-3"] = fmt.Errorf(`snapshot location "aws": delete "snap-3": ami-1 uses it: %w`, snapshot.ErrInUse)
	w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
	w.api.Add(veleroNamespace+"restores", restoreOf("shop", "r1"))
	got := w.run(t, s.config(deletejob.Config{}))
	if got.Outcome != report.Failed || !strings.HasPrefix(got.Reason, "2 of 3 snapshots could not be deleted, the first: the snapshot of claim ") || !strings.Contains(got.Reason, "then delete the backup again") {
		t.Errorf("summary = %+v", got)
	}
	left := w.api.Get(backupPath)
	phase, _, _ := unstructured.NestedString(left.Object, "status", "phase")
	causes := left.GetAnnotations()[velerov1.TopCausesAnnotation]
	if phase != "Deleting" || len(w.bucket.Keys()) != 10 || w.api.Get(veleroNamespace+"restores/r1") == nil {
		t.Errorf("phase %s, left %q", phase, w.bucket.Keys())
	}
	for _, want := range []string{
		`the snapshot of claim "shop/two": volume vol-7 was made from it`,
		`the snapshot of claim "shop/three": snapshot location "aws": delete "snap-3": ami-1 uses it: it is in use; hint: delete what was made from it`,
	} {
		if !strings.Contains(causes, want) {
			t.Errorf("causes %q lack %q", causes, want)
		}
	}
	if len(s.has) != 2 {
		t.Errorf("the others stayed: %v", s.has)
	}
	s.has = map[string]error{"h2": nil, "snap-3": nil}
	if again := w.run(t, s.config(deletejob.Config{})); again.Outcome != report.Completed || len(s.has) > 0 || w.api.Get(backupPath) != nil {
		t.Errorf("again: %+v, %v", again, s.has)
	}
}

func TestForceLeavesBehindWhatIsRefused(t *testing.T) {
	t.Parallel()
	w, s := volumeWorld(t, volumeFiles())
	s.has["h2"] = errors.New("no")
	w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
	if got := w.run(t, s.config(deletejob.Config{Force: true})); got.Outcome != report.Completed || got.Warnings != 1 || got.Errors > 0 {
		t.Errorf("summary = %+v", got)
	}
	if len(s.has) != 1 || w.api.Get(backupPath) != nil {
		t.Errorf("left: %v", s.has)
	}
}

// TestRefusedBeforeAnythingChanges: whose snapshots can't be deleted stays as it is,
// and with force all else goes.
func TestRefusedBeforeAnythingChanges(t *testing.T) {
	t.Parallel()
	const locationPath = veleroNamespace + "volumesnapshotlocations/aws"
	for name, test := range map[string]struct {
		files map[string]string
		setup func(*world, *storage) deletejob.Config
		want  string
		// outcome is Usage when empty; left are the snapshots that force leaves.
		outcome report.Outcome
		left    []string
	}{
		"no such location": {
			setup: func(w *world, s *storage) deletejob.Config {
				w.api.Fault(func(_, path string) int {
					if path == locationPath {
						return 404
					}
					return 0
				})
				return s.config(deletejob.Config{})
			},
			want: `the disk snapshots of backup "shop" in snapshot location "aws" can't be deleted (snap-3): the location doesn't exist; hint: create it again, or use --force to leave it behind`,
			left: []string{"snap-3"},
		},
		"credentials that the Job hasn't": {
			setup: func(w *world, s *storage) deletejob.Config {
				w.env.OpenSnapshotter = func(context.Context, *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
					return nil, errors.New("no credentials; hint: start it again")
				}
				return s.config(deletejob.Config{})
			},
			want: `the disk snapshots of backup "shop" in snapshot location "aws" can't be deleted (snap-3): no credentials; hint: start it again, or use --force to leave it behind`,
			left: []string{"snap-3"},
		},
		"credentials that don't work": {
			setup: func(w *world, s *storage) deletejob.Config {
				s.state = errors.New("AuthFailure")
				return s.config(deletejob.Config{})
			},
			want:    `the disk snapshots of backup "shop" in snapshot location "aws" can't be deleted (snap-3): AuthFailure`,
			outcome: report.Failed, left: []string{"snap-3"},
		},
		"no such driver": {
			files: map[string]string{"backups/shop/shop-volumeinfo.json.gz": gzipped(`[{"pvName":"pv-1","backupMethod":"CSISnapshot","result":"succeeded","csiSnapshotInfo":{"driver":"far","snapshotHandle":"h1"}},
				{"pvName":"pv-2","pvcName":"two","pvcNamespace":"shop","backupMethod":"CSISnapshot","result":"succeeded","csiSnapshotInfo":{"driver":"dir","snapshotHandle":"h2"}}]`)},
			setup: func(_ *world, s *storage) deletejob.Config { return s.config(deletejob.Config{}) },
			want:  `the CSI snapshots of backup "shop" can't be deleted, because driver "far" isn't in this cluster (h1); hint: install the driver, or delete the backup from a cluster that has it, or use --force to leave it behind`,
			left:  []string{"h1"},
		},
		"no snapshot API": {
			setup: func(*world, *storage) deletejob.Config { return deletejob.Config{} },
			want:  `the CSI snapshots of backup "shop" can't be deleted, because this cluster doesn't serve the API snapshot.storage.k8s.io (h1, h2); hint: install the CSI snapshot controller and its CRDs, or delete the backup from a cluster that has them, or use --force to leave it behind`,
			left:  []string{"h1", "h2"},
		},
		"handles that nobody knows": {
			files: map[string]string{"backups/shop/shop-volumesnapshots.json.gz": gzipped(`null`)},
			setup: func(_ *world, s *storage) deletejob.Config { return s.config(deletejob.Config{}) },
			want:  "backup \"shop\" has snapshots that can't be found: claim \"shop/three\": the list of disk snapshots has none of it; hint: find out with `kubectl velero backup verify` what is damaged, or use --force to leave it behind",
			left:  []string{"snap-3"},
		},
		"files and moved snapshots": {
			files: map[string]string{"backups/shop/shop-podvolumebackups.json.gz": gzipped(`[{"status":{"snapshotID":"k1"}}]`)},
			setup: func(_ *world, s *storage) deletejob.Config { return s.config(deletejob.Config{}) },
			want:  `backup "shop" has data that this version can't delete (file-system backups: 1); hint: delete it with Velero, or use --force to leave it behind`,
		},
		"a list that is torn": {
			files: map[string]string{"backups/shop/shop-volumeinfo.json.gz": "torn"},
			setup: func(_ *world, s *storage) deletejob.Config { return s.config(deletejob.Config{}) },
			want: `which snapshots backup "shop" has can't be told: storage location "default": look for volume data: open backups/shop/shop-volumeinfo.json.gz: unexpected EOF; ` +
				`hint: --force deletes those that are known, and leaves behind what isn't`,
			outcome: report.Failed, left: []string{"h1", "h2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := volumeFiles()
			for key, body := range test.files {
				all[key] = body
			}
			w, s := volumeWorld(t, all)
			w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
			cfg := test.setup(w, s)
			if test.outcome == "" {
				test.outcome = report.Usage
			}
			got := w.run(t, cfg)
			if got.Outcome != test.outcome || got.Reason != test.want {
				t.Errorf("summary = %+v\nwant reason %s", got, test.want)
			}
			if writes, deleted := w.writes(), w.bucket.Deleted(); len(writes)+len(deleted)+len(s.called) > 0 {
				t.Errorf("a refusal wrote %q, deleted %q and called %q", writes, deleted, s.called)
			}
			cfg.Force = true
			if got := w.run(t, cfg); got.Outcome != report.Completed || got.Warnings == 0 {
				t.Errorf("forced: %+v", got)
			}
			var left []string
			for id := range s.has {
				left = append(left, id)
			}
			slices.Sort(left)
			if diff := cmp.Diff(test.left, left); diff != "" || w.api.Get(backupPath) != nil {
				t.Errorf("left by force (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBackupsThatAreNotWhole: what no list names is found by who made it; lists that
// went with an earlier deletion aren't asked for.
func TestBackupsThatAreNotWhole(t *testing.T) {
	t.Parallel()
	named := func(b *velerov1.Backup) { b.Spec.VolumeSnapshotLocations = []string{"aws", "gone"} }
	synced := func(b *velerov1.Backup) { b.UID = "given-by-this-cluster" }
	for name, test := range map[string]struct {
		backup   *velerov1.Backup
		cfg      deletejob.Config
		without  []string
		claim    string
		owner    string
		calls    []string
		warnings int
	}{
		"failed": {
			backup: backup(velerov1.BackupPhaseFailed, named), without: []string{"velero-backup.json", "shop-volumeinfo.json.gz", "shop-volumesnapshots.json.gz", "shop.tar.gz"},
			owner: "uid-of-shop", calls: []string{"delete found", "leftovers of shop uid-of-shop"}, warnings: 1,
		},
		"failed after its lists were written": {
			backup: backup(velerov1.BackupPhaseFailed, named), without: []string{"velero-backup.json"},
			owner: "uid-of-shop", calls: []string{"delete found", "delete h1", "delete h2", "delete snap-3", "leftovers of shop uid-of-shop"},
		},
		"deletion broke off when the snapshots were gone": {
			backup: backup(velerov1.BackupPhaseDeleting), without: []string{"velero-backup.json", "shop.tar.gz", "shop-volumesnapshots.json.gz"},
			owner: "nobody", calls: []string{"delete h1", "delete h2", "leftovers of shop uid-of-shop"}, warnings: 1,
		},
		"brought here by a sync": {
			backup: backup(velerov1.BackupPhaseCompleted, synced), cfg: deletejob.Config{Force: true},
			owner: "uid-of-shop", calls: []string{"delete found", "delete h1", "delete h2", "delete snap-3", "leftovers of shop uid-of-shop"},
		},
		"only a claim": {
			cfg: deletejob.Config{Location: "default"}, without: []string{"velero-backup.json", "shop-volumeinfo.json.gz", "shop-volumesnapshots.json.gz"},
			owner: "uid-of-shop", calls: []string{"delete found", "leftovers of shop uid-of-shop"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := volumeFiles()
			for _, file := range test.without {
				delete(all, "backups/shop/"+file)
			}
			w, s := volumeWorld(t, all)
			s.owned = map[snapshot.Owner][]string{{Backup: "shop", UID: test.owner}: {"found"}}
			if test.backup != nil {
				w.api.Add(veleroNamespace+"backups", test.backup)
			}
			if got := w.run(t, s.config(test.cfg)); got.Outcome != report.Completed || got.Warnings != test.warnings {
				t.Errorf("summary = %+v", got)
			}
			for i := range s.called {
				s.called[i] = strings.TrimPrefix(s.called[i], "after the files went: ")
			}
			slices.Sort(s.called)
			if diff := cmp.Diff(test.calls, s.called); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStoppedInTheMiddleOfSnapshots: the files stay, and the next attempt goes on.
func TestStoppedInTheMiddleOfSnapshots(t *testing.T) {
	t.Parallel()
	w, s := volumeWorld(t, volumeFiles())
	w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
	ctx, stop := context.WithCancel(t.Context())
	cfg := s.config(deletejob.Config{Env: w.env, Backup: "shop"})
	cfg.Drivers = stopping{drivers{s}, stop}
	summary, err := deletejob.Run(ctx, cfg)
	if err != nil || summary.Outcome != report.Cancelled {
		t.Errorf("%+v, %v", summary, err)
	}
	phase, _, _ := unstructured.NestedString(w.api.Get(backupPath).Object, "status", "phase")
	if phase != "Deleting" || len(w.bucket.Keys()) != 10 || len(s.has) == 0 {
		t.Errorf("phase %s, files %q, snapshots %v", phase, w.bucket.Keys(), s.has)
	}
	if again := w.run(t, s.config(deletejob.Config{})); again.Outcome != report.Completed || len(s.has) > 0 {
		t.Errorf("again: %+v, %v", again, s.has)
	}
}

// stopping is stopped while it deletes.
type stopping struct {
	drivers
	stop func()
}

func (s stopping) Delete(ctx context.Context, _ csi.Handle, _ time.Duration) error {
	s.stop()
	return ctx.Err()
}

// TestAStoreThatFailsBeforeSnapshotsAreTouched keeps them.
func TestAStoreThatFailsBeforeSnapshotsAreTouched(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{"denied": store.ErrDenied, "down": store.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := volumeWorld(t, volumeFiles())
			w.api.Add(veleroNamespace+"backups", backup(velerov1.BackupPhaseCompleted))
			w.bucket.Fault(func(op, _ string) error {
				if op == "Delete" {
					return fault
				}
				return nil
			})
			if got := w.run(t, s.config(deletejob.Config{})); got.Outcome != report.Failed || len(s.called) > 0 || len(s.has) != 3 {
				t.Errorf("%+v, calls %q", got, s.called)
			}
		})
	}
}
