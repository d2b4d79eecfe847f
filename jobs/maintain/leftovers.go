package maintain

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

// operations are the Backups, Restores or previews that exist, by UID: true for
// those that have ended.
type operations map[types.UID]bool

// removeBindings takes away the rights of Restores and previews of this namespace
// that have ended or are gone; the Job does that itself when it can.
func (m *maintenance) removeBindings(ctx context.Context) error {
	const selector = velerov1.OperationLabel + " in (" + velerov1.OperationRestore + "," + velerov1.OperationPreview + ")"
	// The bindings are read before what they are for: a Restore's binding is younger
	// than the Restore, so one whose Restore isn't there has lost it.
	list, err := m.Kube.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("list ClusterRoleBindings: %w", err)
	}
	if len(list.Items) == 0 {
		return nil
	}
	var holders holders
	if holders.restores, err = m.restores(ctx); err != nil {
		return err
	}
	if holders.previews, err = m.previews(ctx); err != nil {
		return err
	}
	for i := range list.Items {
		binding := &list.Items[i]
		if !bindsHere(binding, m.Namespace) {
			continue
		}
		reason := holders.leftOver(binding, time.Now())
		if reason == "" {
			continue
		}
		obj := ref.Object{Resource: rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings"), Kind: "ClusterRoleBinding", Name: binding.Name}
		err := m.Kube.RbacV1().ClusterRoleBindings().Delete(ctx, binding.Name, exactly(binding.UID))
		m.removed(obj, reason, err)
	}
	return nil
}

// bindsHere reports whether a binding is for the account of restores of the
// installation in namespace.
func bindsHere(binding *rbacv1.ClusterRoleBinding, namespace string) bool {
	return slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Name == launch.RestoreServiceAccount && s.Namespace == namespace
	})
}

// holders are what bindings give rights to.
type holders struct{ restores, previews operations }

// previewStart is how long the binding of a preview may be there before its Job is.
const previewStart = 5 * time.Minute

// leftOver says why a binding is not needed any more; empty when it is.
func (h holders) leftOver(binding *rbacv1.ClusterRoleBinding, now time.Time) string {
	uid := types.UID(binding.Labels[velerov1.OperationUIDLabel])
	known, what := h.restores, "Restore"
	if binding.Labels[velerov1.OperationLabel] == velerov1.OperationPreview {
		known, what = h.previews, "preview"
	}
	switch ended, exists := known[uid]; {
	case uid == "":
		return ""
	case ended:
		return "its " + what + " has ended"
	case exists:
		return ""
	case what == "preview" && now.Sub(binding.CreationTimestamp.Time) < previewStart:
		return "" // a preview has no object that is older than its binding
	}
	return "its " + what + " is gone"
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

// previews are known by their Jobs: they have no object of their own.
func (m *maintenance) previews(ctx context.Context) (operations, error) {
	const selector = velerov1.OperationLabel + "=" + velerov1.OperationPreview
	list, err := m.Kube.BatchV1().Jobs(m.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list Jobs of previews: %w", err)
	}
	known := operations{}
	for i := range list.Items {
		job := &list.Items[i]
		known[types.UID(job.Labels[velerov1.OperationUIDLabel])] = job.DeletionTimestamp != nil || launch.Finished(job)
	}
	return known, nil
}
