package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
)

// volume is a bound CSI volume of class fast and 10Gi with a claim; change
// makes it another.
func volume(change ...func(*policy.Volume)) policy.Volume {
	class := "fast"
	v := policy.Volume{
		PV: &corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			StorageClassName: class,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: "ebs.csi.aws.com", VolumeAttributes: map[string]string{"tier": "gold", "iops": "3000"},
			}},
		}},
		PVC: &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"environment": "production", "team": "web"}},
			Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: &class},
			Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
		},
	}
	for _, c := range change {
		c(&v)
	}
	return v
}

func size(text string) func(*policy.Volume) {
	return func(v *policy.Volume) { v.PV.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse(text) }
}

func class(name string) func(*policy.Volume) {
	return func(v *policy.Volume) { v.PV.Spec.StorageClassName = name }
}

func source(s corev1.PersistentVolumeSource) func(*policy.Volume) {
	return func(v *policy.Volume) { v.PV.Spec.PersistentVolumeSource = s }
}

func nfs(server, path string) func(*policy.Volume) {
	return source(corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: server, Path: path}})
}

// unbound is a claim without a volume.
func unbound(phase corev1.PersistentVolumeClaimPhase) func(*policy.Volume) {
	return func(v *policy.Volume) { v.PV, v.PVC.Status.Phase = nil, phase }
}

// noClaim is a volume without a claim, like one that was released.
func noClaim(v *policy.Volume) { v.PVC = nil }

