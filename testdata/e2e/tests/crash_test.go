//go:build e2e

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

// TestKilled kills the executor's process in the middle of the upload.
func TestKilled(t *testing.T) {
	s := start(t)
	if s.cluster.Kind != provider.Local {
		t.Skip("needs the node's processes and a server that pods reach on this machine: the local cluster")
	}

	s.rest()
	t.Run("once and the retry completes", func(t *testing.T) {
		s := s.beside(t)
		g := s.newGate()
		location, name := s.gateLocation(g), unique("killed")
		open := s.killInUpload(g, name, location)
		open()
		backup := s.ended(name)
		if backup.Status.Phase != velerov1.BackupPhaseCompleted {
			t.Errorf("phase %s, %s", backup.Status.Phase, backup.Status.FailureReason)
		}
		if !slices.Contains(s.keys(gatePrefix+"/backups/"+name+"/"), gatePrefix+"/backups/"+name+"/velero-backup.json") {
			t.Error("a completed backup has no marker")
		}
		s.must("kubectl", "velero", "backup", "delete", name, "--confirm")
		if keys := s.keys(gatePrefix + "/backups/" + name + "/"); len(keys) > 0 {
			t.Errorf("left in the bucket: %q", keys)
		}
	})

	t.Run("twice and it has failed", func(t *testing.T) {
		s := s.beside(t)
		g := s.newGate()
		location, name := s.gateLocation(g), unique("killed")
		s.killInUpload(g, name, location)()
		s.killRetry(g, name)
		backup := s.ended(name)
		if backup.Status.Phase != velerov1.BackupPhaseFailed || backup.Status.FailureReason == "" {
			t.Errorf("phase %s, reason %q", backup.Status.Phase, backup.Status.FailureReason)
		}
		if slices.Contains(s.keys(gatePrefix+"/backups/"+name+"/"), gatePrefix+"/backups/"+name+"/velero-backup.json") {
			t.Error("half a backup is listed")
		}
		s.must("kubectl", "velero", "backup", "delete", name, "--confirm")
	})
}

// killInUpload starts a backup, kills its process when it writes the archive,
// and returns what lets the next attempt's upload go.
func (s *session) killInUpload(g *gate, name, location string) (open func()) {
	s.t.Helper()
	reached, open := g.hold(name + ".tar.gz")
	s.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", "kube-system", "--storage-location", location)
	s.waitFor(reached)
	s.kill("backup", name)
	return open
}

// killRetry kills the second attempt at the same place.
func (s *session) killRetry(g *gate, name string) {
	s.t.Helper()
	reached, open := g.hold(name + ".tar.gz")
	s.waitFor(reached)
	s.kill("backup", name)
	open()
}

func (s *session) waitFor(reached <-chan struct{}) {
	s.t.Helper()
	select {
	case <-reached:
	case <-time.After(patience):
		s.t.Fatalf("the operation has not come to the gate within %s", patience)
	}
}

// gatePrefix is that of locations that are reached through a gate.
const gatePrefix = "gate"

// gateLocation creates a BackupStorageLocation that is reached through the gate.
func (s *session) gateLocation(g *gate) string {
	s.t.Helper()
	name := unique("gate")
	s.apply(fmt.Sprintf(`apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: %s, namespace: %s}
spec:
  provider: aws
  objectStorage: {bucket: %s, prefix: %s}
  config: {region: us-east-1, s3ForcePathStyle: "true", s3Url: %q}
`, name, namespace, bucket, gatePrefix, g.URL))
	s.after("kubectl", "-n", namespace, "delete", "backupstoragelocation.velero.io/"+name)
	return name
}

// kill sends SIGKILL to the executor that works on a backup or a restore.
func (s *session) kill(operation, name string) {
	s.t.Helper()
	pid := s.process(operation, name)
	s.check(syscall.Kill(pid, syscall.SIGKILL))
	s.t.Logf("killed process %d", pid)
}

// process finds the executor that works on a backup or a restore among the
// processes of this machine, which is the local cluster's node.
func (s *session) process(operation, name string) int {
	s.t.Helper()
	command := strings.Join([]string{"/executor", operation, "--name", name}, "\x00")
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	s.check(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(text), command+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		s.check(err)
		return pid
	}
	s.t.Fatalf("no process of %s %q", operation, name)
	return 0
}

// ended waits until the backup has a terminal phase, as the CR says it without
// anyone's help but the product's own readers.
func (s *session) ended(name string) *velerov1.Backup {
	s.t.Helper()
	var backup *velerov1.Backup
	var looked time.Time
	s.eventually("backup "+name+" has ended", func() bool {
		if time.Since(looked) > time.Second { // else the looks are most of the machine's work
			s.try("kubectl", "velero", "backup", "get", name)
			looked = time.Now()
		}
		var err error
		backup, err = s.velero.Backups(namespace).Get(s.t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false
		}
		s.check(err)
		return backup.Status.Phase.Terminal()
	})
	return backup
}
