package launch

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

func selector(name, key string) *corev1.SecretKeySelector {
	return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}
}

func locationOf(provider string, config map[string]string) *velerov1.BackupStorageLocation {
	return &velerov1.BackupStorageLocation{Spec: velerov1.BackupStorageLocationSpec{
		Provider: provider, Config: config, ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "b"},
	}}
}

func withCredential(name, key string) *velerov1.BackupStorageLocation {
	location := locationOf("aws", nil)
	location.Spec.Credential = selector(name, key)
	return location
}

// everything is a location with each Secret that one can have.
func everything() *velerov1.BackupStorageLocation {
	location := locationOf("velero.io/aws", map[string]string{"customerKeyEncryptionSecret": "sse/customer"})
	location.Spec.Credential = selector("second", "aws")
	location.Spec.ObjectStorage.CACertRef = selector("company", "ca.pem")
	return location
}

func inFolder() *velerov1.BackupStorageLocation {
	return locationOf("filesystem", map[string]string{"persistentVolumeClaim": "backups"})
}

func TestMountsOf(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		location *velerov1.BackupStorageLocation
		want     Mounts
	}{
		"no location":      {nil, Mounts{}},
		"empty location":   {&velerov1.BackupStorageLocation{}, Mounts{}},
		"nothing":          {locationOf("aws", map[string]string{"region": "r"}), Mounts{}},
		"everything":       {everything(), Mounts{selector("second", "aws"), selector("sse", "customer"), selector("company", "ca.pem"), "", 0}},
		"claim":            {inFolder(), Mounts{Claim: "backups", Group: 65532}},
		"claim, full name": {locationOf("velero.io/filesystem", map[string]string{"persistentVolumeClaim": "x"}), Mounts{Claim: "x", Group: 65532}},
		"claim, no group":  {locationOf("filesystem", map[string]string{"persistentVolumeClaim": "x", "fsGroup": "none"}), Mounts{Claim: "x"}},
		"bad claim":        {locationOf("filesystem", map[string]string{"persistentVolumeClaim": "X"}), Mounts{}},
		"other provider":   {locationOf("gcp", map[string]string{"persistentVolumeClaim": "x", "customerKeyEncryptionSecret": "a/b"}), Mounts{}},
		"no secret/key":    {locationOf("aws", map[string]string{"customerKeyEncryptionSecret": "a"}), Mounts{}},
		"unknown provider": {locationOf("example.org/x", nil), Mounts{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := MountsOf(c.location)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if got.Empty() != (c.want == Mounts{}) || (got.Hash() == "") != got.Empty() {
				t.Errorf("Empty %t, Hash %q", got.Empty(), got.Hash())
			}
		})
	}
}

func TestHashTellsMountsApart(t *testing.T) {
	t.Parallel()
	optional := selector("s", "k")
	optional.Optional = ptr.To(true)
	if a, b := (Mounts{Credential: selector("s", "k")}).Hash(), (Mounts{Credential: optional}).Hash(); a != b {
		t.Error("whether a Secret may be missing makes other mounts")
	}
	seen := map[string]Mounts{}
	for _, m := range []Mounts{
		{Credential: selector("s", "k")}, {Credential: selector("s", "l")}, {CACert: selector("s", "k")},
		{EncryptionKey: selector("s", "k")}, {Claim: "s/k"}, {Claim: "s"}, {Claim: "s", Group: 1}, {Claim: "s", CACert: selector("s", "k")},
	} {
		if other, ok := seen[m.Hash()]; ok {
			t.Errorf("%+v and %+v have one hash", m, other)
		}
		seen[m.Hash()] = m
	}
}

// TestMountsKeepTheTemplates leaves to the installation what it has settled.
func TestMountsKeepTheTemplates(t *testing.T) {
	t.Parallel()
	template := installed()
	policy := corev1.FSGroupChangeAlways
	template.Template.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr.To[int64](1000660000), FSGroupChangePolicy: &policy}
	op := backupOperation()
	op.Location = inFolder()
	spec := Job(template, op).Spec.Template.Spec
	if *spec.SecurityContext.FSGroup != 1000660000 || *spec.SecurityContext.FSGroupChangePolicy != policy {
		t.Errorf("%+v", spec.SecurityContext)
	}
	if len(spec.Volumes) != 2 || spec.Volumes[0].Secret.SecretName != "cloud-credentials" {
		t.Errorf("%+v", spec.Volumes)
	}
}
