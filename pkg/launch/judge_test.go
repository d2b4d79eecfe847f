package launch

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

var now = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// running is a backup in the middle of its work; a case changes what matters.
func running(change ...func(*State)) State {
	s := State{
		Operation: velerov1.OperationBackup,
		Now:       now,
		CR: CR{
			Kind: "Backup", Namespace: "velero", Name: "shop", UID: uid, Phase: "InProgress", Ours: true,
			Created: now.Add(-5 * time.Minute), Heartbeat: now.Add(-4 * time.Second),
		},
		Job: &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Name: "backup-shop-0a1b2c3d", Namespace: "velero", UID: types.UID("job"), CreationTimestamp: ago(5 * time.Minute)},
			Spec:       batchv1.JobSpec{ActiveDeadlineSeconds: ptr.To[int64](14400)},
		},
		Pods: []corev1.Pod{pod(corev1.PodRunning, corev1.ContainerState{
			Running: &corev1.ContainerStateRunning{StartedAt: ago(4 * time.Minute)},
		})},
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func pod(phase corev1.PodPhase, state corev1.ContainerState) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "backup-shop-x", CreationTimestamp: ago(5 * time.Minute)},
		Spec: corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{
			Name:      ContainerName,
			Image:     "registry.example/executor:v1",
			Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}},
		}}},
		Status: corev1.PodStatus{
			Phase:             phase,
			ContainerStatuses: []corev1.ContainerStatus{{Name: ContainerName, Image: "registry.example/executor:v1", State: state}},
		},
	}
}

func withPod(p corev1.Pod) func(*State) { return func(s *State) { s.Pods = []corev1.Pod{p} } }

func noPod(s *State) { s.Pods = nil }

// notBegun is a backup whose executor hasn't said anything yet.
func notBegun(s *State) { s.CR.Heartbeat = time.Time{} }

func waitingFor(reason, message string) func(*State) {
	return withPod(pod(corev1.PodPending, corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
	}))
}

func terminatedBy(exitCode int32, reason, message string) func(*State) {
	return withPod(pod(corev1.PodFailed, corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: exitCode, Reason: reason, Message: message},
	}))
}

func jobIs(kind batchv1.JobConditionType, reason string, since time.Duration) func(*State) {
	return func(s *State) {
		s.Job.Status.Conditions = append(s.Job.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: "the controller's words", LastTransitionTime: ago(since),
		})
	}
}

func failed(s *State) { jobIs(batchv1.JobFailed, "BackoffLimitExceeded", 0)(s) }

func eventAt(reason string, age time.Duration) func(*State) {
	return func(s *State) {
		s.Events = append(s.Events, corev1.Event{Reason: reason, LastTimestamp: ago(age)})
	}
}

func event(reason, message string) func(*State) {
	return func(s *State) {
		s.Events = append(s.Events, corev1.Event{Reason: reason, Message: message, LastTimestamp: ago(time.Second)})
	}
}

func phase(p string, reasons ...string) func(*State) {
	return func(s *State) { s.CR.Phase, s.CR.Terminal, s.CR.Reasons = p, true, reasons }
}

