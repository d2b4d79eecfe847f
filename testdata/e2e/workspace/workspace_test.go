package workspace

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFindRoot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	nested := filepath.Join(root, "testdata", "e2e")
	if err := os.MkdirAll(nested, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		filepath.Join(root, "go.mod"):   module,
		filepath.Join(nested, "go.mod"): "module github.com/kubectl-velero/kubectl-velero/testdata/e2e\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := findRoot(nested); err != nil || got != root {
		t.Errorf("root %q, %v", got, err)
	}
	if _, err := findRoot("/"); err == nil {
		t.Error("found a root above /")
	}
}

func TestEnvPutsOursFirst(t *testing.T) {
	t.Parallel()
	tree := Tree{Root: "/clone", State: "/state"}
	env := tree.Env("/state/kubeconfig")
	for _, want := range []string{"KUBECONFIG=/state/kubeconfig", "PATH=/clone/bin:/state/bin:" + os.Getenv("PATH")} {
		if !slices.Contains(env, want) {
			t.Errorf("environment has no %q", want)
		}
	}
}
