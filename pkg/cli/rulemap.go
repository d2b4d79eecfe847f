package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// ruleMap reads the ConfigMap that is to hold what, such as "resource policies".
func (s *session) ruleMap(ctx context.Context, what, name string) (*corev1.ConfigMap, error) {
	cm, err := s.kube.CoreV1().ConfigMaps(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("ConfigMap %q, which is to hold %s, does not exist in namespace %q; hint: kubectl -n %[3]s create configmap %[1]s --from-file=FILE", name, what, s.namespace)
	}
	if err != nil {
		return nil, s.explain(fmt.Sprintf("read ConfigMap %q with the %s", name, what), err)
	}
	return cm, nil
}

// unusable tells everything that is wrong with rules at once.
func unusable(what string, err error) error {
	invalid := (*strictyaml.ValidationError)(nil)
	if !errors.As(err, &invalid) {
		return err
	}
	return fmt.Errorf("these %s can't be used:\n  %s", what, strings.ReplaceAll(strings.Join(invalid.Problems, "\n  "), "; hint: ", "\n  hint: "))
}
