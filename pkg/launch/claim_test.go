package launch

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
)

// storage are a claim and its volume on two nodes, and a pod that uses the claim.
type storage struct {
	claim  *corev1.PersistentVolumeClaim
	volume *corev1.PersistentVolume
	pod    *corev1.Pod
	others []runtime.Object
}

func newStorage() *storage {
	once := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	return &storage{
		claim: &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "backups"},
			Spec:       corev1.PersistentVolumeClaimSpec{AccessModes: once, VolumeName: "pv"},
			Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
		},
		volume: &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: "pv"},
			Spec: corev1.PersistentVolumeSpec{
				AccessModes: once, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
				PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "disks"}},
			},
		},
		pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "shell"},
			Spec: corev1.PodSpec{NodeName: "node1", Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "backups"}}}}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning},
		},
		others: []runtime.Object{
			&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node2"}},
		},
	}
}

func (s *storage) cluster() *fake.Clientset {
	objects := s.others
	if s.claim != nil {
		objects = append(objects, s.claim)
	}
	return fake.NewClientset(append(objects, s.volume, s.pod)...)
}

func TestCheckClaim(t *testing.T) {
	t.Parallel()
	const held = `claim "backups", which holds the backups, is in use by pod "shell" on node "node1", and a volume with access mode ReadWriteOnce`
	cases := map[string]struct {
		change func(*storage)
		want   string
	}{
		"held":             {func(*storage) {}, held},
		"held, old driver": {func(s *storage) { s.volume.Spec.CSI, s.volume.Spec.ISCSI = nil, &corev1.ISCSIPersistentVolumeSource{} }, held},
		"missing":          {func(s *storage) { s.claim = nil }, `claim "backups", which is to hold the backups, does not exist in namespace "velero"; hint: create`},
		"being deleted":    {func(s *storage) { s.claim.DeletionTimestamp = ptr.To(metav1.Now()) }, "is being deleted"},
		"lost":             {func(s *storage) { s.claim.Status.Phase = corev1.ClaimLost }, `has lost its volume "pv"; hint:`},
		"one pod only": {func(s *storage) {
			s.claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
		},
			"ReadWriteOncePod allows no other; hint:"},

		"not held":        {func(s *storage) { s.pod.Spec.Volumes = nil }, ""},
		"another claim":   {func(s *storage) { s.pod.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = "x" }, ""},
		"pod ended":       {func(s *storage) { s.pod.Status.Phase = corev1.PodSucceeded }, ""},
		"pod nowhere yet": {func(s *storage) { s.pod.Spec.NodeName = "" }, ""},
		"pod elsewhere":   {func(s *storage) { s.pod.Namespace = "shop" }, ""},
		"our own":         {func(s *storage) { s.pod.Labels = map[string]string{claimLabel: "backups"} }, ""},
		"many nodes": {func(s *storage) {
			s.volume.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}, ""},
		"one node": {func(s *storage) { s.others = s.others[:1] }, ""},
		"NFS":      {func(s *storage) { s.volume.Spec.CSI, s.volume.Spec.NFS = nil, &corev1.NFSVolumeSource{} }, ""},
		"not attached": {func(s *storage) {
			s.others = append(s.others, &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "disks"}, Spec: storagev1.CSIDriverSpec{AttachRequired: ptr.To(false)}})
		}, ""},
		"not bound yet": {func(s *storage) { s.claim.Spec.VolumeName, s.claim.Status.Phase = "", corev1.ClaimPending }, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStorage()
			c.change(s)
			kube := s.cluster()
			err := CheckClaim(t.Context(), kube, "velero", inFolder())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			op := backupOperation()
			op.Location = inFolder()
			if _, started := Start(t.Context(), kube, Job(installed(), op)); (started == nil) != (err == nil) {
				t.Errorf("start: %v", started)
			}
		})
	}
}

func TestCheckClaimLeavesAloneWhatItMayNotSee(t *testing.T) {
	t.Parallel()
	for _, resource := range []string{"persistentvolumeclaims", "persistentvolumes", "pods"} {
		kube := newStorage().cluster()
		kube.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "x", nil)
		})
		if err := CheckClaim(t.Context(), kube, "velero", inFolder()); err != nil {
			t.Errorf("%s: %v", resource, err)
		}
	}
	kube := fake.NewClientset()
	if err := CheckClaim(t.Context(), kube, "velero", everything()); err != nil || len(kube.Actions()) > 0 {
		t.Errorf("without a claim: %v, %v", err, kube.Actions())
	}
}

func TestKeepVolume(t *testing.T) {
	t.Parallel()
	s := newStorage()
	kube := s.cluster()
	for range 2 {
		if err := KeepVolume(t.Context(), kube, "velero", inFolder()); err != nil {
			t.Fatal(err)
		}
	}
	volume, err := kube.CoreV1().PersistentVolumes().Get(t.Context(), "pv", metav1.GetOptions{})
	if err != nil || volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("%+v, %v", volume, err)
	}
	patches := 0
	for _, action := range kube.Actions() {
		if action.GetVerb() == "patch" {
			patches++
		}
	}
	if patches != 1 {
		t.Errorf("%d patches", patches)
	}

	s.claim.Spec.VolumeName = ""
	if err := KeepVolume(t.Context(), s.cluster(), "velero", inFolder()); err != nil {
		t.Errorf("not bound: %v", err)
	}
	s.claim = nil
	if err := KeepVolume(t.Context(), s.cluster(), "velero", inFolder()); !apierrors.IsNotFound(err) {
		t.Errorf("missing: %v", err)
	}
	if err := KeepVolume(t.Context(), s.cluster(), "velero", everything()); err != nil {
		t.Errorf("no claim: %v", err)
	}
}