// inline is a volume that is a pod's alone.
func inline(s corev1.VolumeSource) policy.Volume {
	return policy.Volume{Pod: &corev1.Volume{Name: "data", VolumeSource: s}}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	emptyDir := inline(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	configMap := inline(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}})
	ephemeral := inline(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}})
	inlineCSI := inline(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets.csi", VolumeAttributes: map[string]string{"a": "b"}}})
	inlineNFS := inline(corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "a", Path: "/x"}})
	oldClass := volume(unbound(corev1.ClaimPending), func(v *policy.Volume) {
		v.PVC.Spec.StorageClassName = nil
		v.PVC.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: "fast"}
	})
	for _, c := range []struct {
		name, conditions string
		volume           policy.Volume
		want             bool
	}{
		{"no conditions", "{}", volume(), true},
		{"no conditions, pod volume", "{}", emptyDir, true},
		{"null conditions", "", volume(), true},

		{"capacity within", `{capacity: "5Gi,20Gi"}`, volume(), true},
		{"capacity: the bounds belong to it", `{capacity: "10Gi,10Gi"}`, volume(), true},
		{"capacity below", `{capacity: "11Gi,20Gi"}`, volume(), false},
		{"capacity above", `{capacity: "1Gi,9Gi"}`, volume(), false},
		{"capacity: no lower bound", `{capacity: ",10Gi"}`, volume(), true},
		{"capacity: no upper bound", `{capacity: "10Gi,"}`, volume(), true},
		{"capacity: 0 as upper bound is open", `{capacity: "10Gi,0"}`, volume(size("10Ti")), true},
		{"capacity: no bounds", `{capacity: ","}`, volume(), true},
		{"capacity: other units and spaces", `{capacity: "10737418240 , 1e12"}`, volume(), true},
		{"capacity of a pod's volume is 0: bounded below", `{capacity: "1,5Gi"}`, emptyDir, false},
		{"capacity of a pod's volume is 0", `{capacity: "0,5Gi"}`, emptyDir, true},
		{"capacity of an unbound claim is 0", `{capacity: "1,"}`, volume(unbound(corev1.ClaimPending)), false},

		{"storageClass", `{storageClass: [slow, fast]}`, volume(), true},
		{"storageClass: exact", `{storageClass: [fas, faster, "*", Fast]}`, volume(), false},
		{"storageClass: none", `{storageClass: [""]}`, volume(class("")), false},
		{"storageClass of a pod's volume", `{storageClass: [fast]}`, emptyDir, false},
		{"storageClass of an unbound claim", `{storageClass: [fast], pvcPhase: [Pending]}`, volume(unbound(corev1.ClaimPending)), true},
		{"storageClass of an unbound claim, old annotation", `{storageClass: [fast]}`, oldClass, true},
		{"storageClass: the volume's, not the claim's", `{storageClass: [fast]}`, volume(class("slow")), false},
		{"storageClass: empty list", `{storageClass: []}`, volume(), true},

		{"nfs: any", `{nfs: {}}`, volume(nfs("a", "/x")), true},
		{"nfs: server", `{nfs: {server: a}}`, volume(nfs("a", "/x")), true},
		{"nfs: server and path", `{nfs: {server: a, path: /x}}`, volume(nfs("a", "/x")), true},
		{"nfs: another path", `{nfs: {server: a, path: /y}}`, volume(nfs("a", "/x")), false},
		{"nfs: another server", `{nfs: {server: b}}`, volume(nfs("a", "/x")), false},
		{"nfs: another source", `{nfs: {}}`, volume(), false},
		{"nfs of a pod", `{nfs: {path: /x}}`, inlineNFS, true},
		{"nfs of a pod: another server", `{nfs: {server: b}}`, inlineNFS, false},

		{"csi: any", `{csi: {}}`, volume(), true},
		{"csi: driver", `{csi: {driver: ebs.csi.aws.com}}`, volume(), true},
		{"csi: another driver", `{csi: {driver: disk.csi.azure.com}}`, volume(), false},
		{"csi: some attributes", `{csi: {driver: ebs.csi.aws.com, volumeAttributes: {tier: gold}}}`, volume(), true},
		{"csi: attributes without quotes", `{csi: {driver: ebs.csi.aws.com, volumeAttributes: {iops: 3000}}}`, volume(), true},
		{"csi: another attribute", `{csi: {driver: ebs.csi.aws.com, volumeAttributes: {tier: gold, zone: a}}}`, volume(), false},
		{"csi: another value", `{csi: {driver: ebs.csi.aws.com, volumeAttributes: {tier: iron}}}`, volume(), false},
		{"csi: another source", `{csi: {}}`, volume(nfs("a", "/x")), false},
		{"csi of a pod", `{csi: {driver: secrets.csi, volumeAttributes: {a: b}}}`, inlineCSI, true},
		{"csi of an unbound claim", `{csi: {}}`, volume(unbound(corev1.ClaimPending)), false},

		{"volumeTypes", `{volumeTypes: [nfs, csi]}`, volume(), true},
		{"volumeTypes: others", `{volumeTypes: [nfs, local]}`, volume(), false},
		{"volumeTypes: unknown", `{volumeTypes: [floppy]}`, volume(), false},
		{"volumeTypes of a pod", `{volumeTypes: [emptyDir]}`, emptyDir, true},
		{"volumeTypes as the code has it", `{volumeTypes: [configMap]}`, configMap, true},
		{"volumeTypes as the documentation has it", `{volumeTypes: [configmap]}`, configMap, true},
		{"volumeTypes: ephemeral", `{volumeTypes: [ephemeral]}`, ephemeral, true},
		{"volumeTypes: storageOS", `{volumeTypes: [storageOS]}`, volume(source(corev1.PersistentVolumeSource{StorageOS: &corev1.StorageOSPersistentVolumeSource{}})), true},
		{"volumeTypes of an unbound claim", `{volumeTypes: [csi]}`, volume(unbound(corev1.ClaimLost)), false},

		{"pvcLabels: some", `{pvcLabels: {environment: production}}`, volume(), true},
		{"pvcLabels: all", `{pvcLabels: {environment: production, team: web}}`, volume(), true},
		{"pvcLabels: one is missing", `{pvcLabels: {environment: production, app: frontend}}`, volume(), false},
		{"pvcLabels: another value", `{pvcLabels: {environment: test}}`, volume(), false},
		{"pvcLabels without a claim", `{pvcLabels: {environment: production}}`, volume(noClaim), false},
		{"pvcLabels of an unbound claim", `{pvcLabels: {environment: production}}`, volume(unbound(corev1.ClaimPending)), true},
		{"pvcLabels: none", `{pvcLabels: {}}`, volume(noClaim), true},

		{"pvcPhase", `{pvcPhase: [Bound]}`, volume(), true},
		{"pvcPhase: pending", `{pvcPhase: [Pending, Lost]}`, volume(unbound(corev1.ClaimPending)), true},
		{"pvcPhase: lost", `{pvcPhase: [Pending, Lost]}`, volume(unbound(corev1.ClaimLost)), true},
		{"pvcPhase: another", `{pvcPhase: [Pending, Lost]}`, volume(), false},
		{"pvcPhase without a claim", `{pvcPhase: [Bound]}`, volume(noClaim), false},

		{"all must hold", `{storageClass: [fast], capacity: "20Gi,"}`, volume(), false},
		{"all hold", `{storageClass: [fast], capacity: "5Gi,", csi: {}, volumeTypes: [csi], pvcPhase: [Bound], pvcLabels: {team: web}}`, volume(), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := policy.Parse([]byte("version: v1\nvolumePolicies:\n- conditions: " + c.conditions + "\n  action: {type: skip}\n"))
			if err != nil {
				t.Fatal(err)
			}
			if _, got := p.Match(c.volume); got != c.want {
				t.Errorf("matches: %v, want %v", got, c.want)
			}
		})
	}
}

