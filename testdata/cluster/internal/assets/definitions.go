package assets

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// csiModule pins the CSI driver's sidecars, below testdata.
	csiModule = "csi"
	// snapshotAPI is the module with the definitions of the snapshot API.
	snapshotAPI = "github.com/kubernetes-csi/external-snapshotter/client/v8"
)

// Definitions is the folder of the snapshot API's definitions, a file for each.
func (b Builder) Definitions() string { return b.State.Bin("csi/definitions") }

// bringDefinitions copies the definitions out of their module. Those of an older
// version are of no more use.
func (b Builder) bringDefinitions(ctx context.Context) error {
	source := filepath.Join(b.State.Source, csiModule)
	if newer(b.Definitions(), filepath.Join(source, "go.sum")) {
		return nil
	}
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", snapshotAPI)
	list.Dir = source
	list.Env = append(os.Environ(), "GOWORK=off")
	list.Stderr = b.Out
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("find module %s: %w", snapshotAPI, err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "config", "crd", "*snapshot.storage.k8s.io_*.yaml"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("there are none in %s", strings.TrimSpace(string(out)))
	}
	if err != nil {
		return fmt.Errorf("find the snapshot API's definitions: %w", err)
	}
	next := b.Definitions() + ".new"
	for _, old := range []string{next, b.Definitions()} {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("bring the snapshot API's definitions: %w", err)
		}
	}
	if err := os.Mkdir(next, 0o755); err != nil {
		return fmt.Errorf("bring the snapshot API's definitions: %w", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(next, filepath.Base(file)), body, 0o644)
		}
		if err != nil {
			return fmt.Errorf("bring the snapshot API's definitions: %w", err)
		}
	}
	return os.Rename(next, b.Definitions())
}
