//go:build integration

package hooks_test

import (
	"log/slog"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestRefusals is what a real API server says of hooks that don't get as far as a
// node: the end-to-end tests show the rest.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := rest.CopyConfig(w.cfg)
	stranger.Impersonate = rest.ImpersonationConfig{UserName: "stranger"}
	w.create(w.namespace, "unscheduled")
	for _, c := range []struct {
		name, pod string
		cfg       *rest.Config
		want      string
	}{
		{"pod gone", "gone", w.cfg, `run "mysql" with 1 argument in container "app": the pod is gone: pods "gone" not found`},
		{"pod on no node", "unscheduled", w.cfg, `in container "app": the container isn't running: pod unscheduled does not have a host assigned`},
		{"forbidden", "unscheduled", stranger, `is forbidden: User "stranger" cannot create resource "pods/exec" in API group "" in the namespace "` + w.namespace + `"; ` +
			`hint: grant "create pods/exec" in namespace "` + w.namespace + `" to the service account of the backup`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			executor, err := hooks.NewExecutor(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			r := &hooks.Runner{Exec: executor, Log: slog.New(slog.NewTextHandler(&log, nil))}
			failures, blocked := r.Run(t.Context(), hooks.Pod{Namespace: w.namespace, Name: c.pod, Containers: []string{"app"}}, hooks.Pre,
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
