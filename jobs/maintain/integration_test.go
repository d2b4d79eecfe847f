//go:build integration

package maintain_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/installed"
	"github.com/kubectl-velero/kubectl-velero/jobs/maintain"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// failJob ends a Job as the Job controller, which doesn't run here, would.
func failJob(t *testing.T, i *installed.Installation, name string) {
	t.Helper()
	jobs := i.Kube.BatchV1().Jobs(i.Namespace)
	job, err := jobs.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	now := metav1.Now()
	job.Status.StartTime, job.Status.Failed = &now, 2
	for _, kind := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: batchv1.JobReasonBackoffLimitExceeded,
			Message: "Job has reached the specified backoff limit", LastTransitionTime: now,
		})
	}
	if _, err := jobs.UpdateStatus(t.Context(), job, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func maintained(t *testing.T, i *installed.Installation, startTimeout time.Duration) report.Summary {
	t.Helper()
	summary, err := maintain.Run(t.Context(), maintain.Config{Env: i.Env, StartTimeout: startTimeout})
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

type end struct{ phase, reason string }

func backupEnd(t *testing.T, i *installed.Installation, name string) end {
	t.Helper()
	b, err := i.Velero.Backups(i.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return end{string(b.Status.Phase), b.Status.FailureReason}
}

func TestChoresOnRealServers(t *testing.T) {
	t.Parallel()
	i := installed.New(t)
	ours, commits := installed.Alive(), installed.Alive()
	commits[velerov1.CommittingAnnotation] = "true"
	died := i.Backup("died", velerov1.BackupPhaseInProgress, ours)
	done := i.Backup("done", velerov1.BackupPhaseInProgress, commits)
	torn := i.Backup("torn", velerov1.BackupPhaseInProgress, commits)
	starts := i.Backup("starts", velerov1.BackupPhaseInProgress, ours)
	i.Backup("server", velerov1.BackupPhaseInProgress, nil)
	i.Backup("young", velerov1.BackupPhaseInProgress, ours)
	for _, b := range []*velerov1.Backup{died, done, torn} {
		failJob(t, i, i.Job(velerov1.OperationBackup, b.Name, b.UID))
	}
	job := i.Job(velerov1.OperationBackup, starts.Name, starts.UID)
	countSnapshots(t, i, died.Name, done.Name)

	marker := done.DeepCopy()
	completed := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	marker.Status = velerov1.BackupStatus{Phase: velerov1.BackupPhasePartiallyFailed, Errors: 1, CompletionTimestamp: &completed}
	if err := catalog.New(i.Bucket).Commit(t.Context(), marker); err != nil {
		t.Fatal(err)
	}

	back := i.Restore("back", "done", velerov1.RestorePhaseInProgress)
	failJob(t, i, i.Job(velerov1.OperationRestore, back.Name, back.UID))
	over := i.Restore("over", "done", velerov1.RestorePhaseCompleted)
	on := i.Restore("on", "done", velerov1.RestorePhaseInProgress)
	for name, uid := range map[string]types.UID{"back": back.UID, "over": over.UID, "on": on.UID, "gone": "0123456789"} {
		i.Bind(name, uid)
	}
	previews := launch.Rights{Kube: i.Kube, Namespace: i.Namespace, Operation: velerov1.OperationPreview}
	looked, looks := uuid.NewUUID(), uuid.NewUUID()
	for _, uid := range []types.UID{looked, looks} {
		if err := previews.Bind(t.Context(), "done", uid); err != nil {
			t.Fatal(err)
		}
	}
	failJob(t, i, i.Job(velerov1.OperationPreview, "done", looked))
	i.Job(velerov1.OperationPreview, "done", looks)
	orphan := i.Job(velerov1.OperationBackup, "orphan", "long-gone")

	if got := maintained(t, i, time.Hour); got.Outcome != report.Completed || got.Items != 8 {
		t.Errorf("summary = %+v, want 3 backups and a restore ended, 3 bindings and a Job removed", got)
	}
	noWord := "its Job failed and its pods are gone: Job has reached the specified backoff limit"
	want := map[string]end{
		"died": {"Failed", noWord}, "torn": {"Failed", noWord}, "done": {"PartiallyFailed", ""},
		"starts": {"InProgress", ""}, "server": {"InProgress", ""}, "young": {"InProgress", ""},
	}
	got := map[string]end{}
	for name := range want {
		got[name] = backupEnd(t, i, name)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(end{})); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
	checkAdopted(t, i, marker)
	checkCountless(t, i, "died")
	checkRestore(t, i, "back", noWord)
	checkBindings(t, i, on.UID, looks)
	if _, err := i.Kube.BatchV1().Jobs(i.Namespace).Get(t.Context(), orphan, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Job of a Backup that is gone: %v", err)
	}
	events := i.Events()
	slices.Sort(events)
	if diff := cmp.Diff([]string{"Backup/died Failed", "Backup/done BackupPartiallyFailed", "Backup/torn Failed", "Restore/back Failed"}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	if got := maintained(t, i, time.Millisecond); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("summary with a short start timeout = %+v, want one backup ended", got)
	}
	if got := backupEnd(t, i, "starts"); got.phase != "Failed" || !strings.HasPrefix(got.reason, "it did not start within 1ms") {
		t.Errorf("backup that can't start: %+v", got)
	}
	if _, err := i.Kube.BatchV1().Jobs(i.Namespace).Get(t.Context(), job, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Job that can't start: %v", err)
	}
	if got := maintained(t, i, time.Millisecond); got.Items != 0 {
		t.Errorf("a third run = %+v, want nothing to do", got)
	}
}

// countSnapshots gives Backups what an executor tells of snapshots while it runs.
func countSnapshots(t *testing.T, i *installed.Installation, names ...string) {
	t.Helper()
	counts := map[string]int{}
	for n, count := range velerov1.SnapshotCounts() {
		counts[count] = n + 1
	}
	patch, err := json.Marshal(map[string]any{"status": counts})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, err := i.Velero.Backups(i.Namespace).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// checkCountless fails where a backup that failed tells of snapshots: it has none.
func checkCountless(t *testing.T, i *installed.Installation, name string) {
	t.Helper()
	b, err := i.Velero.Backups(i.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := b.Status
	if n := s.VolumeSnapshotsAttempted + s.VolumeSnapshotsCompleted + s.CSIVolumeSnapshotsAttempted + s.CSIVolumeSnapshotsCompleted +
		s.BackupItemOperationsAttempted + s.BackupItemOperationsCompleted + s.BackupItemOperationsFailed; n != 0 {
		t.Errorf("backup %q tells of snapshots: %+v", name, s)
	}
}

func checkAdopted(t *testing.T, i *installed.Installation, marker *velerov1.Backup) {
	t.Helper()
	b, err := i.Velero.Backups(i.Namespace).Get(t.Context(), marker.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(marker.Status, b.Status); diff != "" {
		t.Errorf("adopted status (-marker +object):\n%s", diff)
	}
}

func checkRestore(t *testing.T, i *installed.Installation, name, reason string) {
	t.Helper()
	r, err := i.Velero.Restores(i.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Status.Phase != velerov1.RestorePhaseFailed || r.Status.FailureReason != reason {
		t.Errorf("restore %s: %+v", name, r.Status)
	}
}

// checkBindings wants the rights of these operations, and no other's, to be left.
func checkBindings(t *testing.T, i *installed.Installation, uids ...types.UID) {
	t.Helper()
	list, err := i.Kube.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{LabelSelector: velerov1.OperationLabel})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range list.Items {
		if b.Subjects[0].Namespace == i.Namespace {
			names = append(names, b.Name)
		}
	}
	var want []string
	for _, uid := range uids {
		want = append(want, launch.BindingName(uid))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
}
