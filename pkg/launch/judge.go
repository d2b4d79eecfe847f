package launch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// Standing is how far an operation has come.
type Standing int

const (
	// Running means that the executor works on it.
	Running Standing = iota
	// Waiting means that the executor hasn't started yet.
	Waiting
	// Ended means that nothing will happen any more.
	Ended
)

// Verdict is what a State amounts to.
type Verdict struct {
	Standing Standing
	// Cause says what holds up an operation that hasn't ended; empty when
	// nothing is out of the ordinary.
	Cause string
	// Outcome is how it ended, and Reason why; both are empty before the end,
	// and Reason is empty for what Completed.
	Outcome report.Outcome
	Reason  string
	// MayWrite is set when the record hasn't been told of this end and whoever
	// sees it may write it down.
	MayWrite bool
	// AskBucket is set when the record hasn't been told and a commit marker may
	// exist: only who can read the bucket may decide.
	AskBucket bool
	// Summary is the executor's last word when it left one.
	Summary *report.Summary
}

// How long silence lasts before it means something.
const (
	// beatStale is three missed beats.
	beatStale = 30 * time.Second
	// jobMissing is how long a Job may be missing before its operation counts
	// as failed: it covers the moment between creating the record and the Job.
	jobMissing = 60 * time.Second
	// podGivenUp is how long after Kubernetes gave up on a Job a pod that
	// can't be reached is still waited for.
	podGivenUp = gracePeriodSeconds*time.Second + jobMissing
)

// Judge tells from a State how the operation stands. It is a pure function.
func Judge(s State) Verdict {
	switch {
	case s.Gone && s.Operation == velerov1.OperationDelete:
		return Verdict{Standing: Ended, Outcome: report.Completed}
	case s.Gone:
		return Verdict{Standing: Ended, Outcome: report.Cancelled, Reason: fmt.Sprintf("%s %q was deleted", s.CR.Kind, s.CR.Name)}
	case s.recorded() && s.CR.Terminal:
		return told(s)
	case s.recorded() && s.Job == nil && !s.CR.Ours:
		return Verdict{Standing: Running} // a Velero server's
	case s.Job == nil:
		return withoutJob(s)
	case Finished(s.Job) || givenUp(s):
		return ended(s)
	}
	return underWay(s)
}

// recorded reports whether the CR, rather than the Job alone, tells how the
// operation goes. A deletion's CR is what gets deleted.
func (s State) recorded() bool { return s.CR.UID != "" && s.Operation != velerov1.OperationDelete }

// told is the end as the record has it.
func told(s State) Verdict {
	v := Verdict{Standing: Ended, Outcome: outcomeOf(s.CR.Phase)}
	if len(s.CR.Reasons) > 0 && v.Outcome != report.Completed {
		v.Reason = s.CR.Reasons[0]
	}
	// Cancelled has no phase of its own; the pod knows the difference.
	if last, _ := lastWord(s.Pod()); last != nil && v.Outcome == report.Failed && last.Outcome == report.Cancelled {
		v.Outcome = report.Cancelled
	}
	return v
}

func outcomeOf(phase string) report.Outcome {
	switch velerov1.BackupPhase(phase) {
	case velerov1.BackupPhaseCompleted:
		return report.Completed
	case velerov1.BackupPhasePartiallyFailed:
		return report.PartiallyFailed
	case velerov1.BackupPhaseFailedValidation:
		return report.Usage
	case velerov1.BackupPhaseDeleting:
		return report.Cancelled
	}
	return report.Failed
}

func withoutJob(s State) Verdict {
	quiet := s.Now.Sub(latest(s.CR.Created, s.CR.Heartbeat))
	switch {
	case s.recorded() && quiet < jobMissing && s.CR.Heartbeat.IsZero():
		return Verdict{Standing: Waiting}
	case s.recorded() && quiet < jobMissing:
		return Verdict{Standing: Running} // an executor outside the cluster beats, too
	case s.recorded() && s.CR.Heartbeat.IsZero():
		return s.untold(Verdict{Outcome: report.Failed, Reason: "it was never started: there is no Job for it"})
	}
	return s.untold(Verdict{Outcome: report.Failed, Reason: "its Job is gone and left no word"})
}

