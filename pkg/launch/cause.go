package launch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// maxCause is how many bytes of somebody else's message go into a cause.
const maxCause = 600

// whyNoPod says why the Job controller has made no pod: a quota or an admission
// policy refuses it. Empty when nothing was refused.
func whyNoPod(events []corev1.Event) string {
	if e := newest(events, "FailedCreate"); e != nil {
		return "the cluster refuses its pod: " + oneLine(e.Message) + "; hint: look at the quotas and admission policies of the namespace"
	}
	return ""
}

// whyPending says what keeps a pod from starting; empty when it is only on its
// way.
func whyPending(pod *corev1.Pod, events []corev1.Event, now time.Time) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "no node can take its pod: " + oneLine(c.Message) + volumeHint(c.Message)
		}
	}
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := status.State.Waiting; w != nil {
			if cause := whyWaiting(status.Image, w); cause != "" {
				return cause
			}
		}
	}
	// The kubelet says these only in events, and says them again while they last.
	for _, reason := range []string{"FailedAttachVolume", "FailedMount", "FailedCreatePodSandBox"} {
		if e := newest(events, reason); e != nil && !isAttachedSince(events, *e) {
			return "its pod can't start: " + oneLine(e.Message) + volumeHint(e.Message)
		}
	}
	return whySlow(executor(pod.Spec.DeepCopy()).Image, events, now)
}

// isAttachedSince reports whether a volume that could not be attached then was later.
func isAttachedSince(events []corev1.Event, failed corev1.Event) bool {
	attached := newest(events, "SuccessfulAttachVolume")
	return failed.Reason == "FailedAttachVolume" && attached != nil && when(*attached).After(when(failed))
}

// slowPull is how long an image may be pulled before it is worth a word. A
// registry that doesn't answer keeps the kubelet busy for a minute and more.
const slowPull = 15 * time.Second

// whySlow notices a pull that has begun and neither ends nor fails.
func whySlow(image string, events []corev1.Event, now time.Time) string {
	pulling := newest(events, "Pulling")
	if pulling == nil || now.Sub(when(*pulling)) < slowPull {
		return ""
	}
	for _, reason := range []string{"Pulled", "Failed"} {
		if e := newest(events, reason); e != nil && !when(*e).Before(when(*pulling)) {
			return ""
		}
	}
	return fmt.Sprintf("image %q has not been pulled yet%s", image, pullHint)
}

const pullHint = "; hint: check that it exists and that the nodes reach its registry, or install again with another --image"

// whyWaiting explains the kubelet's reasons for which a container doesn't
// start; reasons that pass by themselves give nothing.
func whyWaiting(image string, w *corev1.ContainerStateWaiting) string {
	switch w.Reason {
	case "", "ContainerCreating", "PodInitializing":
		return ""
	case "InvalidImageName":
		return fmt.Sprintf("%q is not the name of an image; hint: install again with another --image", image)
	case "ErrImageNeverPull":
		return fmt.Sprintf("image %q is not on the node, and its pull policy is Never; hint: load it there, or install again with another --image", image)
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed":
		return fmt.Sprintf("image %q can't be pulled: %s%s", image, pullError(w.Message), pullHint)
	case "CreateContainerConfigError":
		return "its container can't be set up: " + oneLine(w.Message)
	}
	return fmt.Sprintf("its container doesn't start: %s: %s", w.Reason, oneLine(w.Message))
}

// pullError takes off what the kubelet puts in front of an error when it waits
// before it tries again: it is the same error.
func pullError(message string) string {
	if _, cause, ok := strings.Cut(message, ": ErrImagePull: "); ok {
		message = cause
	}
	return oneLine(message)
}

// whyEnded says why a Job that failed did so.
func whyEnded(s State) string {
	for _, kind := range []batchv1.JobConditionType{batchv1.JobFailed, batchv1.JobFailureTarget} {
		if c := condition(s.Job, kind); c != nil && c.Reason == batchv1.JobReasonDeadlineExceeded {
			return fmt.Sprintf("it took longer than %s and was stopped", deadline(s.Job))
		}
	}
	if pod := s.Pod(); pod != nil {
		return whyPodEnded(pod)
	}
	if c := condition(s.Job, batchv1.JobFailed); c != nil {
		return fmt.Sprintf("its Job failed and its pods are gone: %s", oneLine(c.Message))
	}
	return "its Job ended and its pods are gone"
}

func deadline(job *batchv1.Job) time.Duration {
	if d := job.Spec.ActiveDeadlineSeconds; d != nil {
		return time.Duration(*d) * time.Second
	}
	return DefaultDeadline
}