func TestJudge(t *testing.T) {
	t.Parallel()
	untold := func(reason string) Verdict {
		return Verdict{Standing: Ended, Outcome: report.Failed, Reason: reason, MayWrite: true}
	}
	inProgress := func(cause string) Verdict { return Verdict{Standing: Running, Cause: cause} }
	held := func(cause string) Verdict { return Verdict{Standing: Waiting, Cause: cause} }
	cases := map[string]struct {
		state State
		want  Verdict
	}{
		"working": {running(), inProgress("")},

		// Before the executor runs.
		"no pod yet":     {running(noPod, notBegun), held("")},
		"pod on its way": {running(notBegun, waitingFor("ContainerCreating", "")), held("")},
		"image not pulled": {running(notBegun, waitingFor("ErrImagePull", "not found\n in registry.")),
			held(`image "registry.example/executor:v1" can't be pulled: not found in registry; hint: check that it exists and that the nodes reach its registry, or install again with another --image`)},
		"image not pulled again": {running(notBegun, waitingFor("ImagePullBackOff", `Back-off pulling image "x": ErrImagePull: not found`)),
			held(`image "registry.example/executor:v1" can't be pulled: not found; hint: check that it exists and that the nodes reach its registry, or install again with another --image`)},
		"image pulled slowly": {running(notBegun, waitingFor("ContainerCreating", ""), eventAt("Pulling", 20*time.Second)),
			held(`image "registry.example/executor:v1" has not been pulled yet; hint: check that it exists and that the nodes reach its registry, or install again with another --image`)},
		"image being pulled": {running(notBegun, waitingFor("ContainerCreating", ""), eventAt("Pulling", 10*time.Second)), held("")},
		"image pulled":       {running(notBegun, waitingFor("ContainerCreating", ""), eventAt("Pulling", 20*time.Second), eventAt("Pulled", time.Second)), held("")},
		"image name": {running(notBegun, waitingFor("InvalidImageName", "")),
			held(`"registry.example/executor:v1" is not the name of an image; hint: install again with another --image`)},
		"image never pulled": {running(notBegun, waitingFor("ErrImageNeverPull", "")),
			held(`image "registry.example/executor:v1" is not on the node, and its pull policy is Never; hint: load it there, or install again with another --image`)},
		"missing secret": {running(notBegun, waitingFor("CreateContainerConfigError", `secret "x" not found`)),
			held(`its container can't be set up: secret "x" not found`)},
		"unknown reason": {running(notBegun, waitingFor("Odd", "message")), held("its container doesn't start: Odd: message")},
		"unschedulable": {running(notBegun, withPod(corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{CreationTimestamp: ago(time.Minute)},
			Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available: 3 Insufficient memory."},
			}},
		})), held("no node can take its pod: 0/3 nodes are available: 3 Insufficient memory")},
		"quota": {running(notBegun, noPod, event("FailedCreate", `pods "x" is forbidden: exceeded quota: small`)),
			held(`the cluster refuses its pod: pods "x" is forbidden: exceeded quota: small; hint: look at the quotas and admission policies of the namespace`)},
		"volume": {running(notBegun, waitingFor("ContainerCreating", ""), event("FailedMount", `secret "y" not found`)),
			held(`its pod can't start: secret "y" not found`)},
		"volume attached since": {running(notBegun, waitingFor("ContainerCreating", ""), eventAt("FailedAttachVolume", 20*time.Second), eventAt("SuccessfulAttachVolume", time.Second)), held("")},
		"volume on another node": {running(notBegun, waitingFor("ContainerCreating", ""), event("FailedMount", "timed out waiting for the condition"),
			event("FailedAttachVolume", `Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) shop-0`)),
			held(`its pod can't start: Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) shop-0; hint: a volume with access mode ReadWriteOnce can be on one node only: this goes on when the pod that has it ends; a claim with access mode ReadWriteMany, such as one on NFS, can be on several`)},
		"suspended": {running(notBegun, noPod, func(s *State) { s.Job.Spec.Suspend = ptr.To(true) }), held("its Job is suspended")},
		"start timeout": {running(notBegun, waitingFor("ErrImagePull", "nope"), func(s *State) { s.StartTimeout = 5 * time.Minute }),
			untold(`it did not start within 5m0s: image "registry.example/executor:v1" can't be pulled: nope; hint: check that it exists and that the nodes reach its registry, or install again with another --image`)},
		"start timeout without a cause": {running(notBegun, noPod, func(s *State) { s.StartTimeout = time.Minute }), untold("it did not start within 1m0s")},
		"start timeout counts from the newest pod": {running(func(s *State) {
			s.StartTimeout = time.Minute
			second := pod(corev1.PodPending, corev1.ContainerState{})
			second.CreationTimestamp = ago(10 * time.Second)
			s.Pods = append(s.Pods, second)
		}), held("")},
		"start timeout doesn't end what runs": {running(func(s *State) { s.StartTimeout = time.Second }), inProgress("")},

		// While it runs.
		"silent": {running(func(s *State) { s.CR.Heartbeat = now.Add(-45 * time.Second) }),
			inProgress(`no sign of life for 45s from its pod "backup-shop-x" on node "node1"`)},
		"just started": {running(notBegun, withPod(pod(corev1.PodRunning, corev1.ContainerState{
			Running: &corev1.ContainerStateRunning{StartedAt: ago(3 * time.Second)}}))), inProgress("")},
		"node gone": {running(func(s *State) { s.NodeLost = "Kubelet stopped posting node status" }),
			inProgress(`node "node1", where its pod "backup-shop-x" runs, is lost: Kubelet stopped posting node status`)},
		"Job being deleted": {running(func(s *State) { s.Job.DeletionTimestamp = ptr.To(ago(0)) }), inProgress("its Job is being deleted")},
		"second attempt follows": {running(terminatedBy(137, "OOMKilled", "")),
			inProgress("an attempt ended: the executor ran out of memory: its limit is 512Mi; another one follows; hint: raise it with install --velero-pod-mem-limit")},
		"no other attempt follows": {running(terminatedBy(2, "Error", ""), func(s *State) { s.Job.Spec.BackoffLimit = ptr.To[int32](0) }),
			inProgress("an attempt ended: the executor ended with exit code 2 and said nothing")},
		"ended well, which its Job doesn't know yet": {running(terminatedBy(0, "Completed", `{"outcome":"Completed","time":"2026-01-02T02:59:00Z"}`)), inProgress("")},
		"refused, which its Job doesn't know yet":    {running(terminatedBy(10, "Error", `{"outcome":"Usage","reason":"no","time":"2026-01-02T02:59:00Z"}`)), inProgress("")},
		"a Velero server's":                          {running(func(s *State) { s.CR.Ours, s.Job = false, nil; s.CR.Created = now.Add(-time.Hour) }), inProgress("")},

		// The Job ended and the record wasn't told.
		"out of memory": {running(failed, terminatedBy(137, "OOMKilled", "")),
			untold("the executor ran out of memory: its limit is 512Mi; hint: raise it with install --velero-pod-mem-limit")},
		"killed": {running(failed, terminatedBy(137, "Error", "")),
			untold("the executor was killed, most often because memory ran out: its limit is 512Mi; hint: raise it with install --velero-pod-mem-limit")},
		"panic": {running(failed, terminatedBy(2, "Error", "log line\ngoroutine 1: boom\n")),
			untold("the executor ended with exit code 2; its last words: goroutine 1: boom")},
		"no last words": {running(failed, terminatedBy(75, "Error", "")), untold("the executor ended with exit code 75 and said nothing")},
		"evicted": {running(failed, withPod(corev1.Pod{Spec: corev1.PodSpec{NodeName: "node1"},
			Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory."}})),
			untold(`its pod was evicted from node "node1": The node was low on resource: memory`)},
		"node lost": {running(failed, withPod(corev1.Pod{Spec: corev1.PodSpec{NodeName: "node1"},
			Status: corev1.PodStatus{Phase: corev1.PodFailed, Conditions: []corev1.PodCondition{
				{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByPodGC", Message: "PodGC: node no longer exists"}}}})),
			untold(`node "node1" was lost: PodGC: node no longer exists`)},
		"preempted": {running(failed, withPod(corev1.Pod{Spec: corev1.PodSpec{NodeName: "node1"},
			Status: corev1.PodStatus{Phase: corev1.PodFailed, Conditions: []corev1.PodCondition{
				{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "PreemptionByScheduler", Message: "a more important pod"}}}})),
			untold(`its pod had to leave node "node1" (PreemptionByScheduler): a more important pod`)},
		"kubelet refused": {running(failed, withPod(corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfmemory", Message: "no room"}})),
			untold("its pod ended: OutOfmemory: no room")},
		"deadline":  {running(jobIs(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded, 0), noPod), untold("it took longer than 4h0m0s and was stopped")},
		"pods gone": {running(failed, noPod), untold("its Job failed and its pods are gone: the controller's words")},
		"given up, node gone": {running(jobIs(batchv1.JobFailureTarget, batchv1.JobReasonDeadlineExceeded, 4*time.Minute)),
			untold("it took longer than 4h0m0s and was stopped")},
		"given up just now": {running(jobIs(batchv1.JobFailureTarget, batchv1.JobReasonDeadlineExceeded, time.Minute)), inProgress("")},
		"last word in the pod": {running(failed, terminatedBy(11, "Error", `{"outcome":"PartiallyFailed","reason":"2 objects","errors":2,"time":"2026-01-02T02:59:00Z"}`)),
			Verdict{Standing: Ended, Outcome: report.PartiallyFailed, Reason: "2 objects", MayWrite: true,
				Summary: &report.Summary{Outcome: report.PartiallyFailed, Reason: "2 objects", Errors: 2}}},
		"succeeded without a word": {running(jobIs(batchv1.JobComplete, "", 0), noPod), untold("its Job ended without saying how it went")},
		"committing": {running(failed, terminatedBy(137, "OOMKilled", ""), func(s *State) { s.CR.Committing = true }),
			Verdict{Standing: Ended, Outcome: report.Failed, AskBucket: true,
				Reason: "the executor ran out of memory: its limit is 512Mi; hint: raise it with install --velero-pod-mem-limit"}},

		// No Job.
		"Job not created yet": {running(notBegun, func(s *State) { s.Job, s.CR.Created = nil, now.Add(-59*time.Second) }), held("")},
		"Job never created": {running(notBegun, func(s *State) { s.Job, s.CR.Created = nil, now.Add(-time.Minute) }),
			untold("it was never started: there is no Job for it")},
		"Job gone":                     {running(func(s *State) { s.Job, s.CR.Heartbeat = nil, now.Add(-time.Minute) }), untold("its Job is gone and left no word")},
		"executor outside the cluster": {running(func(s *State) { s.Job = nil }), inProgress("")},

		// The record was told.
		"completed":        {running(phase("Completed")), Verdict{Standing: Ended, Outcome: report.Completed}},
		"partially failed": {running(phase("PartiallyFailed", "first", "second")), Verdict{Standing: Ended, Outcome: report.PartiallyFailed, Reason: "first"}},
		"failed":           {running(phase("Failed", "bucket gone")), Verdict{Standing: Ended, Outcome: report.Failed, Reason: "bucket gone"}},
		"refused":          {running(phase("FailedValidation", "no such location")), Verdict{Standing: Ended, Outcome: report.Usage, Reason: "no such location"}},
		"cancelled": {running(phase("Failed", "cancelled by SIGTERM"), terminatedBy(13, "Error", `{"outcome":"Cancelled","time":"2026-01-02T02:59:00Z"}`)),
			Verdict{Standing: Ended, Outcome: report.Cancelled, Reason: "cancelled by SIGTERM"}},
		"told beats a failed Job": {running(failed, phase("Completed")), Verdict{Standing: Ended, Outcome: report.Completed}},
		"deleted while waiting": {running(func(s *State) { s.Gone = true }),
			Verdict{Standing: Ended, Outcome: report.Cancelled, Reason: `Backup "shop" was deleted`}},

		// Deletion, whose record is what goes.
		"deletion done": {running(func(s *State) { s.Operation, s.Gone = velerov1.OperationDelete, true }), Verdict{Standing: Ended, Outcome: report.Completed}},
		"deletion without a Job": {running(func(s *State) { s.Operation, s.Job = velerov1.OperationDelete, nil }),
			Verdict{Standing: Ended, Outcome: report.Failed, Reason: "its Job is gone and left no word"}},
		"deletion goes on": {running(func(s *State) { s.Operation = velerov1.OperationDelete }, phase("Deleting")), inProgress("")},
		"without a record, ended well, which its Job doesn't know yet": {running(func(s *State) { s.CR.UID = "" }, terminatedBy(0, "Completed", `{"outcome":"Completed","items":2,"time":"2026-01-02T02:59:00Z"}`)),
			Verdict{Standing: Ended, Outcome: report.Completed, Summary: &report.Summary{Outcome: report.Completed, Items: 2}}},
		"without a record, ended badly, which its Job doesn't know yet": {running(func(s *State) { s.CR.UID = "" }, terminatedBy(12, "Error", `{"outcome":"Failed","reason":"bucket is read-only","time":"2026-01-02T02:59:00Z"}`)), inProgress("")},
		"deletion failed": {running(func(s *State) { s.Operation = velerov1.OperationDelete }, phase("Deleting"), failed,
			terminatedBy(12, "Error", `{"outcome":"Failed","reason":"bucket is read-only","time":"2026-01-02T02:59:00Z"}`)),
			Verdict{Standing: Ended, Outcome: report.Failed, Reason: "bucket is read-only",
				Summary: &report.Summary{Outcome: report.Failed, Reason: "bucket is read-only"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, Judge(c.state), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
