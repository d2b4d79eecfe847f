package maintain

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

// operations are the Backups or Restores that exist, by UID: true for those that
// have ended.
type operations map[types.UID]bool

// removeBindings takes away the rights of Restores of this namespace that have
// ended or are gone; the Job does that itself when it can.
func (m *maintenance) removeBindings(ctx context.Context) error {
	selector := labels.Set{velerov1.OperationLabel: velerov1.OperationRestore}
	// The bindings are read before the Restores: a binding is younger than its
	// Restore, so one whose Restore isn't there has lost it.
	list, err := m.Kube.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return fmt.Errorf("list ClusterRoleBindings: %w", err)
	}
	if len(list.Items) == 0 {
		return nil
	}
	known, err := m.restores(ctx)
	if err != nil {
		return err
	}
	for i := range list.Items {
		binding := &list.Items[i]
		reason := bindingLeftOver(binding, m.Namespace, known)
		if reason == "" {
			continue
		}
		obj := ref.Object{Resource: rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings"), Kind: "ClusterRoleBinding", Name: binding.Name}
		err := m.Kube.RbacV1().ClusterRoleBindings().Delete(ctx, binding.Name, exactly(binding.UID))
		m.removed(obj, reason, err)
	}
	return nil
}

// bindingLeftOver says why a restore's binding is not needed any more; empty
// when it is, and for one of another namespace's installation.
func bindingLeftOver(binding *rbacv1.ClusterRoleBinding, namespace string, known operations) string {
	ours := func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Name == launch.RestoreServiceAccount && s.Namespace == namespace
	}
	uid := binding.Labels[velerov1.OperationUIDLabel]
	if uid == "" || !slices.ContainsFunc(binding.Subjects, ours) {
		return ""
	}
	switch ended, exists := known[types.UID(uid)]; {
	case !exists:
		return "its Restore is gone"
	case ended:
		return "its Restore has ended"
	}
	return ""
}

// removeJobs deletes Jobs whose Backup or Restore is gone and that the garbage
// collector leaves, as after `kubectl delete --cascade=orphan`.
func (m *maintenance) removeJobs(ctx context.Context) error {
	// As with bindings, the Jobs are read first.
	list, err := m.Kube.BatchV1().Jobs(m.Namespace).List(ctx, metav1.ListOptions{LabelSelector: velerov1.OperationUIDLabel})
	if err != nil {
		return fmt.Errorf("list Jobs: %w", err)
	}
	if len(list.Items) == 0 {
		return nil
	}
	known := map[string]operations{}
	if known[velerov1.OperationBackup], err = m.backups(ctx); err != nil {
		return err
	}
	if known[velerov1.OperationRestore], err = m.restores(ctx); err != nil {
		return err
	}
	for i := range list.Items {
		job := &list.Items[i]
		reason := jobLeftOver(job, known)
		if reason == "" {
			continue
		}
		obj := ref.Object{Resource: batchv1.SchemeGroupVersion.WithResource("jobs"), Kind: "Job", Namespace: job.Namespace, Name: job.Name}
		options := exactly(job.UID)
		options.PropagationPolicy = ptr.To(metav1.DeletePropagationBackground)
		m.removed(obj, reason, m.Kube.BatchV1().Jobs(m.Namespace).Delete(ctx, job.Name, options))
	}
	return nil
}

// jobLeftOver says why a Job is not needed any more; empty when it is. Only Jobs
// of a Backup or Restore have one; the others end, and go, by themselves.
func jobLeftOver(job *batchv1.Job, known map[string]operations) string {
	operation := job.Labels[velerov1.OperationLabel]
	records, ok := known[operation]
	if !ok || job.DeletionTimestamp != nil {
		return ""
	}
	if _, exists := records[types.UID(job.Labels[velerov1.OperationUIDLabel])]; exists {
		return ""
	}
	return "its " + operation + " is gone"
}

// removed notes what became of a deletion.
func (m *maintenance) removed(obj ref.Object, reason string, err error) {
	switch {
	case err == nil:
		m.did("deleted", obj, reason)
	case !apierrors.IsNotFound(err):
		m.problem(obj, fmt.Errorf("delete: %w", err))
	}
}

func exactly(uid types.UID) metav1.DeleteOptions {
	return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
}

func (m *maintenance) backups(ctx context.Context) (operations, error) {
	list, err := m.Client.Backups(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Backups: %w", err)
	}
	known := operations{}
	for _, b := range list.Items {
		known[b.UID] = b.Status.Phase.Terminal()
	}
	return known, nil
}

func (m *maintenance) restores(ctx context.Context) (operations, error) {
	list, err := m.Client.Restores(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Restores: %w", err)
	}
	known := operations{}
	for _, r := range list.Items {
		known[r.UID] = r.Status.Phase.Terminal()
	}
	return known, nil
}
