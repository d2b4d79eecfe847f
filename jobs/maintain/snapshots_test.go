package maintain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/jobs/maintain"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// drivers have snapshot objects of one backup in the cluster.
type drivers struct {
	owner csi.Owner
	err   error
	calls []string
}

func (d *drivers) Owners(context.Context) ([]csi.Owner, error) { return []csi.Owner{d.owner}, nil }

func (d *drivers) Silent() []csi.Silence { return nil }

func (d *drivers) Forget(_ context.Context, backup, uid string) (int, error) {
	d.calls = append(d.calls, "forget "+backup+" "+uid)
	return 2, d.err
}

func (d *drivers) Leftovers(_ context.Context, backup, uid string) (int, error) {
	d.calls = append(d.calls, "remove "+backup+" "+uid)
	return 2, d.err
}

func (d *drivers) Delete(context.Context, csi.Handle, time.Duration) error {
	return errors.ErrUnsupported
}

// claimed is the claim of the Backup with this UID, from so long ago.
func claimed(uid string, ago time.Duration) string {
	return fmt.Sprintf(`{"clusterID":"this-cluster","backupUID":%q,"attempt":1,"created":%q}`, uid, stamp(-ago))
}

// TestSnapshotsOfBackupsThatDied: what was never committed goes with its data, what
// was keeps it, and where nobody knows all stays.
func TestSnapshotsOfBackupsThatDied(t *testing.T) {
	t.Parallel()
	const claimKey = "backups/shop/shop-claim.json"
	failed := phase("Failed")
	long := annotation(velerov1.HeartbeatAnnotation, stamp(-time.Hour))
	for name, test := range map[string]struct {
		backup *velerov1.Backup
		uid    string
		files  map[string]string
		setup  func(*world)
		fault  error
		want   []string
		// problems and warnings are those of the run.
		problems, warnings int
	}{
		"failed, never committed": {backup: ended(failed, long), want: []string{"remove shop uid-of-shop"}},
		"failed, committed all the same": {
			backup: ended(failed, long), files: map[string]string{markerKey: marker("uid-of-shop", "Completed")}, want: []string{"forget shop uid-of-shop"},
		},
		"failed, another's marker": {
			backup: ended(failed, long), files: map[string]string{markerKey: marker("theirs", "Completed")}, want: []string{"remove shop uid-of-shop"}, warnings: 1, // of the sync
		},
		"complete":                             {backup: ended(long), files: map[string]string{markerKey: marker("uid-of-shop", "Completed")}, want: []string{"forget shop uid-of-shop"}},
		"complete, and no files":               {backup: ended(long), warnings: 1 /* of the sync */},
		"failed just now":                      {backup: ended(failed, annotation(velerov1.HeartbeatAnnotation, stamp(0)))},
		"being deleted":                        {backup: ended(phase("Deleting"), long)},
		"a Velero server's":                    {backup: ended(failed, func(b *velerov1.Backup) { b.Annotations = nil })},
		"another installation's":               {backup: ended(failed, long), uid: "of-tenant", setup: func(w *world) { w.tenant(ended(failed, long)) }},
		"the store is down":                    {backup: ended(failed, long), setup: func(w *world) { w.storeFault(store.ErrUnavailable) }, problems: 2},
		"the drivers refuse":                   {backup: ended(failed, long), fault: errors.New("driver down"), want: []string{"remove shop uid-of-shop"}, problems: 1},
		"made anew by a sync":                  {backup: ended(long), uid: "original", files: map[string]string{markerKey: marker("original", "Completed")}, want: []string{"forget shop original"}},
		"its Backup is gone, claimed":          {uid: "gone", files: map[string]string{claimKey: claimed("gone", time.Hour)}, want: []string{"remove shop gone"}},
		"its Backup is gone, claimed just now": {uid: "gone", files: map[string]string{claimKey: claimed("gone", time.Minute)}},
		"its Backup is gone, but its Job works": {
			uid: "gone", files: map[string]string{claimKey: claimed("gone", time.Hour)},
			setup: func(w *world) {
				w.api.Add(jobs, job("read", "gone", func(j *batchv1.Job) { j.Labels[velerov1.OperationUIDLabel] = "gone" }))
			},
		},
		"nobody knows it":              {uid: "gone", files: map[string]string{claimKey: claimed("theirs", time.Hour)}, warnings: 1},
		"nobody can be asked about it": {uid: "gone", setup: func(w *world) { w.openFault(errors.New("no way")) }, problems: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.backup != nil {
				w.api.Add(veleroNamespace+"backups", test.backup)
			}
			for key, body := range test.files {
				w.put(t, key, body)
			}
			if test.uid == "" {
				test.uid = "uid-of-shop"
			}
			if test.setup != nil {
				test.setup(w)
			}
			d := &drivers{owner: csi.Owner{Backup: "shop", UID: test.uid}, err: test.fault}
			summary, err := maintain.Run(t.Context(), maintain.Config{Env: w.env, StartTimeout: maintain.DefaultStartTimeout, Drivers: d})
			if err != nil || summary.Errors != test.problems || summary.Warnings != test.warnings {
				t.Errorf("%+v, %v", summary, err)
			}
			if diff := cmp.Diff(test.want, d.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// ended is a complete backup of this program.
func ended(edit ...func(*velerov1.Backup)) *velerov1.Backup {
	b := backup()
	b.Status.Phase = velerov1.BackupPhaseCompleted
	for _, e := range edit {
		e(b)
	}
	return b
}

// tenant is a Backup in another namespace, with UID "of-tenant".
func (w *world) tenant(b *velerov1.Backup) {
	b.UID = "of-tenant"
	w.api.Add("/apis/velero.io/v1/namespaces/tenant/backups", b)
}

func (w *world) storeFault(err error) {
	w.bucket.Fault(func(string, string) error { return err })
}

func (w *world) openFault(err error) {
	w.env.OpenStore = func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) { return nil, err }
}

// disks is a cloud that has snapshots of backups.
type disks struct {
	snapshot.Snapshotter
	found   map[string][]string // by UID
	err     error
	deleted []string
	asked   int
}

func (d *disks) Find(_ context.Context, owner snapshot.Owner) ([]string, error) {
	d.asked++
	return d.found[owner.UID], d.err
}

func (d *disks) Delete(_ context.Context, id string) error {
	d.deleted = append(d.deleted, id)
	return nil
}

const disksPath = veleroNamespace + "volumesnapshotlocations"

// diskWorld has a failed backup that may have left snapshots in location "aws".
func diskWorld(t *testing.T, edit func(*velerov1.VolumeSnapshotLocation)) (*world, *disks) {
	t.Helper()
	w := newWorld(t)
	d := &disks{found: map[string][]string{"uid-of-shop": {"snap-1", "snap-2"}}}
	w.env.OpenSnapshotter = func(context.Context, *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) { return d, nil }
	location := &velerov1.VolumeSnapshotLocation{ObjectMeta: metav1.ObjectMeta{Name: "aws"}, Spec: velerov1.VolumeSnapshotLocationSpec{Provider: "aws"}}
	if edit != nil {
		edit(location)
	}
	w.api.Add(disksPath, location)
	w.api.Add(veleroNamespace+"backups", ended(phase("Failed"), func(b *velerov1.Backup) {
		b.Spec.VolumeSnapshotLocations = []string{"aws", "gone"}
	}))
	return w, d
}

// TestDiskSnapshotsOfBackupsThatDied: the cloud is asked once, and again only after a
// failure.
func TestDiskSnapshotsOfBackupsThatDied(t *testing.T) {
	t.Parallel()
	w, d := diskWorld(t, nil)
	d.err = errors.New("throttled")
	if got := w.run(t); got.Outcome != report.PartiallyFailed || !strings.Contains(got.Reason, "throttled") {
		t.Errorf("%+v", got)
	}
	d.err = nil
	if got := w.run(t); got.Outcome != report.Completed || got.Items != 2 || got.Warnings != 1 {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"snap-1", "snap-2", "snap-1", "snap-2"}[2:], d.deleted[len(d.deleted)-2:]); diff != "" {
		t.Error(diff)
	}
	before := d.asked
	if got := w.run(t); got.Outcome != report.Completed || got.Items != 0 || d.asked != before {
		t.Errorf("%+v, asked %d times", got, d.asked-before)
	}
	if u := w.api.Get(shopPath); u.GetAnnotations()[velerov1.SnapshotsSweptAnnotation] != "true" {
		t.Errorf("annotations %v", u.GetAnnotations())
	}
}

// TestSnapshotsThatNeedOtherCredentialsGetAJob of the storage location, which has
// those of all snapshot locations that can be mounted.
func TestSnapshotsThatNeedOtherCredentialsGetAJob(t *testing.T) {
	t.Parallel()
	for name, existing := range map[string]*velerov1.Backup{
		"died": ended(phase("Failed")),
		"expired": expired(func(b *velerov1.Backup) {
			b.Status.VolumeSnapshotsAttempted = 1
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, d := diskWorld(t, func(l *velerov1.VolumeSnapshotLocation) {
				l.Spec.Credential = &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "west"}, Key: "cloud"}
			})
			existing.Spec.VolumeSnapshotLocations = []string{"aws"}
			w.api.Add(veleroNamespace+"backups", existing)
			for key, body := range files("this-cluster", "uid-of-shop") {
				if name == "expired" {
					w.put(t, key, body)
				}
			}
			w.api.Add(disksPath, &velerov1.VolumeSnapshotLocation{ObjectMeta: metav1.ObjectMeta{Name: "broken"}, Spec: velerov1.VolumeSnapshotLocationSpec{
				Provider: "gcp", Credential: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "nothing"}, Key: "cloud"},
			}})
			w.api.Add("/api/v1/namespaces/velero/podtemplates", &corev1.PodTemplate{
				ObjectMeta: metav1.ObjectMeta{Name: launch.TemplateName},
				Template:   corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: launch.ContainerName, Image: "example.com/executor:1"}}}},
			})
			w.addSecret("cloud")
			w.env.JobName = "velero-maintenance-1"
			if got := w.run(t); got.Outcome != report.Completed || got.Items != 1 {
				t.Errorf("%+v", got)
			}
			list, err := w.env.Kube.BatchV1().Jobs("velero").List(t.Context(), metav1.ListOptions{})
			if err != nil || len(list.Items) != 1 {
				t.Fatalf("%d Jobs, %v", len(list.Items), err)
			}
			var secrets []string
			for _, v := range list.Items[0].Spec.Template.Spec.Volumes {
				if v.Secret != nil {
					secrets = append(secrets, v.Secret.SecretName)
				}
			}
			if diff := cmp.Diff([]string{"west"}, secrets); diff != "" {
				t.Errorf("mounted (-want +got):\n%s", diff)
			}
			if d.asked > 0 || len(d.deleted) > 0 || w.api.Get(shopPath) == nil {
				t.Error("the Job that hasn't the credentials did it")
			}

			// That Job does it.
			w.env.JobName = list.Items[0].Name
			summary, err := maintain.Run(t.Context(), maintain.Config{Env: w.env, Location: "default"})
			if err != nil || summary.Outcome != report.Completed {
				t.Errorf("%+v, %v", summary, err)
			}
			if gone := w.api.Get(shopPath) == nil; gone != (name == "expired") || !slices.Contains([]int{0, 2}, len(d.deleted)) {
				t.Errorf("gone %v, deleted %q", gone, d.deleted)
			}
		})
	}
}
