package restore

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// podsV1 are pods in the version that hooks know.
var podsV1 = transform.Pods.WithVersion("v1")

// prepareHooks makes what the hooks of the Restore and of pods run with.
func (o *operation) prepareHooks() error {
	var err error
	if o.hooks, err = hooks.NewRestore(o.restore.Spec.Hooks, o.served.Resolve); err != nil {
		return refuse("%v", err)
	}
	for _, text := range o.hooks.Warnings() {
		o.warn(text)
	}
	exec, err := hooks.NewExecutor(o.REST)
	if err != nil {
		return err
	}
	o.postHooks = hooks.NewPostRunner(o.Kube, exec, o.Log, hooks.PostOptions{})
	return nil
}

// podOf is what hooks need to know of a pod.
func (o *operation) podOf(obj *transform.Object, namespace string) hooks.Pod {
	var spec struct {
		Containers []struct{ Name string }
	}
	pod := hooks.Pod{Namespace: namespace, Name: obj.Name(), Labels: obj.Labels(), Annotations: obj.Annotations()}
	if obj.Read("spec", &spec) == nil { // one that can't be read has no containers
		for _, container := range spec.Containers {
			pod.Containers = append(pod.Containers, container.Name)
		}
	}
	return pod
}

// startHooks starts the exec hooks of a pod that was restored; uid is empty when
// it isn't known.
func (o *operation) startHooks(ctx context.Context, obj *transform.Object, place ref.Object, uid types.UID) {
	if place.Resource != podsV1 {
		return
	}
	pod := o.podOf(obj, place.Namespace)
	pod.UID = uid
	chosen, texts := o.hooks.Post(pod)
	for _, err := range asErrors(texts) {
		o.report.Add(report.Warning, place, err)
		o.Log.Warn("hook of a pod", "pod", place.String(), "error", err)
	}
	if len(chosen) > 0 {
		o.postHooks.Start(ctx, pod, chosen)
	}
}

// waitForHooks waits until every hook has run or can't run any more, also when
// the restore broke off, and reports those that failed.
func (o *operation) waitForHooks(ctx context.Context) error {
	if o.postHooks == nil {
		return nil
	}
	for _, failure := range o.postHooks.Wait(ctx) {
		level := report.Error
		if failure.Continue {
			level = report.Warning
		}
		place := ref.Object{Resource: podsV1, Kind: "Pod", Namespace: failure.Namespace, Name: failure.Pod}
		o.report.Add(level, place, failure.Err)
		if !errors.Is(failure.Err, context.Canceled) {
			o.Log.Warn("hook failed", "pod", place.String(), "error", failure.Err)
		}
	}
	return ctx.Err()
}
