package maintain_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/apitest"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	"github.com/kubectl-velero/kubectl-velero/jobs/maintain"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	veleroNamespace = "/apis/velero.io/v1/namespaces/velero/"
	jobs            = "/apis/batch/v1/namespaces/velero/jobs"
	pods            = "/api/v1/namespaces/velero/pods"
	bindings        = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
	markerKey       = "backups/shop/velero-backup.json"
)

// world is a cluster and a bucket.
type world struct {
	api    *apitest.Server
	bucket *memstore.Bucket
	env    *run.Env
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{api: apitest.New(t), bucket: memstore.New(nil)}
	velero, kube, dynamic := w.api.Clients()
	w.env = &run.Env{
		REST: w.api.Config, Client: velero, Kube: kube, Dynamic: dynamic, Namespace: "velero",
		Attempt: 1, LastAttempt: true, Log: slog.New(slog.DiscardHandler),
		OpenStore: func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) { return w.bucket, nil },
	}
	w.api.Add("/api/v1/namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "this-cluster"}})
	w.api.Add(veleroNamespace+"backupstoragelocations", &velerov1.BackupStorageLocation{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
	return w
}

// writes are those to the cluster, without what is noted about locations.
func (w *world) writes() []string {
	return slices.DeleteFunc(w.api.Writes(), func(write string) bool { return strings.Contains(write, "/backupstoragelocations/") })
}

func (w *world) run(t *testing.T) report.Summary {
	t.Helper()
	summary, err := maintain.Run(t.Context(), maintain.Config{Env: w.env, StartTimeout: maintain.DefaultStartTimeout})
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	return summary
}

// put writes an object into the bucket.
func (w *world) put(t *testing.T, key, body string) {
	t.Helper()
	if err := w.bucket.Put(t.Context(), key, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
}

func ago(d time.Duration) metav1.Time { return metav1.NewTime(time.Now().Add(-d)) }

func meta(name string, annotations ...string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, CreationTimestamp: ago(time.Hour), Annotations: map[string]string{velerov1.AttemptAnnotation: "1"}}
	for i := 0; i < len(annotations); i += 2 {
		m.Annotations[annotations[i]] = annotations[i+1]
	}
	return m
}

func backup(annotations ...string) *velerov1.Backup {
	return &velerov1.Backup{
		ObjectMeta: meta("shop", annotations...),
		Spec:       velerov1.BackupSpec{StorageLocation: "default"},
		Status:     velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}
}

func restore() *velerov1.Restore {
	return &velerov1.Restore{
		ObjectMeta: meta("back"),
		Spec:       velerov1.RestoreSpec{BackupName: "shop"},
		Status:     velerov1.RestoreStatus{Phase: velerov1.RestorePhaseInProgress},
	}
}

func job(operation, uid string, edit ...func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: operation + "-job", UID: types.UID(operation + "-job-uid"), CreationTimestamp: ago(time.Hour),
		Labels: map[string]string{
			velerov1.ComponentLabel: velerov1.ComponentValue,
			velerov1.OperationLabel: operation, velerov1.OperationUIDLabel: uid,
		},
	}}
	for _, e := range edit {
		e(j)
	}
	return j
}

func jobFailed(j *batchv1.Job) {
	j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, LastTransitionTime: ago(time.Minute)}}
}

// podOf is a pod of a Job with a status of its executor.
func podOf(j *batchv1.Job, phase corev1.PodPhase, state corev1.ContainerState) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: j.Name + "-pod", CreationTimestamp: j.CreationTimestamp, Labels: map[string]string{
			velerov1.OperationLabel: j.Labels[velerov1.OperationLabel], batchv1.ControllerUidLabel: string(j.UID),
		}},
		Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "executor"}}},
		Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{
			{Name: "executor", Image: "example.com/executor:1", State: state},
		}},
	}
}

func terminated(code int32, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message}}
}

func running() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: ago(time.Minute)}}
}

func marker(uid, phase string) string {
	return fmt.Sprintf(`{"kind":"Backup","apiVersion":"velero.io/v1",`+
		`"metadata":{"name":"shop","uid":%q,"annotations":{"kubectl-velero.io/top-causes":"one secret"}},`+
		`"status":{"phase":%q,"errors":1,"warnings":2,"completionTimestamp":"2026-01-02T03:04:05Z","progress":{"totalItems":9,"itemsBackedUp":8}}}`, uid, phase)
}

// status is what a record says in the end.
type status struct {
	Phase, Reason string
	Errors        int64
	Causes        string
}

