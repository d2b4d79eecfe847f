package install

import (
	"context"
	"fmt"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// components selects what carries the label of an installation.
var components = metav1.ListOptions{
	LabelSelector: labels.Set{velerov1.ComponentLabel: velerov1.ComponentValue}.String(),
}

// Plan finds what the installation in a namespace consists of and changes nothing.
// The CustomResourceDefinitions stay while another namespace uses them. A live Velero
// server in the namespace is a *ServerError, and a namespace that isn't an
// installation's is an error too.
func Plan(ctx context.Context, c Cluster, namespace string) (*Removal, error) {
	if err := CheckNamespace(namespace); err != nil {
		return nil, err
	}
	if err := FindServer(ctx, c.Kubernetes, namespace); err != nil {
		return nil, err
	}
	r := &Removal{namespace: namespace}
	for _, step := range []func(context.Context, Cluster) error{
		r.planBindings, r.planNamespace, r.planKinds, r.findRunning, r.planClaims,
	} {
		if err := step(ctx, c); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// planBindings finds the rights first, so that nothing keeps them if a later step
// fails: those of restores, then the installation's own.
func (r *Removal) planBindings(ctx context.Context, c Cluster) error {
	bindings, err := c.Kubernetes.RbacV1().ClusterRoleBindings().List(ctx, components)
	if err != nil {
		return fmt.Errorf("list ClusterRoleBindings: %w", err)
	}
	var own []target
	for i := range bindings.Items {
		b := &bindings.Items[i]
		if !bindsIn(b, r.namespace) {
			continue
		}
		t := target{clusterRoleBindingKind.named(b.Name), b.UID}
		switch {
		case b.Name == launch.InstallBinding(r.namespace):
			own = append(own, t)
		case b.Labels[velerov1.OperationLabel] != "":
			r.targets = append(r.targets, t)
		}
	}
	r.targets = append(r.targets, own...)
	role, err := c.Kubernetes.RbacV1().ClusterRoles().Get(ctx, launch.InstallBinding(r.namespace), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("get ClusterRole %q: %w", launch.InstallBinding(r.namespace), err)
	case role.Labels[velerov1.ComponentLabel] == velerov1.ComponentValue:
		r.targets = append(r.targets, target{clusterRoleKind.named(role.Name), role.UID})
	}
	return nil
}

// bindsIn reports whether a binding is for an account of the namespace.
func bindsIn(b *rbacv1.ClusterRoleBinding, namespace string) bool {
	return slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Namespace == namespace
	})
}

func (r *Removal) planNamespace(ctx context.Context, c Cluster) error {
	ns, err := c.Kubernetes.CoreV1().Namespaces().Get(ctx, r.namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("get namespace %q: %w", r.namespace, err)
	case ns.Labels[velerov1.ComponentLabel] != velerov1.ComponentValue:
		return fmt.Errorf("namespace %q isn't an installation's (it lacks the label %s=%s), and uninstall would delete it; hint: name the installation's namespace with --namespace",
			r.namespace, velerov1.ComponentLabel, velerov1.ComponentValue)
	}
	r.targets = append(r.targets, target{namespaceKind.named(ns.Name), ns.UID})
	return nil
}

func (r *Removal) planKinds(ctx context.Context, c Cluster) error {
	crds, err := c.Dynamic.Resource(crdKind.gvr()).List(ctx, components)
	if err != nil {
		return fmt.Errorf("list CustomResourceDefinitions: %w", err)
	}
	var found []target
	for i := range crds.Items {
		crd := &crds.Items[i]
		// The label is a common one.
		if group, _, _ := unstructured.NestedString(crd.Object, "spec", "group"); group == velerov1.GroupName {
			found = append(found, target{crdKind.named(crd.GetName()), crd.GetUID()})
		}
	}
	if len(found) == 0 {
		return nil
	}
	if r.Kept, err = otherUsers(ctx, c, r.namespace); err != nil {
		return err
	}
	if len(r.Kept) == 0 {
		r.targets = append(r.targets, found...)
	}
	return nil
}

// otherUsers says what in other namespaces would be lost with the kinds:
// installations, Velero servers, and objects of the kinds themselves.
func otherUsers(ctx context.Context, c Cluster, namespace string) ([]string, error) {
	users := map[string]string{} // by namespace, so that each is named once
	templates, err := c.Kubernetes.CoreV1().PodTemplates(metav1.NamespaceAll).List(ctx, components)
	if err != nil {
		return nil, fmt.Errorf("look for other installations: %w", err)
	}
	for i := range templates.Items {
		if t := &templates.Items[i]; t.Name == launch.TemplateName {
			users[t.Namespace] = fmt.Sprintf("namespace %q has an installation too", t.Namespace)
		}
	}
	deployments, err := c.Kubernetes.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, components)
	if err != nil {
		return nil, fmt.Errorf("look for Velero servers: %w", err)
	}
	for i := range deployments.Items {
		if d := &deployments.Items[i]; isServer(d) {
			users[d.Namespace] = fmt.Sprintf("namespace %q has a Velero server", d.Namespace)
		}
	}
	for _, gvr := range veleroResources {
		if err := findObjects(ctx, c, gvr, users); err != nil {
			return nil, err
		}
	}
	delete(users, namespace)
	return slices.Sorted(maps.Values(users)), nil
}

// findObjects notes the namespaces that have objects of a kind.
func findObjects(ctx context.Context, c Cluster, gvr schema.GroupVersionResource, users map[string]string) error {
	objects, err := c.Dynamic.Resource(gvr).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil // not served, so there are none to lose
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", gvr.GroupResource(), err)
	}
	for i := range objects.Items {
		ns := objects.Items[i].GetNamespace()
		if users[ns] == "" {
			users[ns] = fmt.Sprintf("namespace %q has %s", ns, gvr.GroupResource())
		}
	}
	return nil
}

func (r *Removal) findRunning(ctx context.Context, c Cluster) error {
	for _, resource := range []string{"backups", "restores"} {
		objects, err := c.Dynamic.Resource(velerov1.SchemeGroupVersion.WithResource(resource)).Namespace(r.namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", resource, err)
		}
		for i := range objects.Items {
			object := &objects.Items[i]
			if phase, _, _ := unstructured.NestedString(object.Object, "status", "phase"); phase == string(velerov1.BackupPhaseInProgress) {
				r.Running = append(r.Running, resource[:len(resource)-1]+"/"+object.GetName())
			}
		}
	}
	return nil
}
