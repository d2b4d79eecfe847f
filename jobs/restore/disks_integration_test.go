//go:build integration

package restore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
	volumes "github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
)

// disks is a world whose backup "b" has disk snapshots in EC2.
type disks struct {
	*world
	cloud   *ec2test.Server
	records []volumes.Snapshot
	infos   []volumes.Info
	objects []string
}

func newDisks(t *testing.T) *disks {
	t.Helper()
	return &disks{world: newWorld(t), cloud: ec2test.Start(t)}
}

// makeLocation makes the snapshot location that backups name.
func (d *disks) makeLocation() {
	d.t.Helper()
	_, err := d.client.VolumeSnapshotLocations(d.velero).Create(d.t.Context(), &velerov1.VolumeSnapshotLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "aws", Namespace: d.velero},
		Spec:       velerov1.VolumeSnapshotLocationSpec{Provider: "velero.io/aws", Config: map[string]string{"region": ec2test.Region}},
	}, metav1.CreateOptions{})
	d.must(err)
}

// ebsVolume is a volume of EBS and its claim.
func ebsVolume(namespace, name, disk, policy string) []string {
	pair := volume(namespace, name, policy)
	pair[0] = strings.Replace(pair[0], `hostPath: {path: /x, type: ""}`,
		`csi: {driver: ebs.csi.aws.com, volumeHandle: `+disk+`, fsType: ext4}, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: topology.ebs.csi.aws.com/zone, operator: In, values: [eu-central-1b]}]}]}}`, 1)
	return pair
}

// saved adds a volume to the backup, whose disk had content when it was cut.
func (d *disks) saved(name, content string) {
	disk := d.cloud.AddDisk(ec2test.Disk{Zone: "eu-central-1b", Type: "io2", IOPS: 4000, Content: content})
	id := d.cloud.AddSnapshot(ec2test.Snapshot{DiskID: disk, Content: content, GiB: 1})
	iops := int64(4000)
	d.objects = append(d.objects, ebsVolume(d.app, name, disk, "Delete")...)
	d.records = append(d.records, volumes.Snapshot{
		Spec: volumes.SnapshotSpec{
			BackupName: "b", Location: "aws", PersistentVolumeName: name, ProviderVolumeID: disk, VolumeType: "io2",
			VolumeAZ: "eu-central-1b", VolumeIOPS: &iops,
		},
		Status: volumes.SnapshotStatus{ProviderSnapshotID: id, Phase: volumes.SnapshotCompleted},
	})
	d.infos = append(d.infos, volumes.Info{
		PVCName: name, PVCNamespace: d.app, PVName: name, Method: volumes.NativeSnapshot, Result: volumes.Succeeded,
		Native: &volumes.NativeInfo{SnapshotHandle: id, VolumeType: "io2", VolumeAZ: "eu-central-1b", IOPS: "4000", Phase: "Completed"},
	})
}

// write writes the backup.
func (d *disks) write() {
	d.t.Helper()
	d.putBackup("b", d.objects...)
	c := catalog.New(d.bucket)
	d.must(c.PutJSON(d.t.Context(), catalog.BackupFile("b", catalog.VolumeSnapshots), d.records))
	if d.infos != nil {
		d.must(c.PutJSON(d.t.Context(), catalog.BackupFile("b", catalog.VolumeInfo), d.infos))
	}
}

// inCloud gives a restore the snapshotter of this cloud.
func (d *disks) inCloud(cfg *restore.Config) {
	cfg.OpenSnapshotter = func(ctx context.Context, _ *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
		return ebs.Open(ctx, d.cloud.Config(d.t))
	}
}

// contentOf is what the disk of a volume of the cluster has.
func (d *disks) contentOf(pv string) string {
	d.t.Helper()
	live := d.get("persistentvolumes", "", pv)
	if live == nil {
		d.t.Fatalf("volume %q is not there", pv)
	}
	handle, _, _ := unstructured.NestedString(live.Object, "spec", "csi", "volumeHandle")
	for _, disk := range d.cloud.Disks() {
		if disk.ID == handle {
			return disk.Content + " on " + disk.Type + " in " + disk.Zone
		}
	}
	return "no disk " + handle
}

