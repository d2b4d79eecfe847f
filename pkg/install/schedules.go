package install

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

// refreshSchedules gives the CronJobs of Schedules, which hold a copy of the settings
// from the day when they were made, today's image, resources and feature flags.
func (a applier) refreshSchedules(ctx context.Context, kube kubernetes.Interface, o Options) error {
	crons, err := kube.BatchV1().CronJobs(o.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{velerov1.OperationLabel: velerov1.OperationSchedule}.String(),
	})
	if err != nil {
		return fmt.Errorf("list the CronJobs of schedules: %w", err)
	}
	for i := range crons.Items {
		before := &crons.Items[i]
		patch, err := schedulePatch(o, before)
		if err != nil {
			return err
		}
		after, err := kube.BatchV1().CronJobs(o.Namespace).Patch(ctx, before.Name, types.StrategicMergePatchType, patch,
			metav1.PatchOptions{FieldManager: fieldManager})
		if err != nil {
			return fmt.Errorf("bring CronJob %q up to date: %w", before.Name, err)
		}
		action := Configured
		if equality.Semantic.DeepEqual(before.Spec, after.Spec) {
			action = Unchanged
		}
		a.changed(Change{Action: action, Object: ref.Object{
			Resource: batchv1.SchemeGroupVersion.WithResource("cronjobs"), Kind: "CronJob", Namespace: o.Namespace, Name: before.Name,
		}})
	}
	return nil
}

// schedulePatch changes the executor container of a CronJob's pods, and no other.
func schedulePatch(o Options, before *batchv1.CronJob) ([]byte, error) {
	container := map[string]any{
		"name":      launch.ContainerName,
		"image":     o.Image,
		"resources": map[string]any{"$patch": "replace", "requests": o.Resources.Requests, "limits": o.Resources.Limits},
		"env":       environmentPatch(o, before),
	}
	if o.ImagePullPolicy != "" {
		container["imagePullPolicy"] = corev1.PullPolicy(o.ImagePullPolicy)
	}
	pod := map[string]any{
		"metadata": metav1.ObjectMeta{Labels: o.PodLabels, Annotations: o.PodAnnotations},
		"spec":     map[string]any{"containers": []any{container}},
	}
	return json.Marshal(nest(pod, "spec", "jobTemplate", "spec", "template"))
}

// environmentPatch sets the installation's variables and removes those that it no
// longer has. Those that every Job is given stay as they are.
func environmentPatch(o Options, before *batchv1.CronJob) []any {
	want := environment(o)
	patch := []any{} // null would remove them all
	for _, container := range before.Spec.JobTemplate.Spec.Template.Spec.Containers {
		for _, v := range container.Env {
			isWanted := slices.ContainsFunc(want, func(w corev1.EnvVar) bool { return w.Name == v.Name })
			if container.Name == launch.ContainerName && !isWanted && !launch.IsJobVariable(v.Name) {
				patch = append(patch, map[string]any{"$patch": "delete", "name": v.Name})
			}
		}
	}
	for _, v := range want {
		patch = append(patch, v)
	}
	return patch
}

// nest wraps value in objects, one for each key, the first outermost.
func nest(value any, keys ...string) any {
	for i := len(keys) - 1; i >= 0; i-- {
		value = map[string]any{keys[i]: value}
	}
	return value
}
