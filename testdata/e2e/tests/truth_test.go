//go:build e2e

package tests

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// jobMissing is how long a Job may be missing before its operation has failed.
const jobMissing = time.Minute

// TestJobNeverMade is a backup whose plugin died between its two creates: who
// looks finds out, and so does maintenance when nobody looks.
func TestJobNeverMade(t *testing.T) {
	s := patient(t)
	seen, unseen := unique("seen"), unique("unseen")
	for _, name := range []string{seen, unseen} {
		s.apply(fmt.Sprintf(`apiVersion: velero.io/v1
kind: Backup
metadata: {name: %s, namespace: %s, annotations: {kubectl-velero.io/attempt: "0"}}
spec: {includedNamespaces: [default], storageLocation: default, ttl: 1h}
status: {phase: InProgress}
`, name, namespace))
		s.after("kubectl", "-n", namespace, "delete", "backup.velero.io/"+name)
	}
	t.Run("told by a reader", func(t *testing.T) {
		t.Parallel()
		s := s.sub(t) // it mostly waits, too
		if backup := s.ended(seen); backup.Status.Phase != velerov1.BackupPhaseFailed || backup.Status.FailureReason == "" {
			t.Errorf("phase %s, reason %q", backup.Status.Phase, backup.Status.FailureReason)
		}
	})
	t.Run("told by maintenance", func(t *testing.T) {
		t.Parallel()
		s := s.sub(t) // it mostly waits, too
		time.Sleep(jobMissing + 5*time.Second)
		job := unique("maintenance")
		s.must("kubectl", "-n", namespace, "create", "job", job, "--from=cronjob/velero-maintenance")
		// The Job itself fails where another test has a location that is broken.
		s.eventually("maintenance tells", func() bool {
			backup, err := s.velero.Backups(namespace).Get(t.Context(), unseen, metav1.GetOptions{})
			s.check(err)
			return backup.Status.Phase == velerov1.BackupPhaseFailed && backup.Status.FailureReason != ""
		})
	})
}
