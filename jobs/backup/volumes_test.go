package backup

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

var began = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

func csiVolume(name string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"l": "v"}}, Spec: corev1.PersistentVolumeSpec{
		PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "d.example.com"}},
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete, ClaimRef: &corev1.ObjectReference{Namespace: "shop", Name: "claim-" + name},
	}}
}

func decided(name string, method volume.Method) *savedVolume {
	d := volume.Decision{Method: method, Why: "because"}
	if method == volume.Skipped {
		d.Approach, d.Reason = volume.ByDisk, "no applicable volumesnapshotter found"
	}
	s := newSavedVolume(ref.Object{}, csiVolume(name), nil, d)
	if method == volume.CSISnapshot {
		s.info.CSI = &volume.CSIInfo{Driver: "d.example.com"}
	}
	return s
}

func taken(name string) *csi.Snapshot {
	ready := true
	return &csi.Snapshot{
		Namespace: "shop", Name: "vs-" + name, Content: "vsc-" + name, Handle: "handle-" + name, RestoreSize: 1 << 30, Ready: &ready,
		Started: began, Ended: &began,
	}
}

// fourVolumes are a skipped one, a disk's, a driver's, and a driver's that failed
// after its snapshot was cut.
func fourVolumes() *volumes {
	v := newVolumes()
	good, bad, disk := decided("good", volume.CSISnapshot), decided("bad", volume.CSISnapshot), decided("disk", volume.NativeSnapshot)
	good.noteCSI(taken("good"))
	good.succeeded(&began)
	bad.noteCSI(taken("bad"))
	bad.failed(errors.New("never ready"))
	iops := int64(100)
	disk.disk = &volume.Snapshot{Spec: volume.SnapshotSpec{VolumeType: "gp3", VolumeAZ: "z", VolumeIOPS: &iops}, Status: volume.SnapshotStatus{ProviderSnapshotID: "snap-1", Phase: volume.SnapshotCompleted}}
	disk.noteDisk()
	disk.succeeded(&began)
	for _, s := range []*savedVolume{good, bad, disk, decided("skipped", volume.Skipped)} {
		v.add(s)
	}
	return v
}

func TestVolumeRecords(t *testing.T) {
	t.Parallel()
	v := fourVolumes()
	var got []string
	for _, info := range v.infos() {
		if info.PVCName != "claim-"+info.PVName || info.PVCNamespace != "shop" || info.PV.ReclaimPolicy != "Delete" || info.PV.Labels["l"] != "v" || info.Decision != "because" {
			t.Errorf("info %+v", info)
		}
		line := fmt.Sprintf("%s %s skipped=%v%s result=%s", info.PVName, info.Method, info.Skipped, info.SkippedReason, info.Result)
		if info.CSI != nil {
			line += fmt.Sprintf(" %s %s %d local=%v", info.CSI.SnapshotHandle, info.CSI.ContentName, info.CSI.Size, info.PreserveLocalSnapshot)
		}
		if info.Native != nil {
			line += fmt.Sprintf(" %s %s %s", info.Native.SnapshotHandle, info.Native.IOPS, info.Native.Phase)
		}
		got = append(got, line)
	}
	want := []string{
		"skipped  skipped=truevolumeSnapshot: no applicable volumesnapshotter found; result=",
		"disk NativeSnapshot skipped=false result=succeeded snap-1 100 Completed",
		"bad CSISnapshot skipped=false result=failed handle-bad vsc-bad 1073741824 local=true",
		"good CSISnapshot skipped=false result=succeeded handle-good vsc-good 1073741824 local=true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("infos (-want +got):\n%s", diff)
	}
	if disks := v.disks(); len(disks) != 1 || disks[0].Status.ProviderSnapshotID != "snap-1" {
		t.Errorf("disks %+v", disks)
	}
	if none := newVolumes(); none.disks() != nil || len(none.infos()) != 0 || none.infos() == nil {
		t.Errorf("without volumes: %v, %v", none.disks(), none.infos())
	}
}

func TestSnapshotCounts(t *testing.T) {
	t.Parallel()
	var got velerov1.BackupStatus
	v := fourVolumes()
	early := decided("early", volume.CSISnapshot) // failed before it was cut: no operation
	early.failed(errors.New("no"))
	v.add(early)
	v.status(&got)
	want := velerov1.BackupStatus{
		VolumeSnapshotsAttempted: 1, VolumeSnapshotsCompleted: 1, CSIVolumeSnapshotsAttempted: 3, CSIVolumeSnapshotsCompleted: 1,
		BackupItemOperationsAttempted: 2, BackupItemOperationsCompleted: 1, BackupItemOperationsFailed: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestItemOperations(t *testing.T) {
	t.Parallel()
	o := &operation{backup: &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: "b", UID: "u"}}, volumes: fourVolumes()}
	var good volume.Operation
	operations := o.itemOperations()
	for _, op := range operations {
		if op.Spec.ResourceIdentifier.Name == "vs-good" {
			good = op
		} else if op.Status.Phase != volume.OperationFailed || op.Status.Error != "never ready" {
			t.Errorf("operation %+v", op)
		}
	}
	object := volume.Identifier{Group: "snapshot.storage.k8s.io", Resource: "volumesnapshots", Namespace: "shop", Name: "vs-good"}
	want := volume.Operation{
		Spec: volume.OperationSpec{
			BackupName: "b", BackupUID: "u", BackupItemAction: "velero.io/csi-volumesnapshot-backupper", OperationID: "shop/vs-good/" + began.UTC().Format(time.RFC3339), ResourceIdentifier: object,
			PostOperationItems: []volume.Identifier{object, {Group: "snapshot.storage.k8s.io", Resource: "volumesnapshotcontents", Name: "vsc-good"}},
		},
		Status: volume.OperationStatus{Phase: volume.OperationCompleted, Created: &began, Started: &began, Updated: &began},
	}
	if diff := cmp.Diff(want, good); diff != "" || len(operations) != 2 {
		t.Errorf("%d operations (-want +got):\n%s", len(operations), diff)
	}
}

func TestPodsClaimsToBeSavedByFiles(t *testing.T) {
	t.Parallel()
	pod, err := readPod(cluster.Object{Raw: []byte(`{"metadata":{"annotations":{"backup.velero.io/backup-volumes":"d,scratch,nosuch, e"}},
		"spec":{"volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"data"}},{"name":"e","persistentVolumeClaim":{"claimName":"more"}},{"name":"scratch","emptyDir":{}}]}}`)})
	if err != nil {
		t.Fatal(err)
	}
	n := newNeeds()
	n.byFiles(place{"shop", "web"}, pod)
	want := map[place]volume.PodVolume{{"shop", "data"}: {Pod: "shop/web", Volume: "d"}} // " e" has a blank: Velero doesn't take it off
	if diff := cmp.Diff(want, n.fsClaims, cmp.AllowUnexported(place{})); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestGroupsExtendClaims(t *testing.T) {
	t.Parallel()
	a, b, c, other := place{"shop", "a"}, place{"shop", "b"}, place{"shop", "c"}, place{"shop", "other"}
	in := place{"shop", "db"}
	g := groups{of: map[place]place{a: in, b: in, c: in}, members: map[place][]place{in: {a, b, c}}}
	if diff := cmp.Diff([]place{other, b, a, c}, g.extend([]place{other, b}), cmp.AllowUnexported(place{})); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if got := (groups{}).extend([]place{other}); len(got) != 1 {
		t.Errorf("without groups: %v", got)
	}
}
