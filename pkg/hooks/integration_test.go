//go:build integration

package hooks_test

import (
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestRefusals is what a real API server says of hooks that don't get as far as a
// node: the end-to-end tests show the rest.
func TestRefusals(t *testing.T) {
	t.Parallel()
	cfg := testenv.APIServer(t)
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stranger := rest.CopyConfig(cfg)
	stranger.Impersonate = rest.ImpersonationConfig{UserName: "stranger"}
	// No controller runs that would make it, and a pod needs one.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := clients.CoreV1().ServiceAccounts("default").Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "unscheduled"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	if _, err := clients.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, pod string
		cfg       *rest.Config
		want      string
	}{
		{"pod gone", "gone", cfg, `run "mysql" with 1 argument in container "app": the pod is gone: pods "gone" not found`},
		{"pod on no node", "unscheduled", cfg, `in container "app": the container isn't running: pod unscheduled does not have a host assigned`},
		{"forbidden", "unscheduled", stranger, `is forbidden: User "stranger" cannot create resource "pods/exec" in API group "" in the namespace "default"; ` +
			`hint: grant "create pods/exec" in namespace "default" to the service account of the backup`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			executor, err := hooks.NewExecutor(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			r := &hooks.Runner{Exec: executor, Log: slog.New(slog.NewTextHandler(&log, nil))}
			failures, blocked := r.Run(t.Context(), hooks.Pod{Namespace: "default", Name: c.pod, Containers: []string{"app"}}, hooks.Pre,
				[]hooks.Hook{{Source: "test", Command: []string{"mysql", "-ps3cr3t"}}})
			if len(failures) != 1 || !blocked || !strings.HasSuffix(failures[0].Error(), c.want) {
				t.Errorf("got  %v\nwant one that ends with %s", failures, c.want)
			}
			if text := failures[0].Error() + log.String(); strings.Contains(text, "s3cr3t") {
				t.Errorf("tells an argument: %s", text)
			}
		})
	}
}
