package restore

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// Two claims of the backup may become one of the cluster: the one that was made is
// waited for, and the snapshot of the other isn't forgotten.
func TestClaimsThatBecomeOne(t *testing.T) {
	t.Parallel()
	place := ref.Object{Resource: claimsV1, Namespace: "x", Name: "data"}
	var all claims
	all.settle(result{action: actionCreated, claim: &claim{place: place, snapshot: "of-a"}})
	all.settle(result{action: actionFailed, claim: &claim{place: place, snapshot: "of-b"}})
	got := map[string]bool{}
	for _, c := range all.list() {
		got[c.snapshot] = c.created
	}
	if diff := cmp.Diff(map[string]bool{"of-a": true, "of-b": false}, got); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
}

func TestVolumeThatWasNotMadeForTheClaim(t *testing.T) {
	t.Parallel()
	csi := func(driver string) corev1.PersistentVolumeSource {
		return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver}}
	}
	for name, tc := range map[string]struct {
		driver string
		source corev1.PersistentVolumeSource
		found  bool
		ok     bool
	}{
		"of the driver":       {"d.example.com", csi("D.example.com"), false, true},
		"of another":          {"d.example.com", csi("e.example.com"), false, false},
		"of no driver":        {"d.example.com", corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{}}, false, false},
		"driver unknown":      {"", csi("e.example.com"), false, true},
		"of no driver at all": {"", corev1.PersistentVolumeSource{}, false, false},
		"was there before":    {"d.example.com", csi("d.example.com"), true, false},
	} {
		pv := &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: tc.source}}
		if tc.found {
			pv.Annotations = map[string]string{boundByController: "yes"}
		}
		err := madeFor(tc.driver, pv)
		if got := err == nil; got != tc.ok || err != nil && !strings.Contains(err.Error(), "hint: delete the claim") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where somebody else would make a volume, and an empty one, nobody may.
func TestClaimThatOthersWouldFill(t *testing.T) {
	t.Parallel()
	o := fixtureOperation(t, velerov1.RestoreSpec{})
	o.snapshots = newSnapshots(o)
	o.snapshots.storage["right"] = func() (string, error) { return "d.example.com", nil }
	o.snapshots.storage["local"] = func() (string, error) { return "rancher.io/local-path", nil }
	o.snapshots.defaults[""] = func() (storageClass, error) { return storageClass{}, errNoDefault }
	o.snapshots.of[o.snapshotName("shop", "snap")] = "d.example.com"
	for class, want := range map[string]bool{`"right"`: false, `"local"`: true, `""`: false, "null": true} {
		obj, err := transform.Parse([]byte(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data","namespace":"shop"},"spec":{"storageClassName":` + class + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		// The fixture's cluster serves no snapshots: an obstacle for each.
		r := o.noteClaim(t.Context(), obj, claimPlace("shop", "data"), "snap", result{})
		spec, err := obj.Edit("spec")
		if err != nil {
			t.Fatal(err)
		}
		name, _ := spec["volumeName"].(string)
		if !r.claim.obstacle || len(r.errors) != 1 || r.claim.driver != "d.example.com" || strings.HasPrefix(name, "not-restored-") != want {
			t.Errorf("class %s: claim %+v, errors %v, volumeName %q", class, r.claim, r.errors, name)
		}
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{}
	pod.Name = "db-0"
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "a", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
		{Name: "c", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	if diff := cmp.Diff([]string{"data", "db-0-scratch"}, mounts(pod)); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	pod.Status.Phase = corev1.PodSucceeded
	if got := mounts(pod); len(got) > 0 {
		t.Errorf("a pod that has ended mounts %v", got)
	}
}
