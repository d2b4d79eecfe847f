package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

func TestTrust(t *testing.T) {
	t.Parallel()
	location := func(provider string) *velerov1.BackupStorageLocation {
		l := &velerov1.BackupStorageLocation{}
		l.Name, l.Spec.Provider, l.Spec.Config = "x", provider, map[string]string{"region": "x"}
		l.Spec.ObjectStorage = &velerov1.ObjectStorageLocation{Bucket: "b", CACertRef: &corev1.SecretKeySelector{Key: "ca.crt"}}
		return l
	}
	for name, test := range map[string]struct {
		trust    Trust
		provider string
		want     func(*velerov1.BackupStorageLocation)
	}{
		"nothing": {Trust{}, "aws", func(*velerov1.BackupStorageLocation) {}},
		"a certificate": {Trust{CACert: []byte("pem")}, "aws", func(l *velerov1.BackupStorageLocation) {
			l.Spec.ObjectStorage.CACert, l.Spec.ObjectStorage.CACertRef = []byte("pem"), nil
		}},
		"anybody":  {Trust{Insecure: true}, "velero.io/aws", func(l *velerov1.BackupStorageLocation) { l.Spec.Config["insecureSkipTLSVerify"] = "true" }},
		"a volume": {Trust{Insecure: true, CACert: []byte("pem")}, "filesystem", func(*velerov1.BackupStorageLocation) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			given, want := location(test.provider), location(test.provider)
			test.want(want)
			handed, err := DecodeTrust(test.trust.Encode())
			if err != nil {
				t.Fatal(err)
			}
			got, err := handed.Of(given)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(location(test.provider), given); diff != "" {
				t.Errorf("changed what it was given: %s", diff)
			}
		})
	}
	wrong := location("aws")
	wrong.Spec.Config["regoin"] = "x"
	if _, err := (Trust{Insecure: true}).Of(wrong); err == nil || !strings.HasPrefix(err.Error(), `storage location "x": `) {
		t.Errorf("a config that can't be used: %v", err)
	}
	if _, err := DecodeTrust("{"); err == nil {
		t.Error("what isn't JSON is taken")
	}
}
