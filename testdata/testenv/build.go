package testenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// tool is a program of the test-bed.
type tool struct {
	name string
	// module is the nested module that pins it, relative to the repository.
	module string
	// pkg is what to build there.
	pkg string
}

// ensure returns the path of the tool's binary in the state folder, building
// it first if it is missing or older than its module's pins. A lock keeps test
// binaries that run side by side from building it twice.
func (t tool) ensure(ctx context.Context) (string, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	state, err := StateFolder()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(state, "bin", t.name)
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(state, "bin", "."+t.name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	module := filepath.Join(root, t.module)
	if fresh, err := newer(binary, filepath.Join(module, "go.sum")); err != nil || fresh {
		return binary, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, t.pkg)
	build.Dir = module
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w; hint: see what this says:\ncd %s && go build -o %s %s\n%s", t.name, err, module, binary, t.pkg, out)
	}
	// The go command leaves a binary alone that is the same.
	now := time.Now()
	return binary, os.Chtimes(binary, now, now)
}

// newer says whether the file a exists and is not older than b.
func newer(a, b string) (bool, error) {
	infoA, err := os.Stat(a)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	infoB, err := os.Stat(b)
	if err != nil {
		return false, err
	}
	return !infoA.ModTime().Before(infoB.ModTime()), nil
}

// lock waits for an exclusive lock on a file; the end of the process gives it
// back too.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close() // never locked
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil // closing is unlocking
}

// Executor returns the path of the program that Jobs run, built from the working
// tree.
func Executor(tb testing.TB) string {
	tb.Helper()
	binary, err := buildExecutor(tb.Context())
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return binary
}

// buildExecutor leaves to the go command what is out of date. The name isn't that
// of anybody's own build.
func buildExecutor(ctx context.Context) (string, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	state, err := StateFolder()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(state, "bin", "executor-of-tests")
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(state, "bin", ".executor-of-tests.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/executor")
	build.Dir = root
	build.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the executor: %w\n%s", err, out)
	}
	return binary, nil
}