func (w *world) status(path string) status {
	u := w.api.Get(veleroNamespace + path)
	if u == nil {
		return status{}
	}
	var s status
	s.Phase, _, _ = unstructured.NestedString(u.Object, "status", "phase")
	s.Reason, _, _ = unstructured.NestedString(u.Object, "status", "failureReason")
	switch n, _, _ := unstructured.NestedFieldNoCopy(u.Object, "status", "errors"); n := n.(type) {
	case int64:
		s.Errors = n
	case float64:
		s.Errors = int64(n)
	}
	s.Causes = u.GetAnnotations()[velerov1.TopCausesAnnotation]
	return s
}

const committing, yes = velerov1.CommittingAnnotation, "true"

func TestEndsOfBackups(t *testing.T) {
	t.Parallel()
	failedJob := job("backup", "uid-of-shop", jobFailed)
	for name, test := range map[string]struct {
		backup *velerov1.Backup
		// fresh sets times just before the run: a parallel test may start
		// minutes after this table was made.
		fresh func(b *velerov1.Backup)
		setup func(t *testing.T, w *world)
		want  status
		// outcome of the run; empty means Completed.
		outcome report.Outcome
		reason  string
	}{
		"Job gone": {
			backup: backup(velerov1.HeartbeatAnnotation, ago(2*time.Minute).UTC().Format(time.RFC3339)),
			want:   status{Phase: "Failed", Reason: "its Job is gone and left no word"},
		},
		"never started": {
			backup: backup(), want: status{Phase: "Failed", Reason: "it was never started: there is no Job for it"},
		},
		"Job gone, but not for 60 s": {
			backup: backup(),
			fresh: func(b *velerov1.Backup) {
				b.Annotations[velerov1.HeartbeatAnnotation] = ago(30 * time.Second).UTC().Format(time.RFC3339)
			},
			want: status{Phase: "InProgress"},
		},
		"just created": {
			backup: backup(),
			fresh:  func(b *velerov1.Backup) { b.CreationTimestamp = metav1.Now() },
			want:   status{Phase: "InProgress"},
		},
		"killed": {
			backup: backup(),
			setup: func(_ *testing.T, w *world) {
				w.api.Add(jobs, failedJob)
				w.api.Add(pods, podOf(failedJob, corev1.PodFailed, terminated(137, "")))
			},
			want: status{Phase: "Failed", Reason: "the executor was killed, most often because memory ran out: it has no limit of its own, so the node ran out"},
		},
		"ended with a last word": {
			backup: backup(),
			setup: func(_ *testing.T, w *world) {
				w.api.Add(jobs, failedJob)
				w.api.Add(pods, podOf(failedJob, corev1.PodFailed, terminated(12, `{"outcome":"Failed","reason":"the bucket is gone","errors":3,"topCauses":["a","b"]}`)))
			},
			want: status{Phase: "Failed", Reason: "the bucket is gone", Errors: 3, Causes: "a\nb"},
		},
		"runs": {
			backup: backup(),
			setup: func(_ *testing.T, w *world) {
				j := job("backup", "uid-of-shop")
				w.api.Add(jobs, j)
				w.api.Add(pods, podOf(j, corev1.PodRunning, running()))
			},
			want: status{Phase: "InProgress"},
		},
		"image can't be pulled": {
			backup: backup(),
			setup: func(_ *testing.T, w *world) {
				j := job("backup", "uid-of-shop")
				w.api.Add(jobs, j)
				w.api.Add(pods, podOf(j, corev1.PodPending, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImageNeverPull"}}))
			},
			want: status{Phase: "Failed", Reason: `it did not start within 5m0s: image "example.com/executor:1" is not on the node, and its pull policy is Never; hint: load it there, or install again with another --image`},
		},
		"a Velero server's": {
			backup: func() *velerov1.Backup { b := backup(); b.Annotations = nil; return b }(),
			want:   status{Phase: "InProgress"},
		},
		"a Velero server's phase": {
			backup: func() *velerov1.Backup { b := backup(); b.Status.Phase = "Finalizing"; return b }(),
			want:   status{Phase: "Finalizing"},
		},
		"ended before": {
			backup: func() *velerov1.Backup { b := backup(); b.Status.Phase = "PartiallyFailed"; return b }(),
			want:   status{Phase: "PartiallyFailed"},
		},
		"committing, marker there": {
			backup: backup(committing, yes),
			setup:  func(t *testing.T, w *world) { w.put(t, markerKey, marker("uid-of-shop", "PartiallyFailed")) },
			want:   status{Phase: "PartiallyFailed", Errors: 1, Causes: "one secret"},
		},
		"committing, no marker": {
			backup: backup(committing, yes),
			want:   status{Phase: "Failed", Reason: "it was never started: there is no Job for it"},
		},
		"committing, another backup's marker": {
			backup: backup(committing, yes),
			setup:  func(t *testing.T, w *world) { w.put(t, markerKey, marker("theirs", "Completed")) },
			want:   status{Phase: "Failed", Reason: "it was never started: there is no Job for it"},
		},
		"committing, said Completed, no marker": {
			backup: backup(committing, yes),
			setup: func(_ *testing.T, w *world) {
				w.api.Add(jobs, failedJob)
				w.api.Add(pods, podOf(failedJob, corev1.PodFailed, terminated(0, `{"outcome":"Completed"}`)))
			},
			want: status{Phase: "Failed", Reason: "its executor ended with Completed, but the bucket has no commit marker"},
		},
		"committing, bucket can't be read": {
			backup:  backup(committing, yes),
			setup:   func(_ *testing.T, w *world) { w.bucket.Fault(func(string, string) error { return store.ErrDenied }) },
			want:    status{Phase: "InProgress"},
			outcome: report.PartiallyFailed,
			reason: `2 errors: it was never started: there is no Job for it; whether the backup is complete all the same is not known: storage location "default": read backup "shop": access denied; ` +
				`storage location "default": list the folders of the location: access denied`,
		},
		"committing, location gone": {
			backup: func() *velerov1.Backup {
				b := backup(committing, yes)
				b.Spec.StorageLocation = "west"
				return b
			}(),
			want:    status{Phase: "InProgress"},
			outcome: report.PartiallyFailed,
			reason:  `1 errors: it was never started: there is no Job for it; whether the backup is complete all the same is not known: read BackupStorageLocation "west": ` + veleroNamespace + `backupstoragelocations/west: Not Found`,
		},
		"bucket can't be read, but nothing was committed": {
			backup:  backup(),
			setup:   func(_ *testing.T, w *world) { w.bucket.Fault(func(string, string) error { return store.ErrDenied }) },
			want:    status{Phase: "Failed", Reason: "it was never started: there is no Job for it"},
			outcome: report.PartiallyFailed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.fresh != nil {
				test.fresh(test.backup)
			}
			w.api.Add(veleroNamespace+"backups", test.backup)
			if test.setup != nil {
				test.setup(t, w)
			}
			summary := w.run(t)
			if diff := cmp.Diff(test.want, w.status("backups/shop")); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if test.outcome == "" {
				test.outcome = report.Completed
			}
			if summary.Outcome != test.outcome || test.reason != "" && summary.Reason != test.reason {
				t.Errorf("summary = %+v, want %s, %s", summary, test.outcome, test.reason)
			}
			before := w.writes()
			w.bucket.Fault(nil)
			if test.outcome == report.Completed {
				w.run(t)
			}
			if diff := cmp.Diff(before, w.writes()); diff != "" {
				t.Errorf("a second run wrote (-first +both):\n%s", diff)
			}
		})
	}
}

func TestJobThatNeverStartsIsDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.Add(veleroNamespace+"backups", backup())
	w.api.Add(jobs, job("backup", "uid-of-shop"))
	if got := w.run(t); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("summary = %+v", got)
	}
	if got := w.status("backups/shop"); got.Phase != "Failed" || !strings.HasPrefix(got.Reason, "it did not start within 5m0s") {
		t.Errorf("status = %+v", got)
	}
	if w.api.Get(jobs+"/backup-job") != nil {
		t.Error("the Job is still there")
	}
}

