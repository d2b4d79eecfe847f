package launch

import (
	"context"
	"errors"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// ErrNotInstalled means that a namespace has no installation.
var ErrNotInstalled = errors.New("nothing is installed")

// Template reads the PodTemplate that install made. Without one the error is
// ErrNotInstalled and says to install.
func Template(ctx context.Context, kube kubernetes.Interface, namespace string) (*corev1.PodTemplate, error) {
	template, err := kube.CoreV1().PodTemplates(namespace).Get(ctx, TemplateName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w in namespace %q (it has no PodTemplate %q); hint: run install, or choose the namespace with -n",
			ErrNotInstalled, namespace, TemplateName)
	}
	if err != nil {
		return nil, fmt.Errorf("read PodTemplate %q: %w", TemplateName, err)
	}
	return template, nil
}

// Start creates job and returns it as the cluster has it. A Job of the same
// name and operation that is there already is returned instead, so Start may be
// repeated. A refusal by a quota or an admission policy says so, and so does a claim
// that its pod could not mount, see CheckClaim.
func Start(ctx context.Context, kube kubernetes.Interface, job *batchv1.Job) (*batchv1.Job, error) {
	for _, claim := range claimsOf(&job.Spec.Template.Spec) {
		if err := checkClaim(ctx, kube, job.Namespace, claim); err != nil {
			return nil, fmt.Errorf("start Job %q: %w", job.Name, err)
		}
	}
	jobs := kube.BatchV1().Jobs(job.Namespace)
	created, err := jobs.Create(ctx, job, metav1.CreateOptions{})
	switch {
	case err == nil:
		return created, nil
	case apierrors.IsAlreadyExists(err):
		return existing(ctx, kube, job)
	case refused(err):
		return nil, fmt.Errorf("the cluster refused Job %q: %w; hint: look at the quotas and admission policies of namespace %q", job.Name, err, job.Namespace)
	}
	return nil, fmt.Errorf("create Job %q: %w", job.Name, err)
}

func existing(ctx context.Context, kube kubernetes.Interface, job *batchv1.Job) (*batchv1.Job, error) {
	found, err := kube.BatchV1().Jobs(job.Namespace).Get(ctx, job.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Job %q: %w", job.Name, err)
	}
	if found.Labels[velerov1.OperationUIDLabel] != job.Labels[velerov1.OperationUIDLabel] {
		return nil, fmt.Errorf("create Job %q: another operation's Job has this name; hint: delete it if it isn't needed", job.Name)
	}
	return found, nil
}

// refused tells a refusal by quota or admission from a missing permission: the
// API server gives both the same status, and only the latter names a user who
// "cannot" do something.
func refused(err error) bool {
	if !apierrors.IsForbidden(err) {
		return strings.Contains(err.Error(), "admission webhook") || strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
	}
	return !strings.Contains(err.Error(), " cannot ")
}
