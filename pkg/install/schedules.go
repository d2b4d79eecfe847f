package install

import (
	"context"
	"encoding/json"
	"fmt"

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
	patch, err := schedulePatch(o)
	if err != nil {
		return err
	}
	for i := range crons.Items {
		before := &crons.Items[i]
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
func schedulePatch(o Options) ([]byte, error) {
	container := map[string]any{
		"name":      launch.ContainerName,
		"image":     o.Image,
		"resources": map[string]any{"$patch": "replace", "requests": o.Resources.Requests, "limits": o.Resources.Limits},
		"env":       featuresPatch(o.Features),
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

// featuresPatch leaves the other variables as they are.
func featuresPatch(names []string) any {
	if len(names) == 0 {
		return []any{map[string]any{"$patch": "delete", "name": featuresVariable}}
	}
	return features(names)
}

// nest wraps value in objects, one for each key, the first outermost.
func nest(value any, keys ...string) any {
	for i := len(keys) - 1; i >= 0; i-- {
		value = map[string]any{keys[i]: value}
	}
	return value
}
