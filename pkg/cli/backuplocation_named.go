package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// mustHaveWhatItNames refuses a location that names a Secret, a key or a claim that
// isn't there. What may not be read is taken for good.
func (s *session) mustHaveWhatItNames(ctx context.Context, location *velerov1.BackupStorageLocation) error {
	mounts := launch.MountsOf(location)
	for _, named := range []struct {
		flag  string
		key   *corev1.SecretKeySelector
		check func([]byte) string
	}{
		{"--credential", mounts.Credential, checkNotEmpty},
		{"--cacert-ref", mounts.CACert, checkCertificate},
		{"--config customerKeyEncryptionSecret", mounts.EncryptionKey, checkEncryptionKey},
	} {
		if named.key == nil {
			continue
		}
		if err := s.checkSecretKey(ctx, named.flag, named.key, named.check); err != nil {
			return err
		}
	}
	if err := launch.CheckClaim(ctx, s.kube, s.namespace, location); err != nil {
		return s.explain("--pvc", err)
	}
	return nil
}

// checkSecretKey never shows what a Secret holds.
func (s *session) checkSecretKey(ctx context.Context, flag string, key *corev1.SecretKeySelector, check func([]byte) string) error {
	secret, err := s.kube.CoreV1().Secrets(s.namespace).Get(ctx, key.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s: Secret %q does not exist in namespace %q; hint: kubectl -n %s create secret generic %s --from-file=%s=FILE",
			flag, key.Name, s.namespace, s.namespace, key.Name, key.Key)
	case err != nil:
		return s.explain(fmt.Sprintf("read Secret %q", key.Name), err)
	}
	value, ok := secret.Data[key.Key]
	if !ok {
		return fmt.Errorf("%s: Secret %q has no key %q; hint: it has %s", flag, key.Name, key.Key, keysOf(secret))
	}
	if problem := check(value); problem != "" {
		return fmt.Errorf("%s: key %q of Secret %q %s", flag, key.Key, key.Name, problem)
	}
	return nil
}

// keysOf lists the keys of a Secret, for a hint.
func keysOf(secret *corev1.Secret) string {
	if len(secret.Data) == 0 {
		return "none"
	}
	return enumerate(inQuotes(slices.Sorted(maps.Keys(secret.Data))))
}

// The checks of what a Secret holds say what is wrong without quoting it.
func checkNotEmpty(value []byte) string {
	if len(value) == 0 {
		return "is empty"
	}
	return ""
}

func checkCertificate(value []byte) string {
	if !isCertificate(value) {
		return "holds no certificate in PEM form; hint: it begins with -----BEGIN CERTIFICATE-----"
	}
	return ""
}

// encryptionKeyBytes is the length that S3 asks of a customer's key.
const encryptionKeyBytes = 32

func checkEncryptionKey(value []byte) string {
	if len(value) != encryptionKeyBytes {
		return fmt.Sprintf("has %d bytes and not %d; hint: head -c %d /dev/urandom makes one", len(value), encryptionKeyBytes, encryptionKeyBytes)
	}
	return ""
}
