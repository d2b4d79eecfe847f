//go:build integration

package launch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// fixture is an installation in a namespace of the test's own, on an API server
// without controllers: the test plays Job controller and kubelet.
type fixture struct {
	*testing.T
	namespace string
	kube      kubernetes.Interface
	velero    *client.Client
	observer  *launch.Observer
	template  *corev1.PodTemplate
}

var namespaces atomic.Int32

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cfg := testenv.APIServer(t)
	f := &fixture{T: t, namespace: fmt.Sprintf("launch-%d", namespaces.Add(1))}
	var err error
	if f.kube, err = kubernetes.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	if f.velero, err = client.New(cfg); err != nil {
		t.Fatal(err)
	}
	f.install()
	f.observer = &launch.Observer{Kube: f.kube, Velero: f.velero, Namespace: f.namespace}
	if f.template, err = launch.Template(t.Context(), f.kube, f.namespace); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) backup(name string) *velerov1.Backup {
	f.Helper()
	b := &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{velerov1.AttemptAnnotation: "0"}}}
	b.Status.Phase = velerov1.BackupPhaseInProgress
	created, err := f.velero.Backups(f.namespace).Create(f.Context(), b, metav1.CreateOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return created
}

func (f *fixture) start(b *velerov1.Backup) *batchv1.Job {
	f.Helper()
	job, err := launch.Start(f.Context(), f.kube, launch.Job(f.template, launch.Operation{
		Kind: velerov1.OperationBackup, Namespace: f.namespace, Name: b.Name, UID: b.UID,
		Owner: launch.Owner("Backup", b.Name, b.UID), Args: []string{"backup", "--name", b.Name},
	}))
	if err != nil {
		f.Fatal(err)
	}
	return job
}

// pod plays the Job controller and the kubelet.
func (f *fixture) pod(job *batchv1.Job, status corev1.PodStatus) {
	f.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: job.Name + "-", Labels: map[string]string{batchv1.ControllerUidLabel: string(job.UID), velerov1.OperationLabel: "backup"}},
		Spec:       job.Spec.Template.Spec,
	}
	created, err := f.kube.CoreV1().Pods(f.namespace).Create(f.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		f.Fatal(err)
	}
	created.Status = status
	if _, err := f.kube.CoreV1().Pods(f.namespace).UpdateStatus(f.Context(), created, metav1.UpdateOptions{}); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) fail(job *batchv1.Job) {
	f.Helper()
	now := metav1.Now()
	job.Status.StartTime = &now
	job.Status.Conditions = []batchv1.JobCondition{
		{Type: batchv1.JobFailureTarget, Status: corev1.ConditionTrue, Reason: "PodFailurePolicy", LastTransitionTime: now},
		{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: "PodFailurePolicy", LastTransitionTime: now},
	}
	if _, err := f.kube.BatchV1().Jobs(f.namespace).UpdateStatus(f.Context(), job, metav1.UpdateOptions{}); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) observe(name string) (launch.State, launch.Verdict) {
	f.Helper()
	s, err := f.observer.Observe(f.Context(), launch.Target{Operation: velerov1.OperationBackup, Name: name})
	if err != nil {
		f.Fatal(err)
	}
	return s, launch.Judge(s)
}

func (f *fixture) phase(name string) (velerov1.BackupPhase, string) {
	f.Helper()
	b, err := f.velero.Backups(f.namespace).Get(f.Context(), name, metav1.GetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return b.Status.Phase, b.Status.FailureReason
}

func (f *fixture) patch(name string, patch any) {
	f.Helper()
	body, err := json.Marshal(patch)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := f.velero.Backups(f.namespace).Patch(f.Context(), name, types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
		f.Fatal(err)
	}
}

func killed(code int32, reason string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{
		Name: launch.ContainerName, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}},
	}}}
}

func TestStartMayBeRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := f.backup("shop")
	first, second := f.start(b), f.start(b)
	if first.UID != second.UID {
		t.Error("starting twice made two Jobs")
	}
	other := launch.Job(f.template, launch.Operation{Kind: velerov1.OperationBackup, Namespace: f.namespace, Name: "shop", UID: b.UID[:8] + "-other"})
	if _, err := launch.Start(t.Context(), f.kube, other); err == nil || !strings.Contains(err.Error(), "another operation's Job has this name") {
		t.Errorf("got %v", err)
	}
}

