//go:build integration

package snapshotted

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/installed"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

var contents = snapshotv1.SchemeGroupVersion.WithResource("volumesnapshotcontents")

// Location is the name of the snapshot location of the cloud.
const Location = "aws"

// World is an installation with a driver and a cloud of its own.
type World struct {
	*installed.Installation
	Driver *testenv.CSI
	Cloud  *ec2test.Server

	// App is the namespace of the claims.
	App string

	t      *testing.T
	client *csi.Client
	disks  snapshot.Snapshotter
}

// New installs, and starts the driver and the cloud.
func New(t *testing.T) *World {
	t.Helper()
	w := &World{
		Installation: installed.New(t), Driver: testenv.StartCSI(t, testenv.Kubeconfig(t), testenv.CSIOptions{}),
		Cloud: ec2test.Start(t), t: t,
	}
	w.Env.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	w.Env.Features = []string{run.FeatureCSI}
	w.Env.LogText = func() ([]byte, error) {
		var text bytes.Buffer
		err := gzip.NewWriter(&text).Close()
		return text.Bytes(), err
	}
	var err error
	config := w.Cloud.Config(t)
	w.disks, err = ebs.Open(t.Context(), config)
	w.must(err)
	w.Env.OpenSnapshotter = func(ctx context.Context, _ *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
		return ebs.Open(ctx, config)
	}
	_, err = w.Velero.VolumeSnapshotLocations(w.Namespace).Create(t.Context(), &velerov1.VolumeSnapshotLocation{
		ObjectMeta: metav1.ObjectMeta{Name: Location},
		Spec:       velerov1.VolumeSnapshotLocationSpec{Provider: "aws", Config: map[string]string{"region": ec2test.Region}},
	}, metav1.CreateOptions{})
	w.must(err)
	namespace, err := w.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "app-"}}, metav1.CreateOptions{})
	w.must(err)
	w.App = namespace.Name
	w.client, err = csi.NewClient(w.Env.REST, w.Env.Log)
	w.must(err)
	return w
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Claims makes claims with volumes of the driver: data-0 and so on. Labels are in
// pairs of key and value.
func (w *World) Claims(n int, labels ...string) []csi.Claim {
	w.t.Helper()
	var claims []csi.Claim
	for i := range n {
		name := fmt.Sprintf("data-%d", i)
		v := w.Driver.Volume(w.t, w.App, name, "1Mi", labels...)
		pvc, err := w.Kube.CoreV1().PersistentVolumeClaims(w.App).Get(w.t.Context(), name, metav1.GetOptions{})
		w.must(err)
		pv, err := w.Kube.CoreV1().PersistentVolumes().Get(w.t.Context(), v.PV, metav1.GetOptions{})
		w.must(err)
		claims = append(claims, csi.Claim{PVC: pvc, PV: pv})
	}
	return claims
}

// DiskClaim makes a claim that is bound to a volume on a disk of the cloud.
func (w *World) DiskClaim(name string) {
	w.t.Helper()
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	pv, err := w.Kube.CoreV1().PersistentVolumes().Create(w.t.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: w.App + "-" + name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: modes, ClaimRef: &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: w.App, Name: name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: w.Cloud.AddDisk(ec2test.Disk{})}},
		},
	}, metav1.CreateOptions{})
	w.must(err)
	class := ""
	pvc, err := w.Kube.CoreV1().PersistentVolumeClaims(w.App).Create(w.t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: pv.Name, AccessModes: modes, StorageClassName: &class, Resources: corev1.VolumeResourceRequirements{Requests: size},
		},
	}, metav1.CreateOptions{})
	w.must(err)
	pvc.Status.Phase = corev1.ClaimBound
	_, err = w.Kube.CoreV1().PersistentVolumeClaims(w.App).UpdateStatus(w.t.Context(), pvc, metav1.UpdateOptions{})
	w.must(err)
}

// Taken is a backup that is being made.
type Taken struct {
	*velerov1.Backup
	w     *World
	taker *csi.Taker
	infos []volume.Info
	disks []volume.Snapshot
	csi   []*csi.Snapshot
}

// Take begins a backup: it creates the Backup, in this phase and silent for long,
// claims its name, and cuts snapshots of claims and of one disk.
func (w *World) Take(name string, phase velerov1.BackupPhase, claims []csi.Claim) *Taken {
	w.t.Helper()
	annotations := installed.Alive()
	annotations[velerov1.HeartbeatAnnotation] = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	backup, err := w.Velero.Backups(w.Namespace).Create(w.t.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec:       velerov1.BackupSpec{StorageLocation: velerov1.DefaultName, VolumeSnapshotLocations: []string{Location}},
		Status:     velerov1.BackupStatus{Phase: phase, VolumeSnapshotsAttempted: 1},
	}, metav1.CreateOptions{})
	w.must(err)
	t := &Taken{Backup: backup, w: w}
	w.must(catalog.New(w.Bucket).Claim(w.t.Context(), name, catalog.Claim{
		ClusterID: w.ClusterID(), BackupUID: string(backup.UID), Attempt: 1, Created: metav1.NewTime(time.Now().Add(-time.Hour)),
	}))
	t.cut(claims)
	t.cutDisk()
	return t
}

