package launch

import (
	"cmp"
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// DefaultRestoreRole is the ClusterRole of a restore when none is chosen: a
// restore may have to create anything.
const DefaultRestoreRole = "cluster-admin"

// Rights are what one restore, or the preview of one, runs with: a ClusterRole
// for the account of restores, bound with the credentials of whoever starts it,
// so that nobody gives away more than they have, and only until it has ended.
type Rights struct {
	Kube kubernetes.Interface
	// Namespace is where Velero's objects and the account live.
	Namespace string
	// Operation is velerov1.OperationPreview for a preview; empty means
	// velerov1.OperationRestore.
	Operation string
	// Role is the ClusterRole; empty means DefaultRestoreRole.
	Role string
}

// BindingName is the name of the ClusterRoleBinding of the operation of that UID:
// a Restore's, or a preview's random one.
func BindingName(uid types.UID) string {
	const digits = 8
	return "velero-restore-" + string(uid[:min(len(uid), digits)])
}

// InstallBinding is the name of the ClusterRoleBinding that owns every
// cluster-scoped object of the installation in namespace.
func InstallBinding(namespace string) string {
	if namespace == velerov1.DefaultNamespace {
		return "velero"
	}
	return "velero-" + namespace
}

// Check tries, without changing anything, whether the caller may give a restore
// its rights, and refuses while another restore has different ones: both would
// run as the same account, and each would have the rights of both.
func (r Rights) Check(ctx context.Context) error {
	if err := r.noOtherRole(ctx); err != nil {
		return err
	}
	const placeholder = types.UID("00000000-check")
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	_, err := r.Kube.RbacV1().ClusterRoleBindings().Create(ctx, r.binding(placeholder, "check", nil), options)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return r.denied(err)
	}
	return nil
}

// Bind gives the operation its rights. Its name is the Restore's, or that of the
// backup that a preview is of. Bind may be repeated.
func (r Rights) Bind(ctx context.Context, name string, uid types.UID) error {
	owner, err := r.owner(ctx)
	if err != nil {
		return err
	}
	_, err = r.Kube.RbacV1().ClusterRoleBindings().Create(ctx, r.binding(uid, name, owner), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return r.denied(err)
	}
	// Another restore may have bound another role between the check and now;
	// then the later one, or both, step back.
	if err := r.noOtherRole(ctx); err != nil {
		_ = Unbind(ctx, r.Kube, uid)
		return err
	}
	return nil
}

// Unbind takes an operation's rights away. A missing binding is no error.
func Unbind(ctx context.Context, kube kubernetes.Interface, uid types.UID) error {
	err := kube.RbacV1().ClusterRoleBindings().Delete(ctx, BindingName(uid), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete ClusterRoleBinding %q: %w", BindingName(uid), err)
	}
	return nil
}

func (r Rights) role() string {
	if r.Role == "" {
		return DefaultRestoreRole
	}
	return r.Role
}

func (r Rights) binding(uid types.UID, name string, owner *metav1.OwnerReference) *rbacv1.ClusterRoleBinding {
	op := Operation{Kind: cmp.Or(r.Operation, velerov1.OperationRestore), Name: name, UID: uid}
	b := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: BindingName(uid), Labels: op.labels()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: r.role()},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: RestoreServiceAccount, Namespace: r.Namespace}},
	}
	if owner != nil {
		b.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return b
}

// owner is the installation's binding, with which all that is cluster-scoped
// goes away.
func (r Rights) owner(ctx context.Context) (*metav1.OwnerReference, error) {
	name := InstallBinding(r.Namespace)
	b, err := r.Kube.RbacV1().ClusterRoleBindings().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the installation's ClusterRoleBinding %q is missing; hint: run install again", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read ClusterRoleBinding %q: %w", name, err)
	}
	return &metav1.OwnerReference{
		APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding", Name: b.Name, UID: b.UID,
		BlockOwnerDeletion: ptr.To(false),
	}, nil
}

// noOtherRole refuses when the account of restores has another role already.
func (r Rights) noOtherRole(ctx context.Context) error {
	list, err := r.Kube.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("look whether another restore runs with other rights: %w", err)
	}
	for _, b := range list.Items {
		if !r.binds(b) || b.RoleRef.Name == r.role() {
			continue
		}
		if holder := holder(b); holder != "" {
			return fmt.Errorf("%s runs with ClusterRole %q, and this one would run with %q as the same account; hint: wait until that has ended",
				holder, b.RoleRef.Name, r.role())
		}
		return fmt.Errorf("ClusterRoleBinding %q gives restores ClusterRole %q for good, and this one is to run with %q; hint: delete that binding",
			b.Name, b.RoleRef.Name, r.role())
	}
	return nil
}

// holder says which operation a binding is for; empty for one that somebody made
// by hand.
func holder(b rbacv1.ClusterRoleBinding) string {
	switch name := b.Labels[velerov1.NameLabel]; b.Labels[velerov1.OperationLabel] {
	case velerov1.OperationRestore:
		return fmt.Sprintf("restore %q", name)
	case velerov1.OperationPreview:
		return fmt.Sprintf("the preview of a restore from backup %q", name)
	}
	return ""
}

func (r Rights) binds(b rbacv1.ClusterRoleBinding) bool {
	for _, s := range b.Subjects {
		if s.Kind == rbacv1.ServiceAccountKind && s.Name == RestoreServiceAccount && s.Namespace == r.Namespace {
			return true
		}
	}
	return false
}

func (r Rights) denied(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("a restore runs with ClusterRole %q, which you would have to give it: %w; hint: restore with credentials that have that role", r.role(), err)
	}
	return fmt.Errorf("bind ClusterRole %q to the restore: %w", r.role(), err)
}
