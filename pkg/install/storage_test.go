package install_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"github.com/kubectl-velero/kubectl-velero/pkg/install"
)

// TestCheckClaim has a claim of 5 GiB and class "disks" in the cluster.
func TestCheckClaim(t *testing.T) {
	t.Parallel()
	existing := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "disk"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: ptr.To("disks"),
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}},
		},
	}
	cases := map[string]struct {
		location install.Location
		want     string
	}{
		"as it is":      {install.Location{Claim: "disk"}, ""},
		"the same size": {install.Location{Claim: "disk", Size: resource.MustParse("5Gi")}, ""},
		"larger":        {install.Location{Claim: "disk", Size: resource.MustParse("6Gi"), StorageClass: "disks"}, ""},
		"new":           {install.Location{Claim: "new", Size: resource.MustParse("6Gi")}, ""},
		"no claim":      {install.Location{}, ""},
		"missing":       {install.Location{Claim: "new"}, `claim "new" does not exist in namespace "velero"; hint: create it there first, or say with --storage-size`},
		"smaller":       {install.Location{Claim: "disk", Size: resource.MustParse("1Gi")}, `claim "disk" exists with 5Gi, and a claim can't shrink to 1Gi; hint:`},
		"other class":   {install.Location{Claim: "disk", Size: resource.MustParse("5Gi"), StorageClass: "x"}, `claim "disk" exists with another storage class than "x"; hint:`},
		"other mode":    {install.Location{Claim: "disk", Size: resource.MustParse("5Gi"), AccessMode: corev1.ReadWriteMany}, `exists with access modes ["ReadWriteOnce"] instead of ["ReadWriteMany"]; hint:`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := install.Check(t.Context(), install.Cluster{Kubernetes: fake.NewClientset(existing)}, install.Options{Namespace: "velero", Location: &c.location})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