func (t *Taken) cut(claims []csi.Claim) {
	t.w.t.Helper()
	var err error
	t.taker, err = t.w.client.NewTaker(t.w.t.Context(), t.Backup, csi.Options{Cut: time.Minute, Ready: time.Minute})
	t.w.must(err)
	_, err = t.taker.Cut(t.w.t.Context(), claims)
	t.w.must(err)
	t.csi, err = t.taker.Wait(t.w.t.Context(), 0)
	t.w.must(err)
	volumes := map[string]string{}
	for _, claim := range claims {
		volumes[claim.PVC.Name] = claim.PV.Name
	}
	for _, s := range t.csi {
		t.w.must(s.Err)
		t.infos = append(t.infos, volume.Info{
			PVCName: s.Claim, PVCNamespace: s.Namespace, PVName: volumes[s.Claim],
			Method: volume.CSISnapshot, PreserveLocalSnapshot: true, Result: volume.Succeeded,
			CSI: &volume.CSIInfo{SnapshotHandle: s.Handle, Driver: t.w.Driver.Driver, ContentName: s.Content},
		})
	}
}

func (t *Taken) cutDisk() {
	t.w.t.Helper()
	disk := t.w.Cloud.AddDisk(ec2test.Disk{})
	_, err := t.w.disks.Disk(t.w.t.Context(), disk, "")
	t.w.must(err)
	id, err := t.w.disks.Create(t.w.t.Context(), snapshot.CreateRequest{
		VolumeID: disk, Volume: "pv-disk", Owner: snapshot.Owner{Backup: t.Name, UID: string(t.UID)},
	})
	t.w.must(err)
	t.infos = append(t.infos, volume.Info{PVName: "pv-disk", Method: volume.NativeSnapshot, Result: volume.Succeeded, Native: &volume.NativeInfo{SnapshotHandle: id}})
	t.disks = append(t.disks, volume.Snapshot{
		Spec:   volume.SnapshotSpec{BackupName: t.Name, BackupUID: string(t.UID), Location: Location, PersistentVolumeName: "pv-disk", ProviderVolumeID: disk},
		Status: volume.SnapshotStatus{ProviderSnapshotID: id, Phase: volume.SnapshotCompleted},
	})
}

// Commit makes the backup exist; its objects stay in the cluster.
func (t *Taken) Commit() *Taken {
	t.w.t.Helper()
	ctx, c := t.w.t.Context(), catalog.New(t.w.Bucket)
	t.w.must(t.taker.Keep(ctx))
	t.w.must(c.PutJSON(ctx, catalog.BackupFile(t.Name, catalog.VolumeInfo), t.infos))
	t.w.must(c.PutJSON(ctx, catalog.BackupFile(t.Name, catalog.VolumeSnapshots), t.disks))
	t.w.must(c.PutArchive(ctx, t.Name, t.archive()))
	committed := t.Backup.DeepCopy()
	committed.Status.Phase = velerov1.BackupPhaseCompleted
	t.w.must(c.Commit(ctx, committed))
	return t
}

// archive has the contents of the snapshots.
func (t *Taken) archive() io.Reader {
	t.w.t.Helper()
	var body bytes.Buffer
	w, err := archive.NewWriter(&body, time.Now())
	t.w.must(err)
	kind, err := w.Kind(contents.GroupResource(), contents.Version, true)
	t.w.must(err)
	for object, err := range t.taker.Objects(t.w.t.Context()) {
		t.w.must(err)
		if object.Kind == csi.KindContent {
			t.w.must(kind.Write("", object.Name, object.JSON))
		}
	}
	t.w.must(kind.Close())
	_, err = w.Close()
	t.w.must(err)
	return &body
}

// Release removes what is left of the snapshots in the cluster; the data stays.
func (t *Taken) Release() *Taken {
	t.w.t.Helper()
	t.w.must(t.taker.Release(t.w.t.Context()))
	return t
}

// Handles are those of the CSI snapshots, in the order of their claims.
func (t *Taken) Handles() []string {
	var all []string
	for _, info := range t.infos {
		if info.CSI != nil {
			all = append(all, info.CSI.SnapshotHandle)
		}
	}
	return all
}

// Disk is the id of the disk snapshot.
func (t *Taken) Disk() string { return t.disks[0].Status.ProviderSnapshotID }

// Stored are all snapshots in the storage of the driver and of the cloud, sorted.
func (w *World) Stored() []string {
	w.t.Helper()
	all := w.Driver.Snapshots(w.t)
	for _, s := range w.Cloud.Snapshots() {
		all = append(all, s.ID)
	}
	slices.Sort(all)
	return all
}

// Objects are the names of the VolumeSnapshots of a backup, and of all contents of
// the driver's.
func (w *World) Objects(uid types.UID) []string {
	w.t.Helper()
	owners, err := w.client.Owners(w.t.Context())
	w.must(err)
	var all []string
	for _, owner := range owners {
		if owner.UID == string(uid) {
			all = append(all, "snapshots of "+owner.Backup)
		}
	}
	contents, err := w.contents()
	w.must(err)
	return append(all, contents...)
}

// contents are the names of the driver's VolumeSnapshotContents.
func (w *World) contents() ([]string, error) {
	list, err := w.Env.Dynamic.Resource(contents).List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		if driver, _, _ := unstructured.NestedString(list.Items[i].Object, "spec", "driver"); driver == w.Driver.Driver {
			names = append(names, list.Items[i].GetName())
		}
	}
	return names, nil
}
