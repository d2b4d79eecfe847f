package transform

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// secret empties tokens of service accounts, so that the cluster fills them
// anew. Those that Kubernetes before 1.24 made by itself don't come back.
func secret(_ *Options, obj *Object) (Decision, error) {
	var kind corev1.SecretType
	if err := obj.Read("type", &kind); err != nil || kind != corev1.SecretTypeServiceAccountToken {
		return Decision{}, err
	}
	account := obj.Annotation(corev1.ServiceAccountNameKey)
	if account != "" && strings.HasPrefix(obj.Name(), account+"-token-") {
		return Decision{Skip: "the cluster makes tokens of service accounts by itself"}, nil
	}
	data, err := obj.Edit("data")
	if err != nil {
		return Decision{}, err
	}
	delete(data, corev1.ServiceAccountTokenKey)
	delete(data, corev1.ServiceAccountRootCAKey)
	obj.RemoveAnnotations(corev1.ServiceAccountUIDKey)
	return Decision{}, nil
}