// whyPodEnded says why a pod ended: what the executor said itself, else what
// Kubernetes knows.
func whyPodEnded(pod *corev1.Pod) string {
	last, text := lastWord(pod)
	if last != nil && last.Reason != "" {
		return last.Reason
	}
	if disrupted := whyDisrupted(pod); disrupted != "" {
		return disrupted
	}
	if t := terminated(pod); t != nil {
		return whyTerminated(pod, t, text)
	}
	if pod.Status.Message != "" {
		return fmt.Sprintf("its pod ended: %s: %s", pod.Status.Reason, oneLine(pod.Status.Message))
	}
	return "its pod ended, and nobody knows why"
}

func whyDisrupted(pod *corev1.Pod) string {
	node := fmt.Sprintf("node %q", pod.Spec.NodeName)
	switch pod.Status.Reason {
	case "NodeLost":
		return node + " was lost: " + oneLine(pod.Status.Message)
	case "Evicted":
		return "its pod was evicted from " + node + ": " + oneLine(pod.Status.Message)
	}
	for _, c := range pod.Status.Conditions {
		if c.Type != corev1.DisruptionTarget || c.Status != corev1.ConditionTrue {
			continue
		}
		if c.Reason == "DeletionByPodGC" || c.Reason == "DeletionByTaintManager" {
			return node + " was lost: " + oneLine(c.Message)
		}
		return fmt.Sprintf("its pod had to leave %s (%s): %s", node, c.Reason, oneLine(c.Message))
	}
	return ""
}

func whyTerminated(pod *corev1.Pod, t *corev1.ContainerStateTerminated, text string) string {
	const killed = 137 // 128 + SIGKILL
	switch {
	case t.Reason == "OOMKilled":
		return "the executor ran out of memory: " + memory(pod)
	case t.ExitCode == killed:
		return "the executor was killed, most often because memory ran out: " + memory(pod)
	case t.Reason == "DeadlineExceeded":
		return "it took too long and was stopped"
	case text != "":
		return fmt.Sprintf("the executor ended with exit code %d; its last words: %s", t.ExitCode, text)
	}
	return fmt.Sprintf("the executor ended with exit code %d and said nothing", t.ExitCode)
}

// memory names the limit and how to raise it.
func memory(pod *corev1.Pod) string {
	limit := executor(pod.Spec.DeepCopy()).Resources.Limits.Memory()
	if limit.IsZero() {
		return "it has no limit of its own, so the node ran out"
	}
	return fmt.Sprintf("its limit is %s; hint: raise it with install --velero-pod-mem-limit", limit)
}

// lastWord is what the executor of an ended pod left in its termination
// message: a summary, or else the end of its log as text.
func lastWord(pod *corev1.Pod) (*report.Summary, string) {
	t := terminated(pod)
	if t == nil || t.Message == "" {
		return nil, ""
	}
	if parsed, err := report.ParseTermination([]byte(t.Message)); err == nil {
		return &parsed.Summary, ""
	}
	lines := strings.Split(strings.TrimSpace(t.Message), "\n")
	return nil, oneLine(lines[len(lines)-1])
}

// terminated is the end of the executor's container; nil while it runs.
func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if status := executorStatus(pod); status != nil {
		return status.State.Terminated
	}
	return nil
}

func executorStatus(pod *corev1.Pod) *corev1.ContainerStatus {
	if pod == nil {
		return nil
	}
	for i := range pod.Status.ContainerStatuses {
		if pod.Status.ContainerStatuses[i].Name == ContainerName {
			return &pod.Status.ContainerStatuses[i]
		}
	}
	return nil
}

// started reports whether the executor's container runs.
func started(pod *corev1.Pod) bool {
	status := executorStatus(pod)
	return status != nil && status.State.Running != nil
}

// ran reports whether the pod has ended.
func ran(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded || terminated(pod) != nil
}

// ranToTheEnd reports whether the executor has ended in a way after which its Job
// starts no other.
func ranToTheEnd(pod *corev1.Pod) bool {
	t := terminated(pod)
	return t != nil && (t.ExitCode == 0 || slices.Contains(finalExitCodes(), t.ExitCode))
}

// startTime is when the executor's container started; zero before.
func startTime(pod *corev1.Pod) time.Time {
	if status := executorStatus(pod); status != nil && status.State.Running != nil {
		return status.State.Running.StartedAt.Time
	}
	return time.Time{}
}

// newest is the latest event of a reason, nil without one.
func newest(events []corev1.Event, reason string) *corev1.Event {
	var found *corev1.Event
	for i := range events {
		if events[i].Reason == reason && (found == nil || when(events[i]).After(when(*found))) {
			found = &events[i]
		}
	}
	return found
}

func when(e corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}

// oneLine makes a message that others wrote fit into a sentence.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxCause {
		s = strings.ToValidUTF8(s[:maxCause], "") + " ..."
	}
	return strings.TrimSuffix(s, ".")
}
