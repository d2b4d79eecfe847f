//go:build e2e

package tests

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

// TestKind runs the demo on kind.
func TestKind(t *testing.T) {
	if provider.Engine(t.Context()) == "" {
		t.Skip("no container engine answers")
	}
	s := alone(t)
	demo := filepath.Join(s.tree.Bin(), "demo")
	s.check(s.tree.Build(t.Context(), s.tree.Path("testdata", "e2e"), "./cmd/demo", demo))
	s.c.Env = append(s.c.Env, "KUBECONFIG=")
	out := s.must(demo, "--name", "e2e-kind")
	if want := "objects are what they were"; !strings.Contains(out, want) {
		t.Errorf("the demo doesn't say %q", want)
	}
	s.must(demo, "--name", "e2e-kind", "clean")
}