// ended is the end of an operation whose Job has ended, and whose record says
// that it goes on.
func ended(s State) Verdict {
	v := Verdict{Outcome: report.Failed, Reason: whyEnded(s)}
	if last, _ := lastWord(s.Pod()); last != nil {
		v.Outcome, v.Summary = last.Outcome, last
		if last.Outcome == report.Temporary {
			v.Outcome = report.Failed
		}
	} else if succeeded(s.Job) {
		v.Outcome, v.Reason = report.Completed, ""
		if s.recorded() {
			v.Outcome, v.Reason = report.Failed, "its Job ended without saying how it went"
		}
	}
	if v.Outcome == report.Completed {
		v.Reason = ""
	}
	return s.untold(v)
}

// untold completes the verdict on an end that the record doesn't know of.
func (s State) untold(v Verdict) Verdict {
	v.Standing = Ended
	if s.recorded() {
		v.AskBucket = s.CR.Committing
		v.MayWrite = !s.CR.Committing
	}
	return v
}

func underWay(s State) Verdict {
	pod := s.Pod()
	switch {
	case s.Job.DeletionTimestamp != nil:
		return Verdict{Standing: Running, Cause: "its Job is being deleted"}
	case s.Job.Spec.Suspend != nil && *s.Job.Spec.Suspend:
		return s.waiting("its Job is suspended")
	case pod == nil:
		return s.waiting(whyNoPod(s.Events))
	case started(pod):
		return alive(s, pod)
	case ranToTheEnd(pod): // the Job controller takes a second or two to notice
		if last, _ := lastWord(pod); last != nil && last.Outcome == report.Completed && !s.recorded() {
			return ended(s)
		}
		return Verdict{Standing: Running}
	case ran(pod):
		return Verdict{Standing: Running, Cause: attemptEnded(s, pod)}
	}
	return s.waiting(whyPending(pod, s.Events, s.Now))
}

// attemptEnded tells of an attempt after which the Job goes on.
func attemptEnded(s State, pod *corev1.Pod) string {
	what, hint, hinted := strings.Cut(whyPodEnded(pod), "; hint: ")
	text := "an attempt ended: " + what
	if limit := s.Job.Spec.BackoffLimit; limit == nil || len(s.Pods) <= int(*limit) {
		text += "; another one follows"
	}
	if hinted {
		text += "; hint: " + hint
	}
	return text
}

// waiting is the verdict on an operation that hasn't started. Waiting longer
// than the timeout ends it.
func (s State) waiting(cause string) Verdict {
	since := s.Job.CreationTimestamp.Time
	if pod := s.Pod(); pod != nil {
		since = pod.CreationTimestamp.Time
	}
	if s.StartTimeout == 0 || s.Now.Sub(since) < s.StartTimeout {
		return Verdict{Standing: Waiting, Cause: cause}
	}
	reason := fmt.Sprintf("it did not start within %s", s.StartTimeout)
	if cause != "" {
		reason += ": " + cause
	}
	return s.untold(Verdict{Outcome: report.Failed, Reason: reason})
}

// alive is the verdict on an operation whose executor runs.
func alive(s State, pod *corev1.Pod) Verdict {
	v := Verdict{Standing: Running}
	quiet := s.Now.Sub(latest(s.CR.Heartbeat, startTime(pod)))
	switch {
	case s.NodeLost != "":
		v.Cause = fmt.Sprintf("node %q, where its pod %q runs, is lost: %s", pod.Spec.NodeName, pod.Name, s.NodeLost)
	case s.recorded() && quiet >= beatStale:
		v.Cause = fmt.Sprintf("no sign of life for %s from its pod %q on node %q", quiet.Round(time.Second), pod.Name, pod.Spec.NodeName)
	}
	return v
}

// Finished reports whether the Job controller is done with job.
func Finished(job *batchv1.Job) bool {
	return condition(job, batchv1.JobComplete) != nil || condition(job, batchv1.JobFailed) != nil
}

func succeeded(job *batchv1.Job) bool { return condition(job, batchv1.JobComplete) != nil }

// givenUp reports whether Kubernetes has decided that the Job failed and waits
// in vain for its pod to end, as it does when the pod's node is gone.
func givenUp(s State) bool {
	target := condition(s.Job, batchv1.JobFailureTarget)
	return target != nil && s.Now.Sub(target.LastTransitionTime.Time) >= podGivenUp
}

func condition(job *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	i := slices.IndexFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
	if i < 0 {
		return nil
	}
	return &job.Status.Conditions[i]
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