func TestFirstMatchingPolicyWins(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse([]byte(`
version: v1
volumePolicies:
- conditions: {storageClass: [slow]}
  action: {type: skip}
- conditions: {pvcLabels: {environment: production}}
  action: {type: fs-backup}
- conditions:
    csi: {}
  action: {type: snapshot}
- conditions: {nfs: {}}
  action:
    type: custom
    parameters: {by: storage-team, retries: 3, nested: {a: [1, b]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		volume policy.Volume
		want   *policy.Action
	}{
		{"the first that matches", volume(), &policy.Action{Type: policy.FSBackup}},
		{"an earlier one", volume(class("slow")), &policy.Action{Type: policy.Skip}},
		{"a later one", volume(noClaim), &policy.Action{Type: policy.Snapshot}},
		{"with parameters", volume(noClaim, nfs("a", "/")), &policy.Action{Type: policy.Custom, Parameters: map[string]any{
			"by": "storage-team", "retries": 3, "nested": map[string]any{"a": []any{1, "b"}},
		}}},
		{"none", inline(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, ok := p.Match(c.volume)
			if ok != (c.want != nil) {
				t.Fatalf("matches: %v", ok)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if !p.HasVolumePolicies() || p.HasFilters() || p.Warnings() != nil {
		t.Error("there are volume policies, and nothing else")
	}
}

// A claim without a volume is fine when a policy matches it; without, it is for
// the caller to say that it can't decide.
func TestUnboundClaims(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse([]byte("version: v1\nvolumePolicies:\n- conditions: {pvcPhase: [Pending]}\n  action: {type: skip}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if action, ok := p.Match(volume(unbound(corev1.ClaimPending))); !ok || action.Type != policy.Skip {
		t.Errorf("pending: %v %v", action, ok)
	}
	if action, ok := p.Match(volume(unbound(corev1.ClaimLost))); ok {
		t.Errorf("lost: %v", action)
	}
}

func TestNilPolicies(t *testing.T) {
	t.Parallel()
	var p *policy.Policies
	if _, ok := p.Match(volume()); ok || p.HasFilters() || p.HasVolumePolicies() || p.Warnings() != nil || p.WrongScope(resolve) != nil {
		t.Error("nil stands for no policies")
	}
}

func TestUnknownVolumeTypeWarns(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse([]byte("version: v1\nvolumePolicies:\n- conditions:\n    volumeTypes:\n    - emptyDir\n    - EMPTYDIR\n    - nsf\n  action: {type: skip}\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(p.Warnings(), "\n")
	if want := `line 7, column 7: volumePolicies[0].conditions.volumeTypes[2]: "nsf" is no type of volumes, so it matches none; the types are `; !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
		t.Errorf("warnings %q", got)
	}
}

func TestFromConfigMap(t *testing.T) {
	t.Parallel()
	good := map[string]string{"any-name.yaml": "version: v1\nvolumePolicies: []\n"}
	for _, c := range []struct {
		name string
		cm   corev1.ConfigMap
		want string
	}{
		{"one key", corev1.ConfigMap{Data: good}, ""},
		{"no key", corev1.ConfigMap{}, `ConfigMap "p": policies must be in a single key, of any name, and it has 0 keys; hint: kubectl create configmap`},
		{"two keys", corev1.ConfigMap{Data: map[string]string{"b": "", "a": ""}}, "it has 2 keys (a, b); hint: use a ConfigMap for each"},
		{"binary", corev1.ConfigMap{BinaryData: map[string][]byte{"a": {1}}}, "binaryData (a) can't hold policies"},
		{"both", corev1.ConfigMap{Data: good, BinaryData: map[string][]byte{"a": {1}}}, "binaryData (a) can't hold policies"},
		{"bad text", corev1.ConfigMap{Data: map[string]string{"a.yaml": "version: v2"}}, `ConfigMap "p", key "a.yaml", line 1, column 10: version: "v2" is unknown; hint: write version: v1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.cm.Name = "p"
			p, err := policy.FromConfigMap(&c.cm)
			if c.want == "" {
				if err != nil || p == nil {
					t.Fatal(p, err)
				}
				return
			}
			var invalid *policy.ValidationError
			if !errors.As(err, &invalid) || p != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestAsksFor(t *testing.T) {
	t.Parallel()
	policies, err := policy.Parse([]byte("version: v1\nvolumePolicies:\n- conditions: {}\n  action: {type: skip}\n- conditions: {}\n  action: {type: snapshot}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var none *policy.Policies
	for action, want := range map[policy.ActionType]bool{policy.Skip: true, policy.Snapshot: true, policy.FSBackup: false} {
		if got := policies.AsksFor(action); got != want || none.AsksFor(action) {
			t.Errorf("AsksFor(%s) = %t, without policies %t", action, got, none.AsksFor(action))
		}
	}
}
