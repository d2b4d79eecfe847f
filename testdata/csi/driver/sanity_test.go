//go:build cluster

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
)

// TestSanity is the test that the makers of CSI have for drivers. It needs root;
// the driver's mounts stay in a namespace of its own.
func TestSanity(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "driver")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the driver: %v\n%s", err, out)
	}
	socket := filepath.Join(dir, "csi.sock")
	driver := exec.CommandContext(t.Context(), "unshare", "--mount", binary, "-data", filepath.Join(dir, "data"), "-endpoint", socket)
	driver.Stdout, driver.Stderr = t.Output(), t.Output()
	driver.WaitDelay = time.Second
	if err := driver.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Wait() }) // killed with the test's context
	config := sanity.NewTestConfig()
	config.Address = socket
	config.TargetPath = filepath.Join(dir, "target")
	config.StagingPath = filepath.Join(dir, "staging")
	sanity.Test(t, config)
}
