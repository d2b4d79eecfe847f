package install

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

const (
	fieldManager = "kubectl-velero-install"
	// servedTimeout is how long a new kind may take until it is served, and an old
	// object until it is gone.
	servedTimeout = time.Minute
	pollInterval  = 200 * time.Millisecond
)

// Cluster is how to reach the cluster.
type Cluster struct {
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface
}

// Apply brings every object of an installation into the cluster, or up to date, and
// calls changed after each. Fields that others have set and an installation doesn't
// speak of stay as they are; those it speaks of become its own. An error leaves what
// was done until then; applying again goes on from there. Call Check before.
func Apply(ctx context.Context, c Cluster, o Options, changed func(Change)) error {
	objects, err := Objects(o)
	if err != nil {
		return err
	}
	a := applier{dynamic: c.Dynamic, changed: changed}
	if err := a.applyKinds(ctx, objects); err != nil || o.CRDsOnly {
		return err
	}
	if err := a.applyOwned(ctx, objects, launch.InstallBinding(o.Namespace)); err != nil {
		return err
	}
	return a.refreshSchedules(ctx, c.Kubernetes, o)
}

type applier struct {
	dynamic dynamic.Interface
	changed func(Change)
}

// applyKinds applies the CustomResourceDefinitions and waits until all are served.
func (a applier) applyKinds(ctx context.Context, objects []runtime.Object) error {
	var applied []ref.Object
	for _, object := range objects {
		manifest, err := Manifest(object)
		if err != nil {
			return err
		}
		if manifest.GetKind() != crdKind.kind {
			continue
		}
		if _, err := a.apply(ctx, manifest); err != nil {
			return err
		}
		applied = append(applied, crdKind.named(manifest.GetName()))
	}
	for _, crd := range applied {
		if err := a.waitEstablished(ctx, crd); err != nil {
			return err
		}
	}
	return nil
}

// applyOwned applies everything else. The ClusterRole gets its owner in the first go
// where the binding is there already, else in a second one.
func (a applier) applyOwned(ctx context.Context, objects []runtime.Object, binding string) error {
	owner, err := a.uid(ctx, clusterRoleBindingKind.named(binding))
	if err != nil {
		return err
	}
	var role *unstructured.Unstructured
	for _, object := range objects {
		manifest, err := Manifest(object)
		if err != nil {
			return err
		}
		switch manifest.GetKind() {
		case crdKind.kind:
			continue
		case clusterRoleKind.kind:
			role = manifest
			setOwner(role, binding, owner)
		}
		applied, err := a.apply(ctx, manifest)
		if err != nil {
			return err
		}
		if manifest.GetKind() == clusterRoleBindingKind.kind && applied.GetUID() != owner {
			setOwner(role, binding, applied.GetUID())
			if _, err := (applier{dynamic: a.dynamic, changed: func(Change) {}}).apply(ctx, role); err != nil {
				return err
			}
		}
	}
	return nil
}

func setOwner(role *unstructured.Unstructured, binding string, uid types.UID) {
	if uid == "" {
		return
	}
	role.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: clusterRoleBindingKind.gvr().GroupVersion().String(),
		Kind:       clusterRoleBindingKind.kind,
		Name:       binding,
		UID:        uid,
	}})
}

// uid is that of an object in the cluster; empty if there is none.
func (a applier) uid(ctx context.Context, object ref.Object) (types.UID, error) {
	found, err := a.get(ctx, object)
	if err != nil || found == nil || found.GetDeletionTimestamp() != nil {
		return "", err
	}
	return found.GetUID(), nil
}

// apply makes one object what manifest says and returns what the cluster then has.
func (a applier) apply(ctx context.Context, manifest *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	object, err := Place(manifest)
	if err != nil {
		return nil, err
	}
	before, err := a.getLiving(ctx, object)
	if err != nil {
		return nil, err
	}
	after, err := a.write(ctx, object, manifest)
	if err != nil {
		return nil, fmt.Errorf("apply %s: %w", Name(object), err)
	}
	action := Configured
	switch {
	case before == nil:
		action = Created
	case equality.Semantic.DeepEqual(essence(before), essence(after)):
		action = Unchanged
	}
	a.changed(Change{Object: object, Action: action})
	return after, nil
}

// write repeats the request while the API server doesn't serve a kind that it has
// just established.
func (a applier) write(ctx context.Context, object ref.Object, manifest *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	var after *unstructured.Unstructured
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, servedTimeout, true, func(ctx context.Context) (bool, error) {
		after, last = a.resource(object).Apply(ctx, object.Name, manifest, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		return last == nil || !apierrors.IsNotFound(last), nil
	})
	if last != nil {
		return nil, last
	}
	return after, err
}

// getLiving returns the object in the cluster, nil if there is none. One that is
// being deleted is waited for.
func (a applier) getLiving(ctx context.Context, object ref.Object) (*unstructured.Unstructured, error) {
	var found *unstructured.Unstructured
	err := wait.PollUntilContextTimeout(ctx, pollInterval, servedTimeout, true, func(ctx context.Context) (bool, error) {
		var err error
		found, err = a.get(ctx, object)
		return found == nil || found.GetDeletionTimestamp() == nil, err
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return nil, fmt.Errorf("%s is being deleted and doesn't go away; hint: look at its finalizers, and run install again when it is gone", Name(object))
	}
	return found, err
}

// get returns the object in the cluster, nil if there is none.
func (a applier) get(ctx context.Context, object ref.Object) (*unstructured.Unstructured, error) {
	found, err := a.resource(object).Get(ctx, object.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get %s: %w", Name(object), err)
	}
	return found, nil
}

func (a applier) resource(object ref.Object) dynamic.ResourceInterface {
	resource := a.dynamic.Resource(object.Resource)
	if object.Namespace == "" {
		return resource
	}
	return resource.Namespace(object.Namespace)
}

func (a applier) waitEstablished(ctx context.Context, crd ref.Object) error {
	err := wait.PollUntilContextTimeout(ctx, pollInterval, servedTimeout, true, func(ctx context.Context) (bool, error) {
		found, err := a.get(ctx, crd)
		return err == nil && found != nil && established(found), err
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return fmt.Errorf("%s is not served after %s; hint: `kubectl describe crd %s` tells why", Name(crd), servedTimeout, crd.Name)
	}
	return err
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, condition := range conditions {
		if c, ok := condition.(map[string]any); ok && c["type"] == "Established" {
			return c["status"] == "True"
		}
	}
	return false
}

// essence is an object without what the cluster keeps account of by itself.
func essence(u *unstructured.Unstructured) map[string]any {
	u = u.DeepCopy()
	delete(u.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	return u.Object
}