// made is how many disks were made from snapshots.
func (d *disks) made() int {
	n := 0
	for _, disk := range d.cloud.Disks() {
		if disk.SnapshotID != "" {
			n++
		}
	}
	return n
}

func TestDisksComeBack(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	names := []string{d.app + "-a", d.app + "-b", d.app + "-c"}
	for _, name := range names {
		d.saved(name, "data of "+name)
	}
	d.write()
	summary, after := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, d.inCloud)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Fatalf("summary %+v, status %+v, results %+v", summary, after.Status, d.results("r"))
	}
	for _, name := range names {
		if got, want := d.contentOf(name), "data of "+name+" on io2 in eu-central-1b"; got != want {
			t.Errorf("volume %s has %q, want %q", name, got, want)
		}
		want := map[string]any{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": d.app, "name": name}
		if diff := cmp.Diff(want, d.claimOf(name)); diff != "" {
			t.Errorf("claimRef (-want +got):\n%s", diff)
		}
		if got := d.volumeOf(d.app, name); got != name {
			t.Errorf("claim %s waits for volume %q", name, got)
		}
	}
	var infos []volumes.RestoreInfo
	d.output("r", catalog.RestoreVolumeInfo, &infos)
	if len(infos) != 3 || infos[0].Method != volumes.NativeSnapshot || infos[0].PVCNamespace != d.app || infos[0].Native.SnapshotHandle != d.records[0].Status.ProviderSnapshotID {
		t.Errorf("volume info %+v", infos)
	}
	// The disk is made once, however often the restore is tried.
	t.Run("tried again", func(t *testing.T) {
		d.dropVolume(names[0])
		d.reopen("r")
		summary, _ := d.run("r", func(cfg *restore.Config) { d.inCloud(cfg); cfg.Attempt = 2 })
		if summary.Outcome != report.Completed || d.made() != 3 || !strings.HasPrefix(d.contentOf(names[0]), "data of "+names[0]) {
			t.Errorf("summary %+v, %d disks, %q; results %+v", summary, d.made(), d.contentOf(names[0]), d.results("r"))
		}
	})
	t.Run("by a second restore", func(t *testing.T) {
		for _, name := range names {
			d.setPhase(name, corev1.VolumeBound)
		}
		summary, _ := d.restore("r2", velerov1.RestoreSpec{BackupName: "b"}, d.inCloud)
		if summary.Outcome != report.Completed || d.made() != 3 {
			t.Errorf("summary %+v, %d disks", summary, d.made())
		}
		d.said(d.warnings("r2"), names[0], "the cluster has the volume")
	})
}

// reopen makes a restore that has ended one that goes on.
func (w *world) reopen(name string) {
	w.t.Helper()
	_, err := w.client.Restores(w.velero).Patch(w.t.Context(), name, types.MergePatchType, []byte(`{"status":{"phase":"InProgress","completionTimestamp":null}}`), metav1.PatchOptions{})
	w.must(err)
}

// setPhase says of a volume what a controller would.
func (w *world) setPhase(name string, phase corev1.PersistentVolumePhase) {
	w.t.Helper()
	_, err := w.kube.CoreV1().PersistentVolumes().Patch(w.t.Context(), name, types.MergePatchType, []byte(`{"status":{"phase":"`+string(phase)+`"}}`), metav1.PatchOptions{}, "status")
	w.must(err)
}

// dropVolume deletes a volume where no controller takes its finalizers off.
func (w *world) dropVolume(name string) {
	ctx, volumes := context.WithoutCancel(w.t.Context()), w.kube.CoreV1().PersistentVolumes()
	_, err := volumes.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	if err == nil {
		err = volumes.Delete(ctx, name, metav1.DeleteOptions{})
	}
	if err != nil {
		w.t.Error(err)
	}
}