func TestSomebodyElseWasFaster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.Add(veleroNamespace+"backups", backup())
	w.api.Fault(func(method, path string) int {
		if method == "PATCH" && strings.Contains(path, "/backups/") {
			return 409
		}
		return 0
	})
	if got := w.run(t); got.Outcome != report.Completed {
		t.Errorf("summary = %+v", got)
	}
}

func TestEndsOfRestores(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.Add(veleroNamespace+"restores", restore())
	w.api.Add(bindings, binding("velero-restore-1", "uid-of-back", "velero"))
	failed := job("restore", "uid-of-back", jobFailed)
	w.api.Add(jobs, failed)
	w.api.Add(pods, podOf(failed, corev1.PodFailed, terminated(2, "panic: oops")))
	if got := w.run(t); got.Outcome != report.Completed || got.Items != 2 {
		t.Errorf("summary = %+v", got)
	}
	want := status{Phase: "Failed", Reason: "the executor ended with exit code 2; its last words: panic: oops"}
	if diff := cmp.Diff(want, w.status("restores/back")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if left := w.api.List(bindings); len(left) > 0 {
		t.Errorf("%d bindings are left", len(left))
	}
}

func binding(name, uid, namespace string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			velerov1.OperationLabel: velerov1.OperationRestore, velerov1.OperationUIDLabel: uid,
		}},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "velero-restore", Namespace: namespace}},
	}
}

