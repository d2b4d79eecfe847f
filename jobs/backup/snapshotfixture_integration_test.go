//go:build integration

package backup_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

var (
	snapshotsV1 = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}
	contentsV1  = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}
)

// driven is a fixture with a CSI driver of its own.
type driven struct {
	*fixture
	*testenv.CSI
}

func newDriven(t *testing.T, options testenv.CSIOptions) driven {
	t.Helper()
	f := newFixture(t)
	d := driven{fixture: f, CSI: testenv.StartCSI(t, testenv.Kubeconfig(t), options)}
	t.Cleanup(func() { d.removeVolumes() })
	return d
}

// removeVolumes removes pods, claims and volumes, which no controller would: backups
// of the whole cluster would have something to say about them.
func (d driven) removeVolumes() {
	ctx := context.Background()
	now := int64(0)
	_ = d.dynamic.Resource(podsV1).Namespace(d.app).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}) // as a tidy neighbour
	_ = d.dynamic.Resource(claims).Namespace(d.app).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})                         // as a tidy neighbour
	list, err := d.dynamic.Resource(volumes).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, pv := range list.Items {
		if strings.HasPrefix(pv.GetName(), "pv-"+d.app+"-") {
			_ = d.dynamic.Resource(volumes).Delete(ctx, pv.GetName(), metav1.DeleteOptions{})
		}
	}
}

// data makes volumes with claims of these names.
func (d driven) data(names ...string) {
	d.t.Helper()
	for _, name := range names {
		v := d.Volume(d.t, d.app, name, "1Gi")
		d.Write(d.t, v.Handle, "file", name)
	}
}

// only selects the fixture's namespace.
func (d driven) only(changes ...func(*velerov1.BackupSpec)) velerov1.BackupSpec {
	spec := velerov1.BackupSpec{IncludedNamespaces: []string{d.app}}
	for _, change := range changes {
		change(&spec)
	}
	return spec
}

// infos reads the volumeinfo object, by claim.
func (f *fixture) infos(name string) map[string]volume.Info {
	f.t.Helper()
	var list []volume.Info
	f.side(name, "volumeinfo.json.gz", &list)
	infos := map[string]volume.Info{}
	for _, info := range list {
		infos[info.PVCName] = info
	}
	if len(infos) != len(list) {
		f.t.Errorf("%d elements about %d claims", len(list), len(infos))
	}
	return infos
}

// stored reads an object of the archive.
func (f *fixture) stored(backup, resource, name string, into any) {
	f.t.Helper()
	for _, o := range f.objects(backup) {
		if o.resource == resource && o.name == name {
			if err := json.Unmarshal(o.body, into); err != nil {
				f.t.Fatal(err)
			}
			return
		}
	}
	f.t.Fatalf("the archive has no %s %s", resource, name)
}

// objectsLeft are the snapshot objects of the fixture that the cluster has.
func (d driven) objectsLeft() (left []string) {
	d.t.Helper()
	for _, gvr := range []schema.GroupVersionResource{snapshotsV1, contentsV1} {
		list, err := d.dynamic.Resource(gvr).List(d.t.Context(), metav1.ListOptions{})
		if err != nil {
			d.t.Fatal(err)
		}
		for _, obj := range list.Items {
			driver, _, err := unstructured.NestedString(obj.Object, "spec", "driver")
			if err == nil && (obj.GetNamespace() == d.app || driver == d.Driver) {
				left = append(left, gvr.Resource+"/"+obj.GetName())
			}
		}
	}
	return left
}

// expectNoObjects checks that there are none.
func (d driven) expectNoObjects() {
	d.t.Helper()
	if left := d.objectsLeft(); len(left) > 0 {
		d.t.Errorf("the cluster has %q", left)
	}
}

// expectSnapshots checks what is in the driver's store.
func (d driven) expectSnapshots(n int) {
	d.t.Helper()
	if got := d.Snapshots(d.t); len(got) != n {
		d.t.Errorf("the driver has snapshots %q, want %d", got, n)
	}
}

// checkSnapshot checks what is stored of one claim's snapshot.
func (d driven) checkSnapshot(backup, claim string, info volume.Info) {
	d.t.Helper()
	if info.Method != volume.CSISnapshot || info.Result != volume.Succeeded || info.Skipped || !info.PreserveLocalSnapshot || info.SnapshotDataMoved || info.Decision == "" ||
		info.PVName != "pv-"+d.app+"-"+claim || info.PVCNamespace != d.app || info.StartTimestamp == nil || info.CompletionTimestamp == nil || info.PV.ReclaimPolicy != "Delete" {
		d.t.Errorf("info %+v", info)
	}
	if info.CSI == nil || info.CSI.Driver != d.Driver || info.CSI.ReadyToUse == nil || !*info.CSI.ReadyToUse || info.CSI.Size == 0 || !slices.Contains(d.Snapshots(d.t), info.CSI.SnapshotHandle) {
		d.t.Fatalf("info.CSI %+v; the driver has %q", info.CSI, d.Snapshots(d.t))
	}
	var pvc corev1.PersistentVolumeClaim
	d.stored(backup, "persistentvolumeclaims", claim, &pvc)
	name := pvc.Annotations[velerov1.VolumeSnapshotNameLabel]
	if info.CSI.GroupHandle == "" && !strings.HasPrefix(name, "velero-"+claim+"-") || pvc.Labels[velerov1.VolumeSnapshotNameLabel] != velerov1.ValidName(name) || pvc.Labels[velerov1.BackupNameLabel] != backup {
		d.t.Errorf("claim %+v", pvc.ObjectMeta)
	}
	var vs snapshotv1.VolumeSnapshot
	d.stored(backup, "volumesnapshots.snapshot.storage.k8s.io", name, &vs)
	if vs.Annotations["velero.io/csi-volumesnapshot-handle"] != info.CSI.SnapshotHandle || vs.Annotations["velero.io/csi-driver-name"] != d.Driver ||
		*vs.Status.BoundVolumeSnapshotContentName != info.CSI.ContentName || !*vs.Status.ReadyToUse {
		d.t.Errorf("snapshot %+v", vs)
	}
	var vsc snapshotv1.VolumeSnapshotContent
	d.stored(backup, "volumesnapshotcontents.snapshot.storage.k8s.io", info.CSI.ContentName, &vsc)
	if *vsc.Status.SnapshotHandle != info.CSI.SnapshotHandle || vsc.Labels[velerov1.BackupNameLabel] != backup {
		d.t.Errorf("content %+v", vsc)
	}
}

func (f *fixture) checkMarkerLocations(name string, want []string) {
	f.t.Helper()
	var marker velerov1.Backup
	if err := json.Unmarshal(f.object("backups/"+name+"/velero-backup.json"), &marker); err != nil {
		f.t.Fatal(err)
	}
	if diff := cmp.Diff(want, marker.Spec.VolumeSnapshotLocations); diff != "" {
		f.t.Errorf("snapshot locations (-want +got):\n%s", diff)
	}
}

// annotate gives a pod annotations.
func (f *fixture) annotate(pod, annotations string) {
	f.t.Helper()
	patch := []byte(`{"metadata":{"annotations":` + annotations + `}}`)
	if _, err := f.dynamic.Resource(podsV1).Namespace(f.app).Patch(f.t.Context(), pod, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		f.t.Fatal(err)
	}
}
