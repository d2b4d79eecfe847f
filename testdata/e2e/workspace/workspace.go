// Package workspace knows where things are in a clone of the repository: the
// root, the state folder of the test-bed, and how a static binary is built from
// one of the repository's modules. It starts nothing that outlives a call.
package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is the first line of the root's go.mod; nested modules have longer names.
const module = "module github.com/kubectl-velero/kubectl-velero\n"

// Tree is one clone of the repository. All paths are absolute.
type Tree struct {
	// Root is the folder with the product's go.mod.
	Root string
	// State is where everything built, started or recorded lives:
	// TESTBED_STATE, or .testbed in the root.
	State string
}

// Find returns the clone that the working directory is in.
func Find() (Tree, error) {
	dir, err := os.Getwd()
	if err != nil {
		return Tree{}, err
	}
	root, err := findRoot(dir)
	if err != nil {
		return Tree{}, err
	}
	state := os.Getenv("TESTBED_STATE")
	if state == "" {
		return Tree{Root: root, State: filepath.Join(root, ".testbed")}, nil
	}
	state, err = filepath.Abs(state)
	return Tree{Root: root, State: state}, err
}

func findRoot(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		text, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte(module)) {
			return at, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("find the repository above %q: no go.mod of kubectl-velero", dir)
		}
	}
}

// Bin is the folder of the binaries that the test-bed and the harness build.
func (t Tree) Bin() string { return filepath.Join(t.State, "bin") }

// Path joins elements to the root.
func (t Tree) Path(elements ...string) string {
	return filepath.Join(append([]string{t.Root}, elements...)...)
}

// Env is the environment for a command run against a cluster: ours first on the
// PATH (the plugin in bin/, kubectl in the state folder), and its kubeconfig.
// kubectl's cache goes below the state folder, so that HOME isn't touched.
func (t Tree) Env(kubeconfig string) []string {
	path := strings.Join([]string{t.Path("bin"), t.Bin(), os.Getenv("PATH")}, string(os.PathListSeparator))
	return append(os.Environ(), "PATH="+path, "KUBECONFIG="+kubeconfig,
		"KUBECACHEDIR="+filepath.Join(t.State, "kubecache"))
}

// Build compiles pkg of the module in dir into the file out, without cgo and
// with the same bytes on every machine of one Go version.
func (t Tree) Build(ctx context.Context, dir, pkg, out string) error {
	cmd := exec.CommandContext(ctx, "go", BuildArgs(pkg, out)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, bytes.TrimSpace(output))
	}
	return nil
}

// leaveOut are the switches that leave out what an executor never uses, as in the
// Makefile; nothing else has them.
const leaveOut = "disable_grpc_modules,grpcnotrace"

// BuildArgs are the arguments of go that Build runs, for printing.
func BuildArgs(pkg, out string) []string {
	return []string{"build", "-trimpath", "-tags", leaveOut, "-ldflags=-s -w", "-o", out, pkg}
}