func TestSnapshotLocationThatIsMissing(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.saved(d.app+"-a", "a")
	d.write()
	summary, after := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, d.inCloud)
	if summary.Outcome != report.Usage || after.Status.Phase != velerov1.RestorePhaseFailedValidation || d.get("namespaces", "", d.app) != nil {
		t.Errorf("summary %+v, status %+v", summary, after.Status)
	}
	if text := strings.Join(after.Status.ValidationErrors, ""); !strings.Contains(text, `snapshot location "aws"`) || !strings.Contains(text, d.app+"-a") {
		t.Errorf("problems: %s", text)
	}
	for name, spec := range map[string]velerov1.RestoreSpec{
		"without-data":    {BackupName: "b", RestorePVs: new(bool)},
		"without-volumes": {BackupName: "b", ExcludedResources: []string{"persistentvolumes", "persistentvolumeclaims"}},
	} {
		if summary, _ := d.restore(name, spec, d.inCloud); summary.Outcome != report.Completed {
			t.Errorf("%s: summary %+v", name, summary)
		}
	}
}

// A volume that moves with its namespace gets a disk of its own.
func TestDiskBesideItsOriginal(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name, target := d.app+"-a", d.app+"-copy"
	d.saved(name, "then")
	d.write()
	d.apply(d.objects[0])
	summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{d.app: target}}, d.inCloud)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Fatalf("summary %+v, results %+v", summary, d.results("r"))
	}
	clone := d.volumeOf(target, name)
	if !strings.HasPrefix(clone, "velero-clone-") || d.claimOf(clone)["namespace"] != target || !strings.HasPrefix(d.contentOf(clone), "then") {
		t.Errorf("the moved claim waits for volume %q of %v", clone, d.claimOf(clone))
	}
	if d.claimOf(name)["namespace"] != d.app {
		t.Error("the original was touched")
	}
}

// A disk gets one volume, by whatever name, however often a restore is tried.
func TestMovedDiskOfASecondAttempt(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	clean, beside, target := d.app+"-clean", d.app+"-beside", d.app+"-copy"
	d.saved(clean, "clean")
	d.saved(beside, "beside")
	d.write()
	d.apply(d.objects[2]) // the original of one
	if summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{d.app: target}}, d.inCloud); summary.Outcome != report.Completed {
		t.Fatalf("summary %+v, results %+v", summary, d.results("r"))
	}
	volumes := func() []string {
		list, err := d.kube.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{LabelSelector: velerov1.RestoreNameLabel + "=r"})
		d.must(err)
		var names []string
		for _, pv := range list.Items {
			if pv.Spec.ClaimRef.Namespace == target {
				names = append(names, pv.Name)
			}
		}
		return names
	}
	first := volumes()
	d.dropVolume(beside)
	d.reopen("r")
	summary, _ := d.run("r", func(cfg *restore.Config) { d.inCloud(cfg); cfg.Attempt = 2 })
	if summary.Outcome != report.Completed || d.made() != 2 {
		t.Errorf("summary %+v, %d disks, results %+v", summary, d.made(), d.results("r"))
	}
	if diff := cmp.Diff(first, volumes()); diff != "" || len(first) != 2 {
		t.Errorf("volumes (-first +second attempt):\n%s", diff)
	}
}

// A volume on its way out is waited for; one that its policy keeps isn't.
func TestVolumesThatGo(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	going, kept := d.app+"-going", d.app+"-kept"
	d.saved(going, "going")
	d.saved(kept, "kept")
	d.write()
	d.apply(d.objects[0])
	d.apply(strings.Replace(d.objects[2], "persistentVolumeReclaimPolicy: Delete", "persistentVolumeReclaimPolicy: Retain", 1))
	d.setPhase(going, corev1.VolumeReleased)
	d.setPhase(kept, corev1.VolumeReleased)
	gone := time.AfterFunc(2*time.Second, func() { d.dropVolume(going) })
	defer gone.Stop()
	summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, d.inCloud)
	if summary.Outcome != report.Completed || d.made() != 1 {
		t.Errorf("summary %+v, %d disks, results %+v", summary, d.made(), d.results("r"))
	}
	if got := d.contentOf(going); !strings.HasPrefix(got, "going") {
		t.Errorf("it has %q", got)
	}
	d.said(d.warnings("r"), kept, "Released")
}

