package launch

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// ObserveBackups reads how the given Backups stand, in their order. Those that
// have ended cost no request; the others cost two for all of them together.
func (o *Observer) ObserveBackups(ctx context.Context, backups []velerov1.Backup) ([]State, error) {
	records := make([]CR, len(backups))
	for i := range backups {
		records[i] = BackupCR(&backups[i])
	}
	return o.observeAll(ctx, records)
}

// ObserveRestores does for Restores what ObserveBackups does for Backups.
func (o *Observer) ObserveRestores(ctx context.Context, restores []velerov1.Restore) ([]State, error) {
	records := make([]CR, len(restores))
	for i := range restores {
		records[i] = RestoreCR(&restores[i])
	}
	return o.observeAll(ctx, records)
}

func (o *Observer) observeAll(ctx context.Context, records []CR) ([]State, error) {
	states := make([]State, len(records))
	var open bool
	for i, cr := range records {
		states[i] = State{Operation: cr.operation(), CR: cr, StartTimeout: o.StartTimeout, Now: o.now()}
		open = open || !cr.Terminal
	}
	if !open {
		return states, nil
	}
	jobs, err := o.listJobs(ctx)
	if err != nil {
		return nil, err
	}
	pods := o.listPods(ctx)
	for i := range states {
		s := &states[i]
		if s.CR.Terminal {
			continue
		}
		if s.Job = jobs.of(s.CR); s.Job == nil || Finished(s.Job) {
			// The record may have been told since it was listed.
			if *s, err = o.Observe(ctx, Target{Operation: s.Operation, Name: s.CR.Name}); err != nil {
				return nil, err
			}
			continue
		}
		s.Pods = pods[s.Job.UID]
		o.addCircumstances(ctx, s)
	}
	return states, nil
}

// jobIndex finds Jobs by what ties them to a record.
type jobIndex struct {
	byOperation map[string]*batchv1.Job
	byUID       map[types.UID]*batchv1.Job
}

func (o *Observer) listJobs(ctx context.Context) (jobIndex, error) {
	index := jobIndex{byOperation: map[string]*batchv1.Job{}, byUID: map[types.UID]*batchv1.Job{}}
	list, err := o.Kube.BatchV1().Jobs(o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: velerov1.OperationLabel})
	if err != nil {
		return index, fmt.Errorf("list Jobs: %w", err)
	}
	for i := range list.Items {
		job := &list.Items[i]
		index.byUID[job.UID] = job
		index.byOperation[job.Labels[velerov1.OperationLabel]+"/"+job.Labels[velerov1.OperationUIDLabel]] = job
	}
	return index, nil
}

func (x jobIndex) of(cr CR) *batchv1.Job {
	if job := x.byOperation[cr.operation()+"/"+string(cr.UID)]; job != nil {
		return job
	}
	return x.byUID[cr.JobUID]
}

// listPods gives the pods of all Jobs by the Job's UID, the newest last. Without
// the permission to list them it gives none.
func (o *Observer) listPods(ctx context.Context) map[types.UID][]corev1.Pod {
	byJob := map[types.UID][]corev1.Pod{}
	list, err := o.Kube.CoreV1().Pods(o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: velerov1.OperationLabel})
	if err != nil {
		return byJob
	}
	sortPods(list.Items)
	for _, pod := range list.Items {
		uid := types.UID(pod.Labels[batchv1.ControllerUidLabel])
		byJob[uid] = append(byJob[uid], pod)
	}
	return byJob
}
