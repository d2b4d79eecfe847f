//go:build integration

package testenv_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	groups "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumegroupsnapshot/v1beta2"
	snapshots "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// csiWorld is a driver and a namespace of the test's own.
type csiWorld struct {
	*testing.T
	*testenv.CSI
	kube      kubernetes.Interface
	snapshots snapshotclient.Interface
	namespace string
}

func newCSIWorld(t *testing.T, options testenv.CSIOptions) csiWorld {
	t.Helper()
	t.Parallel()
	return csiWorldAt(t, testenv.Kubeconfig(t), options)
}

func csiWorldAt(t *testing.T, kubeconfig string, options testenv.CSIOptions) csiWorld {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	client, err := snapshotclient.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "csi-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return csiWorld{T: t, CSI: testenv.StartCSI(t, kubeconfig, options), kube: kube, snapshots: client, namespace: namespace.Name}
}

// snapshot asks for a snapshot of a claim.
func (w csiWorld) snapshot(claim string) string {
	w.Helper()
	vs, err := w.snapshots.SnapshotV1().VolumeSnapshots(w.namespace).Create(w.Context(), &snapshots.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{GenerateName: claim + "-"},
		Spec: snapshots.VolumeSnapshotSpec{
			VolumeSnapshotClassName: &w.Driver, Source: snapshots.VolumeSnapshotSource{PersistentVolumeClaimName: &claim},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return vs.Name
}

// eventually looks at a snapshot until it is as wanted.
func (w csiWorld) eventually(name, what string, done func(*snapshots.VolumeSnapshotStatus) bool) {
	w.Helper()
	var status *snapshots.VolumeSnapshotStatus
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		vs, err := w.snapshots.SnapshotV1().VolumeSnapshots(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
		if err != nil {
			w.Fatal(err)
		}
		if status = vs.Status; status != nil && done(status) {
			return
		}
	}
	w.Fatalf("snapshot %s is never %s: %+v", name, what, status)
}

func ready(s *snapshots.VolumeSnapshotStatus) bool { return s.ReadyToUse != nil && *s.ReadyToUse }
func cut(s *snapshots.VolumeSnapshotStatus) bool   { return s.CreationTime != nil }

func (w csiWorld) restore(claim, snapshot string) testenv.CSIVolume {
	w.Helper()
	group := "snapshot.storage.k8s.io"
	_, err := w.kube.CoreV1().PersistentVolumeClaims(w.namespace).Create(w.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: claim},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &w.Driver,
			DataSource: &corev1.TypedLocalObjectReference{APIGroup: &group, Kind: "VolumeSnapshot", Name: snapshot},
			Resources:  corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return w.Claimed(w.T, w.namespace, claim)
}

func TestCSIRoundTrip(t *testing.T) {
	w := newCSIWorld(t, testenv.CSIOptions{Provisioner: true})
	v := w.Volume(t, w.namespace, "data", "1Mi", "app", "db")
	w.Write(t, v.Handle, "file", "first")
	name := w.snapshot("data")
	w.eventually(name, "ready", ready)
	w.Write(t, v.Handle, "file", "second")
	restored := w.restore("copy", name)
	if got := w.Read(t, restored.Handle, "file"); got != "first" {
		t.Errorf("the copy has %q", got)
	}
	if diff := cmp.Diff([]string{restored.Handle, v.Handle}, w.Volumes(t), cmp.Transformer("sorted", func(s []string) []string {
		return slices.Sorted(slices.Values(s))
	})); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
	if all := w.Snapshots(t); len(all) != 1 {
		t.Errorf("snapshots: %q", all)
	}
	var methods []string
	for _, call := range w.Calls(t) {
		if call.Method != "ListSnapshots" && call.Code == "OK" {
			methods = append(methods, call.Method)
		}
	}
	if diff := cmp.Diff([]string{"CreateSnapshot", "CreateVolume"}, slices.Compact(methods)); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if err := w.snapshots.SnapshotV1().VolumeSnapshots(w.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.gone()
}

// gone waits until the driver has no snapshot.
func (w csiWorld) gone() {
	w.Helper()
	for end := time.Now().Add(time.Minute); len(w.Snapshots(w.T)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("snapshots are left: %q", w.Snapshots(w.T))
		}
	}
}

func TestCSIFaults(t *testing.T) {
	w := newCSIWorld(t, testenv.CSIOptions{})
	for i := range 3 {
		w.Volume(t, w.namespace, fmt.Sprintf("data%d", i), "1Mi")
	}
	w.Fault(t,
		testenv.CSIFault{Method: "CreateSnapshot", ID: "data0$", Code: "ResourceExhausted", Message: "the quota is used up"},
		testenv.CSIFault{ID: "data1$", NotReady: -1},
	)
	refused, unready, fine := w.snapshot("data0"), w.snapshot("data1"), w.snapshot("data2")
	w.eventually(fine, "ready", ready)
	w.eventually(unready, "cut", cut)
	w.eventually(refused, "refused", func(s *snapshots.VolumeSnapshotStatus) bool { return s.Error != nil })
	w.Fault(t)
	w.RestartController(t)
	w.eventually(unready, "ready", ready)
	w.eventually(refused, "ready", ready)
	w.Fault(t, testenv.CSIFault{Method: "DeleteSnapshot", Code: "FailedPrecondition", Message: "it is in use"})
	if err := w.snapshots.SnapshotV1().VolumeSnapshots(w.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	w.refused("DeleteSnapshot", 3)
	if all := w.Snapshots(t); len(all) != 3 {
		t.Errorf("of 3 snapshots in use there are left: %q", all)
	}
	w.Fault(t)
	w.gone()
}

// refused waits until the driver has refused so many calls of a method.
func (w csiWorld) refused(method string, n int) {
	w.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		seen := 0
		for _, call := range w.Calls(w.T) {
			if call.Method == method && call.Code != "OK" {
				seen++
			}
		}
		if seen >= n {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("the driver has refused %d calls of %s", seen, method)
		}
	}
}

func TestCSIDriverKilled(t *testing.T) {
	w := newCSIWorld(t, testenv.CSIOptions{})
	v := w.Volume(t, w.namespace, "data", "1Mi")
	w.KillDriver(t)
	name := w.snapshot("data")
	w.StartDriver(t)
	w.eventually(name, "ready", ready)
	if all := w.Snapshots(t); len(all) != 1 {
		t.Errorf("snapshots of %s: %q", v.Handle, all)
	}
}

func TestCSIGroup(t *testing.T) {
	w := newCSIWorld(t, testenv.CSIOptions{})
	for _, claim := range []string{"one", "two"} {
		w.Volume(t, w.namespace, claim, "1Mi", "group", "both")
	}
	w.Volume(t, w.namespace, "other", "1Mi")
	client := w.snapshots.GroupsnapshotV1beta2().VolumeGroupSnapshots(w.namespace)
	_, err := client.Create(t.Context(), &groups.VolumeGroupSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: "group"},
		Spec: groups.VolumeGroupSnapshotSpec{
			VolumeGroupSnapshotClassName: &w.Driver,
			Source:                       groups.VolumeGroupSnapshotSource{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"group": "both"}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var members []snapshots.VolumeSnapshot
	for end := time.Now().Add(time.Minute); len(members) != 2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the group has the snapshots %v", members)
		}
		list, err := w.snapshots.SnapshotV1().VolumeSnapshots(w.namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		members = list.Items
	}
	for _, member := range members {
		w.eventually(member.Name, "ready", ready)
	}
	w.groupHeld("group")
	if err := client.Delete(t.Context(), "group", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.gone()
}

// groupHeld waits until a group is ready and its content can't go before the driver
// has deleted the data: snapshot-controller sees to that a while after it made it.
func (w csiWorld) groupHeld(name string) {
	w.Helper()
	client := w.snapshots.GroupsnapshotV1beta2()
	held := func() bool {
		group, err := client.VolumeGroupSnapshots(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
		if err != nil {
			w.Fatal(err)
		}
		if s := group.Status; s == nil || s.BoundVolumeGroupSnapshotContentName == nil || s.ReadyToUse == nil || !*s.ReadyToUse {
			return false
		}
		content, err := client.VolumeGroupSnapshotContents().Get(w.Context(), *group.Status.BoundVolumeGroupSnapshotContentName, metav1.GetOptions{})
		if err != nil {
			w.Fatal(err)
		}
		return len(group.Finalizers) > 0 && len(content.Finalizers) > 0
	}
	for end := time.Now().Add(2 * time.Minute); !held(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("group %q isn't ready", name)
		}
	}
}

// A cluster that sees the storage of another one finds its snapshots there.
func TestCSISharedStorage(t *testing.T) {
	w := newCSIWorld(t, testenv.CSIOptions{})
	v := w.Volume(t, w.namespace, "data", "1Mi")
	w.Write(t, v.Handle, "file", "text")
	w.eventually(w.snapshot("data"), "ready", ready)
	handle := w.Snapshots(t)[0]

	other := csiWorldAt(t, testenv.OtherKubeconfig(t), testenv.CSIOptions{Provisioner: true, Storage: w.CSI})
	_, err := other.snapshots.SnapshotV1().VolumeSnapshotContents().Create(t.Context(), &snapshots.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: other.namespace},
		Spec: snapshots.VolumeSnapshotContentSpec{
			Driver: other.Driver, DeletionPolicy: snapshots.VolumeSnapshotContentRetain,
			Source:            snapshots.VolumeSnapshotContentSource{SnapshotHandle: &handle},
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: other.namespace, Name: "theirs"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.snapshots.SnapshotV1().VolumeSnapshots(other.namespace).Create(t.Context(), &snapshots.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Name: "theirs"},
		Spec:       snapshots.VolumeSnapshotSpec{Source: snapshots.VolumeSnapshotSource{VolumeSnapshotContentName: &other.namespace}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	other.eventually("theirs", "ready", ready)
	if got := other.Read(t, other.restore("copy", "theirs").Handle, "file"); got != "text" {
		t.Errorf("the copy has %q", got)
	}
}