func TestVolumeThatDoesNotGo(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name := d.app + "-a"
	d.saved(name, "a")
	d.write()
	d.apply(d.objects[0])
	d.setPhase(name, corev1.VolumeReleased)
	summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, func(cfg *restore.Config) { d.inCloud(cfg); cfg.TerminatingTimeout = time.Second })
	if summary.Outcome != report.PartiallyFailed || d.made() != 0 {
		t.Errorf("summary %+v, %d disks", summary, d.made())
	}
	d.said(d.errors("r"), name, "timed out waiting")
}

func TestDisksThatCannotBeMade(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	deleted, elsewhere, refused, unsaved := d.app+"-deleted", d.app+"-elsewhere", d.app+"-refused", d.app+"-unsaved"
	for _, name := range []string{deleted, elsewhere, refused, unsaved} {
		d.saved(name, name)
	}
	d.cloud.DeleteSnapshot(d.records[0].Status.ProviderSnapshotID)
	d.records[1].Spec.VolumeAZ = "eu-central-1z"
	d.objects[4] = strings.Replace(d.objects[4], "accessModes: [ReadWriteOnce]", "accessModes: [Never]", 1)
	d.records[3].Status.ProviderSnapshotID, d.infos[3].Result = "", volumes.Failed
	d.write()

	t.Run("preview", func(t *testing.T) {
		items, _ := d.previewWith(velerov1.RestoreSpec{BackupName: "b"}, false, d.inCloud)
		for _, name := range []string{deleted, refused} {
			if got := items["PersistentVolume "+name]; got.Action != report.PreviewRefuse || got.Reason == "" {
				t.Errorf("%s: %+v", name, got)
			}
		}
		if d.made() != 0 {
			t.Error("a preview made disks")
		}
	})

	summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, d.inCloud)
	if summary.Outcome != report.PartiallyFailed || d.made() != 0 {
		t.Errorf("summary %+v, %d disks", summary, d.made())
	}
	for name, text := range map[string]string{
		deleted: "does not exist", elsewhere: "resource modifier", refused: "accessModes", unsaved: "isn't in the backup",
	} {
		d.said(d.errors("r"), name, text)
		if d.get("persistentvolumes", "", name) != nil {
			t.Errorf("volume %s is there", name)
		}
	}
}

// Where its zone isn't to be had, a modifier puts a volume into another.
func TestDiskInAnotherZone(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name := d.app + "-a"
	d.saved(name, "a")
	d.records[0].Spec.VolumeAZ = "eu-central-1z"
	d.write()
	spec := d.modifiers(`
- conditions: {groupResource: persistentvolumes}
  patches:
  - {operation: replace, path: /spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0, value: eu-central-1c}
`)
	spec.BackupName = "b"
	summary, _ := d.restore("r", spec, d.inCloud)
	if summary.Outcome != report.Completed {
		t.Fatalf("summary %+v, results %+v", summary, d.results("r"))
	}
	if got := d.contentOf(name); got != "a on io2 in eu-central-1c" {
		t.Errorf("it has %q", got)
	}
}

// Velero before 1.13 says nothing of volumes but which disk snapshots there are.
func TestDisksOfOldBackups(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name := d.app + "-a"
	d.saved(name, "old")
	d.infos = nil
	d.write()
	summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, d.inCloud)
	if summary.Outcome != report.Completed || !strings.HasPrefix(d.contentOf(name), "old") {
		t.Errorf("summary %+v, content %q, results %+v", summary, d.contentOf(name), d.results("r"))
	}
}
