//go:build e2e

package tests

import (
	"regexp"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// TestSchedule waits for a run of a schedule, at most a minute and its backup.
func TestSchedule(t *testing.T) {
	s := patient(t)
	name := unique("often")
	s.must("kubectl", "velero", "schedule", "create", name, "--schedule", "* * * * *",
		"--include-namespaces", "default", "--ttl", "1h")
	s.must("kubectl", "velero", "schedule", "get", name)
	var backup velerov1.Backup
	s.eventually("the schedule has made a backup that completed", func() bool {
		list, err := s.velero.Backups(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: velerov1.ScheduleNameLabel + "=" + name})
		s.check(err)
		for _, backup = range list.Items {
			if backup.Status.Phase.Terminal() {
				return true
			}
		}
		return false
	})
	if backup.Status.Phase != velerov1.BackupPhaseCompleted {
		t.Errorf("phase %s: %s", backup.Status.Phase, backup.Status.FailureReason)
	}
	if !regexp.MustCompile(`^` + name + `-\d{14}$`).MatchString(backup.Name) {
		t.Errorf("name %q", backup.Name)
	}
	if backup.Spec.TTL.Duration != time.Hour {
		t.Errorf("ttl %s", backup.Spec.TTL.Duration)
	}
	if keys := s.keys("backups/" + backup.Name + "/velero-backup.json"); len(keys) != 1 {
		t.Errorf("marker: %q", keys)
	}
	// Deleting the schedule ends its CronJob and leaves its backups.
	s.must("kubectl", "-n", namespace, "delete", "schedule.velero.io/"+name)
	s.eventually("the schedule's CronJob is gone", func() bool {
		jobs, err := s.kube.BatchV1().CronJobs(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "kubectl-velero.io/name=" + name})
		s.check(err)
		return len(jobs.Items) == 0
	})
	if _, err := s.velero.Backups(namespace).Get(t.Context(), backup.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("the backup of a deleted schedule: %v", err)
	}
}
