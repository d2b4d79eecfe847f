package run

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterID is what tells this cluster from others that use the same bucket: the
// UID of namespace kube-system; empty when there is no such namespace.
func (e *Env) ClusterID(ctx context.Context) (string, error) {
	namespace, err := e.Kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the cluster's identity: %w", err)
	}
	return string(namespace.UID), nil
}
