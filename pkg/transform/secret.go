package transform

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// generatedToken leaves out tokens of service accounts that Kubernetes before
// 1.24 made by itself.
func generatedToken(_ *Options, obj *Object) (Decision, error) {
	isToken, err := serviceAccountToken(obj)
	account := obj.Annotation(corev1.ServiceAccountNameKey)
	if isToken && account != "" && strings.HasPrefix(obj.Name(), account+"-token-") {
		return Decision{Skip: "the cluster makes tokens of service accounts by itself"}, nil
	}
	return Decision{}, err
}

// secret empties other tokens of service accounts, so that the cluster fills
// them anew.
func secret(_ *Options, obj *Object) (Decision, error) {
	isToken, err := serviceAccountToken(obj)
	if !isToken || err != nil {
		return Decision{}, err
	}
	obj.RemoveAnnotations(corev1.ServiceAccountUIDKey)
	return Decision{}, obj.removeFrom("data", corev1.ServiceAccountTokenKey, corev1.ServiceAccountRootCAKey)
}

func serviceAccountToken(obj *Object) (bool, error) {
	kind, err := obj.text("type")
	return kind == string(corev1.SecretTypeServiceAccountToken), err
}
