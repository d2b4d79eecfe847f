package install

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// CheckNamespace says whether a namespace may hold an installation. Those of the
// cluster itself and "default" may not: the installation restricts what may run in
// its namespace, and uninstalling deletes it.
func CheckNamespace(namespace string) error {
	if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
		return fmt.Errorf("%q is no name of a namespace: %s", namespace, strings.Join(problems, "; "))
	}
	if namespace == metav1.NamespaceDefault || strings.HasPrefix(namespace, "kube-") {
		return fmt.Errorf("namespace %q can't hold an installation, since uninstall deletes its namespace; hint: choose another, such as velero", namespace)
	}
	return nil
}

// Check looks for what stands in the way of an installation, and changes nothing: a
// live Velero server (*ServerError), a namespace that is being deleted, roles of the
// installation's name that are something else, and a claim that is missing or can't
// become what is asked for.
func Check(ctx context.Context, c Cluster, o Options) error {
	if o.CRDsOnly {
		return nil
	}
	ns, err := c.Kubernetes.CoreV1().Namespaces().Get(ctx, o.Namespace, metav1.GetOptions{})
	switch {
	case err == nil && ns.DeletionTimestamp != nil:
		return fmt.Errorf("namespace %q is being deleted; hint: run install again when it is gone (`kubectl wait --for=delete namespace/%[1]s`)", o.Namespace)
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("get namespace %q: %w", o.Namespace, err)
	}
	if err := FindServer(ctx, c.Kubernetes, o.Namespace); err != nil {
		return err
	}
	if err := checkClusterRole(ctx, c.Kubernetes, o); err != nil {
		return err
	}
	if err := checkBindings(ctx, c.Kubernetes, o); err != nil {
		return err
	}
	return checkClaim(ctx, c.Kubernetes, o)
}

// ServerError says that a live Velero server is in a namespace. It would take for its
// own what this program puts there.
type ServerError struct {
	Namespace, Deployment string
}

// Error names the Deployment and the way out.
func (e *ServerError) Error() string {
	return fmt.Sprintf("a Velero server (Deployment %q) runs in namespace %q and would act on the same objects; "+
		"hint: use another namespace with --namespace, or scale the server to 0 first (`kubectl -n %[2]s scale deployment %[1]s --replicas=0`)",
		e.Deployment, e.Namespace)
}

// FindServer returns a *ServerError if a live Velero server is in the namespace. It
// finds none where it may not look.
func FindServer(ctx context.Context, kube kubernetes.Interface, namespace string) error {
	deployments, err := kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case err != nil:
		return fmt.Errorf("look for a Velero server in namespace %q: %w", namespace, err)
	}
	for i := range deployments.Items {
		if d := &deployments.Items[i]; isServer(d) {
			return &ServerError{Namespace: namespace, Deployment: d.Name}
		}
	}
	return nil
}

// isServer recognizes the server by what it runs: names and labels are chosen by
// whoever installs it, with the velero command or a chart.
func isServer(d *appsv1.Deployment) bool {
	if d.Spec.Replicas != nil && *d.Spec.Replicas == 0 {
		return false
	}
	return slices.ContainsFunc(d.Spec.Template.Spec.Containers, func(c corev1.Container) bool {
		line := slices.Concat(c.Command, c.Args)
		return len(line) > 1 && path.Base(line[0]) == "velero" && line[1] == "server"
	})
}

func checkClusterRole(ctx context.Context, kube kubernetes.Interface, o Options) error {
	name := launch.InstallBinding(o.Namespace)
	found, err := kube.RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("get ClusterRole %q: %w", name, err)
	case found.Labels[velerov1.ComponentLabel] != velerov1.ComponentValue:
		return fmt.Errorf("ClusterRole %q exists and isn't Velero's (it lacks the label %s=%s); "+
			"hint: install into another namespace, which gives the role another name, or delete the ClusterRole if nothing needs it",
			name, velerov1.ComponentLabel, velerov1.ComponentValue)
	}
	return nil
}

// checkBindings makes sure that bindings of the installation's names, if there are
// any, refer to its roles: the role of a binding can't be changed.
func checkBindings(ctx context.Context, kube kubernetes.Interface, o Options) error {
	wantCluster, want := clusterRoleBinding(o), roleBinding(o)
	cluster, err := kube.RbacV1().ClusterRoleBindings().Get(ctx, wantCluster.Name, metav1.GetOptions{})
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("get ClusterRoleBinding %q: %w", wantCluster.Name, err)
	case err == nil && cluster.RoleRef != wantCluster.RoleRef:
		return fmt.Errorf("ClusterRoleBinding %q gives the ClusterRole %q, and the role of a binding can't be changed; "+
			"hint: delete it with `kubectl delete clusterrolebinding %[1]s` if it is an old Velero installation's, and run install again; "+
			"or install into another namespace",
			wantCluster.Name, cluster.RoleRef.Name)
	}
	found, err := kube.RbacV1().RoleBindings(o.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("get RoleBinding %q in namespace %q: %w", want.Name, o.Namespace, err)
	case err == nil && found.RoleRef != want.RoleRef:
		return fmt.Errorf("RoleBinding %q in namespace %q gives the %s %q, and the role of a binding can't be changed; "+
			"hint: delete it with `kubectl -n %[2]s delete rolebinding %[1]s` and run install again",
			want.Name, o.Namespace, found.RoleRef.Kind, found.RoleRef.Name)
	}
	return nil
}