// TestQuotaRefusesTheJob needs the quota's status, which a controller writes.
func TestQuotaRefusesTheJob(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	none := corev1.ResourceList{"count/jobs.batch": resource.MustParse("0")}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: corev1.ResourceQuotaSpec{Hard: none}}
	created, err := f.kube.CoreV1().ResourceQuotas(f.namespace).Create(t.Context(), quota, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	created.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
	if _, err := f.kube.CoreV1().ResourceQuotas(f.namespace).UpdateStatus(t.Context(), created, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b := f.backup("shop")
	job := launch.Job(f.template, launch.Operation{Kind: velerov1.OperationBackup, Namespace: f.namespace, Name: "shop", UID: b.UID})
	for range 50 { // the admission plugin learns of the quota through a watch
		if _, err = launch.Start(t.Context(), f.kube, job); err != nil {
			break
		}
		if err := f.kube.BatchV1().Jobs(f.namespace).Delete(t.Context(), job.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	want := fmt.Sprintf("the cluster refused Job %q: ", job.Name)
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "exceeded quota: none") ||
		!strings.HasSuffix(err.Error(), fmt.Sprintf("; hint: look at the quotas and admission policies of namespace %q", f.namespace)) {
		t.Errorf("got %v", err)
	}
}

func TestSettleWritesTheReason(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := f.backup("shop")
	job := f.start(b)
	f.pod(job, killed(137, "OOMKilled"))
	f.fail(job)
	s, v := f.observe("shop")
	settled, err := f.observer.Settle(t.Context(), s, v)
	if err != nil || !settled.Wrote {
		t.Fatalf("settled %+v, %v", settled, err)
	}
	phase, reason := f.phase("shop")
	want := "the executor ran out of memory: its limit is 512Mi; hint: raise it with install --velero-pod-mem-limit"
	if phase != velerov1.BackupPhaseFailed || reason != want {
		t.Errorf("phase %s, reason %q", phase, reason)
	}
	if _, v := f.observe("shop"); v.Outcome != report.Failed || v.MayWrite {
		t.Errorf("after that: %+v", v)
	}
	events, err := f.kube.CoreV1().Events(f.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Backup"})
	if err != nil || len(events.Items) != 1 || events.Items[0].Message != want {
		t.Errorf("events %v, %v", events.Items, err)
	}
}

// TestSettleNeverOverwrites lets the executor speak between look and write.
func TestSettleNeverOverwrites(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := f.backup("shop")
	f.fail(f.start(b))
	s, v := f.observe("shop")
	f.patch("shop", map[string]any{"status": map[string]any{"phase": "Completed"}})
	if _, err := f.observer.Settle(t.Context(), s, v); !errors.Is(err, launch.ErrChanged) {
		t.Errorf("got %v", err)
	}
	if phase, _ := f.phase("shop"); phase != velerov1.BackupPhaseCompleted {
		t.Errorf("phase %s", phase)
	}
}

// TestSettleAsksTheBucket: with a marker possibly in the bucket nothing is
// written, and maintenance is started once.
func TestSettleAsksTheBucket(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := f.backup("shop")
	f.fail(f.start(b))
	f.patch("shop", map[string]any{"metadata": map[string]any{"annotations": map[string]any{velerov1.CommittingAnnotation: "true"}}})
	for range 2 {
		s, v := f.observe("shop")
		settled, err := f.observer.Settle(t.Context(), s, v)
		if want := "maintain-shop-" + string(b.UID[:8]); err != nil || settled.Wrote || settled.Maintenance != want {
			t.Fatalf("settled %+v, %v, want %s", settled, err, want)
		}
	}
	if phase, _ := f.phase("shop"); phase != velerov1.BackupPhaseInProgress {
		t.Errorf("phase %s", phase)
	}
	jobs, err := f.kube.BatchV1().Jobs(f.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: velerov1.OperationLabel + "=" + velerov1.OperationMaintain})
	if err != nil || len(jobs.Items) != 1 {
		t.Errorf("%d maintenance Jobs, %v", len(jobs.Items), err)
	}
}

// TestScheduledBackupFindsItsJob: the Job is older than its Backup and isn't
// labelled with its UID.
func TestScheduledBackupFindsItsJob(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	job, err := launch.Start(t.Context(), f.kube, launch.Job(f.template, launch.Operation{
		Kind: velerov1.OperationSchedule, Namespace: f.namespace, Name: "nightly", UID: "schedule-uid", Args: []string{"backup", "--schedule", "nightly"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	f.backup("nightly-1")
	f.patch("nightly-1", map[string]any{"metadata": map[string]any{"annotations": map[string]any{
		velerov1.JobNameAnnotation: job.Name, velerov1.JobUIDAnnotation: string(job.UID),
	}}})
	if s, _ := f.observe("nightly-1"); s.Job == nil || s.Job.UID != job.UID {
		t.Errorf("found %v", s.Job)
	}
	list, err := f.velero.Backups(f.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	states, err := f.observer.ObserveBackups(t.Context(), list.Items)
	if err != nil || len(states) != 1 || states[0].Job == nil {
		t.Errorf("states %v, %v", states, err)
	}
	// Another Job of that name is not this backup's.
	f.patch("nightly-1", map[string]any{"metadata": map[string]any{"annotations": map[string]any{velerov1.JobUIDAnnotation: "older"}}})
	if s, _ := f.observe("nightly-1"); s.Job != nil {
		t.Errorf("found %v", s.Job.Name)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	b := f.backup("shop")
	job := f.start(b)
	var seen []launch.Standing
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	state, verdict, err := f.observer.Follow(ctx, launch.Target{Operation: velerov1.OperationBackup, Name: "shop"}, func(_ launch.State, v launch.Verdict) {
		if len(seen) == 0 || seen[len(seen)-1] != v.Standing {
			seen = append(seen, v.Standing)
		}
		switch len(seen) {
		case 1:
			f.pod(job, corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
				Name: launch.ContainerName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}}}})
		case 2:
			f.patch("shop", map[string]any{"status": map[string]any{"phase": "PartiallyFailed", "errors": 2, "progress": map[string]any{"totalItems": 9, "itemsBackedUp": 7}}})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]launch.Standing{launch.Waiting, launch.Running, launch.Ended}, seen); diff != "" {
		t.Error(diff)
	}
	if verdict.Outcome != report.PartiallyFailed || state.CR.Done != 7 || state.CR.Errors != 2 {
		t.Errorf("verdict %+v, state %+v", verdict, state.CR)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.start(f.backup("shop"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _, err := f.observer.Follow(ctx, launch.Target{Operation: velerov1.OperationBackup, Name: "shop"}, func(launch.State, launch.Verdict) {})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const first, second, third = types.UID("11111111-a"), types.UID("22222222-b"), types.UID("33333333-c")
	rights := launch.Rights{Kube: f.kube, Namespace: f.namespace}
	if err := rights.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := rights.Bind(t.Context(), "shop", first); err != nil {
			t.Fatal(err)
		}
	}
	binding, err := f.kube.RbacV1().ClusterRoleBindings().Get(t.Context(), launch.BindingName(first), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if binding.RoleRef.Name != "cluster-admin" || binding.OwnerReferences[0].Name != launch.InstallBinding(f.namespace) ||
		!cmp.Equal(binding.Subjects, []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: f.namespace, Name: launch.RestoreServiceAccount}}) {
		t.Errorf("binding %+v", binding)
	}
	view := launch.Rights{Kube: f.kube, Namespace: f.namespace, Role: "view"}
	want := `restore "shop" runs with ClusterRole "cluster-admin", and this one would run with "view" as the same account; hint: wait until that has ended`
	if err := view.Check(t.Context()); err == nil || err.Error() != want {
		t.Errorf("check: %v", err)
	}
	if err := view.Bind(t.Context(), "other", second); err == nil || err.Error() != want {
		t.Errorf("bind: %v", err)
	}
	if _, err := f.kube.RbacV1().ClusterRoleBindings().Get(t.Context(), launch.BindingName(second), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the refused binding is there: %v", err)
	}
	preview := launch.Rights{Kube: f.kube, Namespace: f.namespace, Operation: velerov1.OperationPreview}
	if err := preview.Bind(t.Context(), "nightly", third); err != nil {
		t.Errorf("a preview beside a restore of the same role: %v", err)
	}
	for range 2 {
		if err := launch.Unbind(t.Context(), f.kube, first); err != nil {
			t.Fatal(err)
		}
	}
	want = `the preview of a restore from backup "nightly" runs with ClusterRole "cluster-admin", and this one would run with "view" as the same account; hint: wait until that has ended`
	if err := view.Check(t.Context()); err == nil || err.Error() != want {
		t.Errorf("check beside a preview: %v", err)
	}
	if err := launch.Unbind(t.Context(), f.kube, third); err != nil {
		t.Fatal(err)
	}
	if err := view.Check(t.Context()); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}

func TestNothingInstalled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := launch.Template(t.Context(), f.kube, "default")
	if !errors.Is(err, launch.ErrNotInstalled) {
		t.Errorf("got %v", err)
	}
}

// install brings in what a Job needs, with the memory limit that tests look for.
func (f *fixture) install() {
	f.Helper()
	dyn, err := dynamic.NewForConfig(testenv.APIServer(f.T))
	if err != nil {
		f.Fatal(err)
	}
	options := install.Options{Namespace: f.namespace, Image: "executor", Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}}
	cluster := install.Cluster{Kubernetes: f.kube, Dynamic: dyn}
	if err := install.Apply(f.Context(), cluster, options, func(install.Change) {}); err != nil {
		f.Fatal(err)
	}
}
