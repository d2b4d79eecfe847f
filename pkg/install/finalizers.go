package install

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// finalizers are those that Velero's server and node agents put on their objects.
// With no server left, nobody would take them off, and the namespace would stay.
var finalizers = []string{
	velerov1.RestoreFinalizer,
	"velero.io/pod-volume-finalizer",
	"velero.io/data-upload-download-finalizer",
}

func stripFinalizers(ctx context.Context, c Cluster, namespace string) error {
	for _, gvr := range veleroResources {
		objects, err := c.Dynamic.Resource(gvr).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", gvr.GroupResource(), err)
		}
		for i := range objects.Items {
			if err := stripObject(ctx, c, gvr, &objects.Items[i]); err != nil {
				return fmt.Errorf("take Velero's finalizers off %s %q: %w", gvr.GroupResource(), objects.Items[i].GetName(), err)
			}
		}
	}
	return nil
}

func stripObject(ctx context.Context, c Cluster, gvr schema.GroupVersionResource, object *unstructured.Unstructured) error {
	has := object.GetFinalizers()
	keep := slices.DeleteFunc(slices.Clone(has), func(f string) bool { return slices.Contains(finalizers, f) })
	if len(keep) == len(has) {
		return nil
	}
	// The resourceVersion keeps a finalizer that was added meanwhile.
	patch, err := json.Marshal(nest(map[string]any{
		"finalizers": keep, "resourceVersion": object.GetResourceVersion(),
	}, "metadata"))
	if err != nil {
		return err
	}
	_, err = c.Dynamic.Resource(gvr).Namespace(object.GetNamespace()).Patch(ctx, object.GetName(), types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