func TestBindings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ended, goesOn := restore(), restore()
	ended.Name, ended.UID, ended.Status.Phase = "ended", "ended", velerov1.RestorePhasePartiallyFailed
	goesOn.Name, goesOn.UID, goesOn.CreationTimestamp = "on", "on", metav1.Now()
	w.api.Add(veleroNamespace+"restores", ended)
	w.api.Add(veleroNamespace+"restores", goesOn)
	w.api.Add(bindings, binding("velero-restore-ended", "ended", "velero"))
	w.api.Add(bindings, binding("velero-restore-gone", "gone", "velero"))
	w.api.Add(bindings, binding("velero-restore-on", "on", "velero"))
	w.api.Add(bindings, binding("velero-restore-tenant", "gone", "tenant"))
	w.api.Add(bindings, binding("velero-restore-unknown", "", "velero"))
	w.api.Add(bindings, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "velero"}})
	if got := w.run(t); got.Outcome != report.Completed || got.Items != 2 {
		t.Errorf("summary = %+v", got)
	}
	want := []string{"DELETE " + bindings + "/velero-restore-ended", "DELETE " + bindings + "/velero-restore-gone"}
	if diff := cmp.Diff(want, w.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestBindingsOfPreviews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	of := func(uid string, created metav1.Time) *rbacv1.ClusterRoleBinding {
		b := binding("velero-restore-"+uid, uid, "velero")
		b.Labels[velerov1.OperationLabel], b.CreationTimestamp = velerov1.OperationPreview, created
		return b
	}
	named := func(name string) func(*batchv1.Job) { return func(j *batchv1.Job) { j.Name = name } }
	w.api.Add(jobs, job(velerov1.OperationPreview, "runs", named("runs")))
	w.api.Add(jobs, job(velerov1.OperationPreview, "failed", named("failed"), jobFailed))
	for uid, created := range map[string]metav1.Time{
		"runs": ago(time.Hour), "failed": ago(time.Minute), "gone": ago(time.Hour), "starts": ago(time.Second),
	} {
		w.api.Add(bindings, of(uid, created))
	}
	if got := w.run(t); got.Outcome != report.Completed || got.Items != 2 {
		t.Errorf("summary = %+v", got)
	}
	want := []string{"DELETE " + bindings + "/velero-restore-failed", "DELETE " + bindings + "/velero-restore-gone"}
	if diff := cmp.Diff(want, w.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestJobsOfWhatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	done := backup()
	done.Status.Phase = velerov1.BackupPhaseCompleted
	w.api.Add(veleroNamespace+"backups", done)
	named := func(name string) func(*batchv1.Job) { return func(j *batchv1.Job) { j.Name = name } }
	w.api.Add(jobs, job("backup", "uid-of-shop", named("of-a-backup")))
	w.api.Add(jobs, job("backup", "gone", named("orphan-backup")))
	w.api.Add(jobs, job("restore", "gone", named("orphan-restore")))
	w.api.Add(jobs, job("read", "random", named("reader")))
	w.api.Add(jobs, job("delete", "random", named("deletion")))
	w.api.Add(jobs, job("schedule", "uid-of-schedule", named("scheduled")))
	if got := w.run(t); got.Outcome != report.Completed || got.Items != 2 {
		t.Errorf("summary = %+v", got)
	}
	want := []string{"DELETE " + jobs + "/orphan-backup", "DELETE " + jobs + "/orphan-restore"}
	if diff := cmp.Diff(want, w.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestOneChoreFailsTheOthersAreDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api.Add(bindings, binding("velero-restore-gone", "gone", "velero"))
	w.api.Fault(func(method, path string) int {
		if method == "GET" && strings.HasSuffix(path, "/backups") {
			return 403
		}
		return 0
	})
	got := w.run(t)
	want := "end backups that ended without a word: list Backups: " + veleroNamespace + "backups: Forbidden"
	if got.Outcome != report.PartiallyFailed || !slices.Contains(got.TopCauses, want) || got.Items != 1 {
		t.Errorf("summary = %+v, want cause %q", got, want)
	}
	if left := w.api.List(bindings); len(left) > 0 {
		t.Errorf("%d bindings are left", len(left))
	}
}

func TestNothingToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if diff := cmp.Diff(report.Summary{Outcome: report.Completed, TopCauses: []string{}}, w.run(t)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}
