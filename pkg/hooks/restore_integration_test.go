//go:build integration

package hooks_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// world is a namespace of a real API server. There is no kubelet, so that tests
// write the status of pods.
type world struct {
	*testing.T
	kube      kubernetes.Interface
	cfg       *rest.Config
	namespace string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, cfg: testenv.APIServer(t)}
	w.cfg.QPS = -1
	var err error
	if w.kube, err = kubernetes.NewForConfig(w.cfg); err != nil {
		t.Fatal(err)
	}
	w.namespace = w.newNamespace()
	return w
}

// newNamespace makes one in which pods can be created: no controller runs that
// would make the account they need.
func (w *world) newNamespace() string {
	w.Helper()
	namespace, err := w.kube.CoreV1().Namespaces().Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "hooks-"}}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := w.kube.CoreV1().ServiceAccounts(namespace.Name).Create(w.Context(), account, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	return namespace.Name
}

// create makes a pod and returns what hooks need to know of it.
func (w *world) create(namespace, name string) hooks.Pod {
	w.Helper()
	made, err := w.kube.CoreV1().Pods(namespace).Create(w.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}, TerminationGracePeriodSeconds: new(int64)},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return hooks.Pod{Namespace: namespace, Name: name, UID: made.UID, Containers: []string{"app"}}
}

// status writes the status of a pod.
func (w *world) status(pod hooks.Pod, status corev1.PodStatus) {
	w.Helper()
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.kube.CoreV1().Pods(pod.Namespace).Patch(w.Context(), pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		w.Fatal(err)
	}
}

// running is the status of a pod whose container runs.
func running() corev1.PodStatus {
	started := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	return corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "app", Image: "app", State: started}}}
}

// runner runs hooks with the rights of a user; commands do nothing.
func (w *world) runner(user string, opts hooks.PostOptions) (*hooks.PostRunner, *fake) {
	w.Helper()
	cfg := rest.CopyConfig(w.cfg)
	if user != "" {
		cfg.Impersonate = rest.ImpersonationConfig{UserName: user}
	}
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		w.Fatal(err)
	}
	f := &fake{}
	return hooks.NewPostRunner(kube, f, slog.New(slog.DiscardHandler), opts), f
}

// failures waits for the end and returns what failed as lines.
func failures(t *testing.T, r *hooks.PostRunner) string {
	t.Helper()
	var lines []string
	for _, f := range r.Wait(t.Context()) {
		lines = append(lines, f.Pod+": "+f.Err.Error())
	}
	return strings.Join(lines, "\n")
}

// TestPostRunnerOfRealPods has more namespaces with pods than are watched each
// by itself, and pods that start before and after their hooks begin to wait.
func TestPostRunnerOfRealPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, f := w.runner("", hooks.PostOptions{MaxWatches: 2})
	const namespaces, pods = 4, 10
	var later []hooks.Pod
	for range namespaces {
		namespace := w.newNamespace()
		for i := range pods {
			pod := w.create(namespace, fmt.Sprint("web-", i))
			if i%2 == 0 {
				w.status(pod, running())
			} else {
				later = append(later, pod)
			}
			r.Start(t.Context(), pod, []hooks.PostHook{in("app", "a"), in("app", "b")})
		}
	}
	for _, pod := range later {
		w.status(pod, running())
	}
	if got := failures(t, r); got != "" {
		t.Error(got)
	}
	if want := 2 * namespaces * pods; len(f.ran) != want || r.Attempted() != want || r.Failed() != 0 {
		t.Errorf("%d ran, attempted %d, failed %d; want %d", len(f.ran), r.Attempted(), r.Failed(), want)
	}
}

// TestPostRunnerOfPodsThatEnd is pods whose containers never run.
func TestPostRunnerOfPodsThatEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, f := w.runner("", hooks.PostOptions{})
	start := func(name string, change ...func(*hooks.PostHook)) hooks.Pod {
		pod := w.create(w.namespace, name)
		r.Start(t.Context(), pod, []hooks.PostHook{in("app", "a", change...)})
		return pod
	}
	remove := func(pod hooks.Pod) {
		if err := w.kube.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	start("late", waits(time.Second))
	remove(start("deleted"))
	replaced := start("replaced")
	remove(replaced)
	w.status(w.create(w.namespace, "replaced"), running())
	w.status(start("succeeded"), corev1.PodStatus{Phase: corev1.PodSucceeded})
	w.status(start("failed"), corev1.PodStatus{Phase: corev1.PodFailed})
	w.status(start("runs"), running())

	const prefix = ": restore hook (a): not run: "
	got := failures(t, r)
	// Which of the two is seen depends on who is faster.
	got = strings.Replace(got, ", and another has taken its name", "", 1)
	want := "deleted" + prefix + "the pod was deleted\n" +
		"failed" + prefix + "the pod has ended (phase Failed)\n" +
		"late" + prefix + `container "app" isn't running after 1s: no node has reported on it` + "\n" +
		"replaced" + prefix + "the pod was deleted\n" +
		"succeeded" + prefix + "the pod has ended (phase Succeeded)"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if len(f.ran) != 1 || r.Attempted() != 6 || r.Failed() != 5 {
		t.Errorf("ran %v, attempted %d, failed %d", f.ran, r.Attempted(), r.Failed())
	}
}

// TestPostRunnerRights is users who may not do all that a runner does.
func TestPostRunnerRights(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		verbs []string
		want  string
	}{
		{"only get: pods are read now and then", []string{"get"}, ""},
		{"nothing", nil, `hint: grant "get pods" in namespace `},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.allow("reader-"+w.namespace, c.verbs)
			r, f := w.runner("reader-"+w.namespace, hooks.PostOptions{})
			pod := w.create(w.namespace, "web")
			r.Start(t.Context(), pod, []hooks.PostHook{in("app", "a")})
			w.status(pod, running())
			if got := failures(t, r); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q", got)
			}
			if ran := len(f.ran) == 1; ran != (c.want == "") {
				t.Errorf("ran %v", f.ran)
			}
		})
	}
}

// allow lets a user do something with pods.
func (w *world) allow(user string, verbs []string) {
	w.Helper()
	if len(verbs) == 0 {
		return
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs}}}
	if _, err := w.kube.RbacV1().Roles(w.namespace).Create(w.Context(), role, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	if _, err := w.kube.RbacV1().RoleBindings(w.namespace).Create(w.Context(), binding, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	cfg := rest.CopyConfig(w.cfg)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user}
	for _, verb := range verbs {
		testenv.AwaitRights(w.T, cfg, authorizationv1.ResourceAttributes{Verb: verb, Resource: "pods", Namespace: w.namespace})
	}
}
