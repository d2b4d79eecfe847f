package restore

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// A claim that lost its labels is waited for as long as a pod that waits mounts it.
func TestClaimWithoutLabelsThatAPodUses(t *testing.T) {
	t.Parallel()
	const class, snapshot = "late", "snap"
	pvc := func(name string) *corev1.PersistentVolumeClaim {
		group, late := transform.VolumeSnapshots.Group, class
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: &late, DataSource: &corev1.TypedLocalObjectReference{APIGroup: &group, Kind: "VolumeSnapshot", Name: snapshot},
			},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db-0"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "used"}}}}
	o := fixtureOperation(t, velerov1.RestoreSpec{})
	o.Kube = fake.NewClientset(pvc("used"), pvc("unused"), pod)
	o.snapshots, o.groups = newSnapshots(o), newGroups(o)
	waiting := map[ref.Object]*claim{}
	for _, name := range []string{"used", "unused", "deleted"} {
		place := ref.Object{Resource: claimsV1, Kind: "PersistentVolumeClaim", Namespace: "shop", Name: name}
		waiting[place] = &claim{place: place, snapshot: snapshot, created: true}
	}
	o.meetVolumes(t.Context(), waiting, map[ref.Object]*corev1.PersistentVolumeClaim{}, map[string]bool{class: true}, true)
	var left []string
	for place := range waiting {
		left = append(left, place.Name)
	}
	if diff := cmp.Diff([]string{"used"}, left); diff != "" {
		t.Errorf("claims that are waited for (-want +got):\n%s", diff)
	}
	if o.report.Warnings() != 1 || o.report.Errors() != 1 {
		t.Errorf("results %+v, want a warning about one and an error about another", o.report.Results())
	}
}

// As long as a storage class of the backup may come through, a claim that has none
// waits for it, and then takes it.
func TestClaimWaitsForTheStorageClassesOfTheBackup(t *testing.T) {
	t.Parallel()
	const driver = "d.example.com"
	for name, spec := range map[string]string{"default": `{}`, "named": `{"storageClassName":"standard"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			o := fixtureOperation(t, velerov1.RestoreSpec{})
			o.Kube, o.snapshots = fake.NewClientset(), newSnapshots(o)
			o.served = servedBy(t, map[string][]metav1.APIResource{"snapshot.storage.k8s.io/v1": {
				{Name: "volumesnapshots", Kind: "VolumeSnapshot", Namespaced: true}, {Name: "volumesnapshotcontents", Kind: "VolumeSnapshotContent"},
			}})
			o.snapshots.drivers[driver] = func() (bool, error) { return true, nil }
			o.snapshots.of[o.snapshotName("shop", "snap")] = driver
			note := func() result {
				obj, err := transform.Parse([]byte(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data","namespace":"shop"},"spec":` + spec + `}`))
				if err != nil {
					t.Fatal(err)
				}
				return o.noteClaim(ctx, obj, claimPlace("shop", "data"), "snap", result{})
			}
			o.queue.add(waiting{item: archive.Item{Resource: storageClassKind, Name: "standard"}})
			if r := note(); r.retry == nil || len(r.errors) > 0 || r.claim.obstacle {
				t.Errorf("while the class waits: %+v", r)
			}
			o.queue.take()
			class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "standard", Annotations: map[string]string{defaultMarks[0]: "true"}}, Provisioner: driver}
			if _, err := o.Kube.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if r := note(); r.retry != nil || len(r.errors) > 0 || r.claim.obstacle {
				t.Errorf("when the class is there: %+v", r)
			}
			// Where none may come, that is said.
			o.Kube = fake.NewClientset()
			o.snapshots.forgetClasses()
			if r := note(); r.retry != nil || len(r.errors) != 1 || !r.claim.obstacle {
				t.Errorf("when no class comes: %+v", r)
			}
		})
	}
}

// Only contents that were made are looked after.
func TestGroupsThatStand(t *testing.T) {
	t.Parallel()
	g := newGroups(nil)
	g.made = map[string]*standIn{"b": {done: true}, "a": {done: true}, "refused": {done: true, err: errNoDefault}, "tried": {err: errNoDefault}, "new": {}}
	if got := g.standing(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("standing: %v", got)
	}
}
