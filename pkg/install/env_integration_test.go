//go:build integration

package install_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// env is an API server with the two controllers that deletions need.
type env struct {
	cfg     *rest.Config
	kube    kubernetes.Interface
	disco   discovery.DiscoveryInterface
	velero  *client.Client
	cluster install.Cluster
	kubectl string
}

func newEnv(t *testing.T) *env {
	t.Helper()
	cfg := testenv.APIServer(t)
	cfg.WarningHandler = rest.NoWarnings{} // listing every kind meets deprecated ones
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	velero, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	state, err := testenv.StateFolder()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(state, "bin")
	startControllers(t, filepath.Join(bin, "kube-controller-manager"))
	e := &env{
		cfg: cfg, kube: kube, disco: kube.Discovery(), velero: velero,
		cluster: install.Cluster{Kubernetes: kube, Dynamic: dyn}, kubectl: filepath.Join(bin, "kubectl"),
	}
	e.waitServed(t)
	return e
}

// startControllers runs those that empty a namespace and collect what is owned.
func startControllers(t *testing.T, binary string) {
	t.Helper()
	kubeconfig := testenv.Kubeconfig(t)
	var log bytes.Buffer
	command := exec.Command(binary,
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--controllers=namespace-controller,garbage-collector-controller",
		"--leader-elect=false", "--secure-port=0")
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatalf("start the controllers: %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		if err := command.Wait(); t.Failed() {
			said := strings.Split(log.String(), "\n")
			t.Logf("the controllers ended with %v and last said\n%s", err, strings.Join(said[max(0, len(said)-20):], "\n"))
		}
	})
}

// waitServed waits for what a new API server makes by itself a moment after it is
// ready: until nothing new has come for a while.
func (e *env) waitServed(t *testing.T) {
	t.Helper()
	last := e.everything(t)
	for range 30 {
		time.Sleep(2 * time.Second)
		now := e.everything(t)
		if slices.Equal(last, now) {
			return
		}
		last = now
	}
	t.Fatal("the cluster doesn't come to rest")
}

// everything lists every object of every kind in the cluster but Events and Leases,
// which the cluster writes all the time.
func (e *env) everything(t *testing.T) []string {
	t.Helper()
	resources, err := cluster.Discover(e.disco)
	if err != nil {
		t.Fatal(err)
	}
	if len(resources.Failed) > 0 {
		t.Fatalf("discovery: %v", resources.Failed)
	}
	var out []string
	for _, r := range resources.All() {
		if !r.Preferred || !slices.Contains(r.Verbs, "list") || r.Resource == "events" || r.Resource == "leases" {
			continue
		}
		list, err := e.cluster.Dynamic.Resource(r.GroupVersionResource).List(t.Context(), metav1.ListOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			continue // deleted since discovery
		}
		if err != nil {
			t.Fatalf("list %s: %v", r.GroupVersionResource, err)
		}
		for i := range list.Items {
			out = append(out, fmt.Sprintf("%s %s/%s", r.GroupResource(), list.Items[i].GetNamespace(), list.Items[i].GetName()))
		}
	}
	slices.Sort(out)
	return out
}

