//go:build e2e

package tests

import (
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

// TestInterruptedWait presses ctrl-C while a backup is waited for: the waiting
// ends, the backup goes on.
func TestInterruptedWait(t *testing.T) {
	s := start(t)
	if s.cluster.Kind != provider.Local {
		t.Skip("needs a server that pods reach on this machine: the local cluster")
	}
	g := s.newGate()
	location, name := s.gateLocation(g), unique("interrupted")
	reached, open := g.hold(name + ".tar.gz")
	cmd := exec.CommandContext(t.Context(), s.tree.Path("bin", "kubectl-velero"), "backup", "create", name,
		"--include-namespaces", "default", "--storage-location", location, "--wait")
	cmd.Env = s.c.Env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	s.check(cmd.Start())
	s.waitFor(reached)
	s.check(cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait() // its exit status is looked at
	t.Logf("%s%s", &stdout, &stderr)
	if code := cmd.ProcessState.ExitCode(); code != 4 {
		t.Errorf("exit status %d, want 4", code)
	}
	if want := "goes on in the cluster\nhint: "; !strings.Contains(stderr.String(), want) {
		t.Errorf("it doesn't say that the backup goes on: no %q", want)
	}
	open()
	if backup := s.ended(name); backup.Status.Phase != velerov1.BackupPhaseCompleted {
		t.Errorf("phase %s: %s", backup.Status.Phase, backup.Status.FailureReason)
	}
	s.must("kubectl", "velero", "backup", "delete", name, "--confirm")
}
