package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// ErrChanged means that the record changed while it was about to be settled:
// somebody works on it or has told it how it ended. Observe again.
var ErrChanged = errors.New("it changed in the meantime")

// Settlement is what Settle did.
type Settlement struct {
	// Wrote is set when the record was told how the operation ended.
	Wrote bool
	// Maintenance names the Job that was started to look into the bucket,
	// because a commit marker may exist there; the record is told by it.
	Maintenance string
}

// Settle tells the record of an operation that ended without a word how it
// ended, as v says, and cleans up behind it: the Job that never started, the
// rights of a restore. The write is guarded by the record's resourceVersion
// (ErrChanged), so a terminal phase is never overwritten. When a commit marker
// may exist in the bucket it starts maintenance instead, which can look. A
// verdict that leaves nothing to write is left alone.
func (o *Observer) Settle(ctx context.Context, s State, v Verdict) (Settlement, error) {
	switch {
	case v.Standing == Ended && v.AskBucket:
		job, err := o.startMaintenance(ctx, s.CR)
		return Settlement{Maintenance: job}, err
	case v.Standing == Ended && v.MayWrite:
	default:
		return Settlement{}, nil
	}
	if err := o.writeEnd(ctx, s, v); err != nil {
		return Settlement{}, err
	}
	o.event(ctx, s.CR, v)
	if s.Operation == velerov1.OperationRestore {
		// Maintenance takes away what can't be taken away here.
		_ = Unbind(ctx, o.Kube, s.CR.UID)
	}
	if s.Job != nil && !Finished(s.Job) {
		return Settlement{Wrote: true}, o.remove(ctx, s.Job)
	}
	return Settlement{Wrote: true}, nil
}

func (o *Observer) writeEnd(ctx context.Context, s State, v Verdict) error {
	body, err := json.Marshal(endPatch(s, v))
	if err != nil {
		return fmt.Errorf("write the end of %s %q: %w", s.CR.Kind, s.CR.Name, err)
	}
	if s.Operation == velerov1.OperationRestore {
		_, err = o.Velero.Restores(o.Namespace).Patch(ctx, s.CR.Name, types.MergePatchType, body, metav1.PatchOptions{})
	} else {
		_, err = o.Velero.Backups(o.Namespace).Patch(ctx, s.CR.Name, types.MergePatchType, body, metav1.PatchOptions{})
	}
	switch {
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
		return fmt.Errorf("write the end of %s %q: %w", s.CR.Kind, s.CR.Name, ErrChanged)
	case err != nil:
		return fmt.Errorf("write the end of %s %q: %w", s.CR.Kind, s.CR.Name, err)
	}
	return nil
}

// endPatch is the merge patch that ends a record as v says.
func endPatch(s State, v Verdict) map[string]any {
	status := map[string]any{
		"phase":               v.Outcome.Phase(),
		"completionTimestamp": s.Now.UTC().Format(time.RFC3339),
	}
	if s.Operation == velerov1.OperationBackup && v.Outcome != report.Completed && v.Outcome != report.PartiallyFailed {
		for _, count := range velerov1.SnapshotCounts() {
			status[count] = nil // what was counted belongs to no backup
		}
	}
	metadata := map[string]any{"resourceVersion": s.CR.ResourceVersion}
	if v.Reason != "" {
		status["failureReason"] = v.Reason
	}
	if sum := v.Summary; sum != nil {
		status["warnings"], status["errors"] = sum.Warnings, sum.Errors
		if len(sum.TopCauses) > 0 {
			metadata["annotations"] = map[string]any{velerov1.TopCausesAnnotation: strings.Join(sum.TopCauses, "\n")}
		}
	}
	return map[string]any{"metadata": metadata, "status": status}
}

// remove deletes a Job that never started, or that nobody waits for any more.
func (o *Observer) remove(ctx context.Context, job *batchv1.Job) error {
	err := o.Kube.BatchV1().Jobs(job.Namespace).Delete(ctx, job.Name, metav1.DeleteOptions{
		PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
		Preconditions:     metav1.NewUIDPreconditions(string(job.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Job %q: %w", job.Name, err)
	}
	return nil
}

// startMaintenance starts the chores now instead of at their hour, and gives
// the name of the Job. One Job for each record is enough, however often it is
// asked for.
func (o *Observer) startMaintenance(ctx context.Context, cr CR) (string, error) {
	chores, err := o.Kube.BatchV1().CronJobs(o.Namespace).Get(ctx, MaintenanceName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("start maintenance, which looks into the bucket for the end of %s %q: %w", cr.Kind, cr.Name, err)
	}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   o.Namespace,
			Name:        JobName(velerov1.OperationMaintain, cr.Name, cr.UID),
			Labels:      chores.Spec.JobTemplate.Labels,
			Annotations: map[string]string{"cronjob.kubernetes.io/instantiate": "manual"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "batch/v1", Kind: "CronJob", Name: chores.Name, UID: chores.UID, Controller: ptr.To(true),
			}},
		},
		Spec: *chores.Spec.JobTemplate.Spec.DeepCopy(),
	}
	job.Spec.TTLSecondsAfterFinished = ptr.To(int32(ShortTTL / time.Second))
	started, err := Start(ctx, o.Kube, job)
	if err != nil {
		return "", err
	}
	return started.Name, nil
}

// event leaves the end where `kubectl get events` shows it. Losing it does no
// harm: the record has the reason.
func (o *Observer) event(ctx context.Context, cr CR, v Verdict) {
	now := metav1.NewTime(o.now())
	_, _ = o.Kube.CoreV1().Events(o.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: cr.Name + ".", Namespace: o.Namespace},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: velerov1.SchemeGroupVersion.String(), Kind: cr.Kind,
			Namespace: cr.Namespace, Name: cr.Name, UID: cr.UID,
		},
		Type: corev1.EventTypeWarning, Reason: v.Outcome.Phase(), Message: oneLine(v.Reason),
		Source:         corev1.EventSource{Component: "kubectl-velero"},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}, metav1.CreateOptions{})
}