// mustEqual waits for the cluster to have exactly the objects of want: what is owned
// by something deleted goes a moment later.
func (e *env) mustEqual(t *testing.T, want []string) {
	t.Helper()
	var diff string
	for range 60 {
		if diff = cmp.Diff(want, e.everything(t)); diff == "" {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Errorf("objects in the cluster (-before +after):\n%s", diff)
}

func (e *env) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (e *env) apply(t *testing.T, o install.Options) []install.Change {
	t.Helper()
	if err := install.Check(t.Context(), e.cluster, o); err != nil {
		t.Fatal(err)
	}
	var changes []install.Change
	if err := install.Apply(t.Context(), e.cluster, o, func(c install.Change) { changes = append(changes, c) }); err != nil {
		t.Fatalf("%v; after\n%s", err, lines(changes))
	}
	return changes
}

func (e *env) mustRefuse(t *testing.T, o install.Options, want string) {
	t.Helper()
	before := e.everything(t)
	wantError(t, install.Check(t.Context(), e.cluster, o), want)
	if diff := cmp.Diff(before, e.everything(t)); diff != "" {
		t.Errorf("checking changed (-before +after):\n%s", diff)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		err = errors.New("")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func (e *env) remove(t *testing.T, removal *install.Removal) {
	t.Helper()
	e.must(t, removal.Run(t.Context(), e.cluster, func(install.Change) {}))
	e.must(t, removal.Wait(t.Context(), e.cluster, time.Minute))
}

func (e *env) createNamespace(t *testing.T, name string) {
	t.Helper()
	_, err := e.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	e.must(t, err)
}

func (e *env) namespace(t *testing.T, name string) *corev1.Namespace {
	t.Helper()
	ns, err := e.kube.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	e.must(t, err)
	return ns
}

func (e *env) label(t *testing.T, namespace, key, value string) {
	t.Helper()
	_, err := e.kube.CoreV1().Namespaces().Patch(t.Context(), namespace, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, key, value), metav1.PatchOptions{})
	e.must(t, err)
}

func (e *env) waitGone(t *testing.T, namespace string) {
	t.Helper()
	for range 60 {
		_, err := e.kube.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatalf("namespace %s doesn't go away", namespace)
}

// checkOwner finds the ClusterRole owned by the binding of the same name.
func (e *env) checkOwner(t *testing.T, name string) {
	t.Helper()
	binding, err := e.kube.RbacV1().ClusterRoleBindings().Get(t.Context(), name, metav1.GetOptions{})
	e.must(t, err)
	role, err := e.kube.RbacV1().ClusterRoles().Get(t.Context(), name, metav1.GetOptions{})
	e.must(t, err)
	want := []metav1.OwnerReference{{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding", Name: name, UID: binding.UID}}
	if diff := cmp.Diff(want, role.OwnerReferences); diff != "" {
		t.Errorf("owners of the ClusterRole (-want +got):\n%s", diff)
	}
}

// restoreBinding gives the account of restores rights as a restore would.
func restoreBinding(t *testing.T, e *env, namespace, owner string) {
	t.Helper()
	own, err := e.kube.RbacV1().ClusterRoleBindings().Get(t.Context(), owner, metav1.GetOptions{})
	e.must(t, err)
	_, err = e.kube.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Name:   "velero-restore-" + namespace,
			Labels: map[string]string{"component": "velero", "kubectl-velero.io/operation": "restore"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRoleBinding", Name: own.Name, UID: own.UID,
			}},
		},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "velero-restore"}},
	}, metav1.CreateOptions{})
	e.must(t, err)
}

// veleroServer is a Deployment as Velero's own install makes it, under another name.
func veleroServer(replicas int32) *appsv1.Deployment {
	labels := map[string]string{"deploy": "velero"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "backup-server"},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(replicas),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "velero", Image: "velero/velero:v1.18.0", Command: []string{"/velero"}, Args: []string{"server", "--features="},
				}}},
			},
		},
	}
}

// actions are the different actions in changes.
func actions(changes []install.Change) []install.Action {
	var out []install.Action
	for _, c := range changes {
		if !slices.Contains(out, c.Action) {
			out = append(out, c.Action)
		}
	}
	return out
}

// changed are the changes that are any.
func changed(changes []install.Change) []string {
	var out []string
	for _, c := range changes {
		if c.Action != install.Unchanged {
			out = append(out, c.String())
		}
	}
	return out
}

func lines(changes []install.Change) string {
	var out strings.Builder
	for _, c := range changes {
		fmt.Fprintln(&out, c)
	}
	return out.String()
}

func names(removal *install.Removal) []string {
	if removal == nil {
		return nil
	}
	var out []string
	for _, object := range removal.Objects() {
		out = append(out, install.Name(object))
	}
	return out
}
