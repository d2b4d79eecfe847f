package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// kept are the kinds that are never deleted to be created again, since data or
// other objects would go with them: they are updated instead.
var kept = map[schema.GroupResource]bool{
	definitions: true, namespaceKind: true, transform.PersistentVolumes: true, transform.Claims: true,
	{Group: "apiregistration.k8s.io", Resource: "apiservices"}: true,
}

// keeps reports whether a live object is updated and not recreated: what its
// controller made it would at once make again.
func keeps(resource schema.GroupResource, live *transform.Object) bool {
	_, controlled := live.Controller()
	return kept[resource] || controlled
}

// leaveToController is about a pod that differs and that a controller makes: it
// can be neither updated nor replaced.
func leaveToController(obj *transform.Object, owner metav1.OwnerReference, r result) result {
	r.action = actionFailed
	r.warnings = append(r.warnings, fmt.Errorf("%w; it is left to its %s %q", differs(obj.GroupVersionKind().Kind, obj.Name()), owner.Kind, owner.Name))
	return r
}

// orphaned are the kinds whose dependents stay when they are deleted: the new
// object adopts them.
var orphaned = map[schema.GroupResource]bool{
	{Group: "apps", Resource: "deployments"}: true, {Group: "apps", Resource: "replicasets"}: true,
	{Group: "apps", Resource: "statefulsets"}: true, {Group: "apps", Resource: "daemonsets"}: true,
	{Group: "batch", Resource: "jobs"}: true, {Group: "batch", Resource: "cronjobs"}: true,
	{Resource: "replicationcontrollers"}: true,
}

// recreate deletes the existing object and creates the one of the backup, after
// the API server has said that it would take it: nothing is deleted in vain.
func (o *operation) recreate(ctx context.Context, obj *transform.Object, uid types.UID, r result) result {
	body, err := obj.Encode()
	if err != nil {
		return r.failed(err)
	}
	if _, err := o.writer.DryRun().Create(ctx, r.place, body); err != nil && !apierrors.IsAlreadyExists(err) {
		err = fmt.Errorf("the existing one is kept, since the one of the backup would be refused: %w", err)
		if cluster.MayPass(err) {
			r.retry = err
			return r
		}
		return r.failed(err)
	}
	policy := metav1.DeletePropagationBackground
	if orphaned[r.place.Resource.GroupResource()] {
		policy = metav1.DeletePropagationOrphan
	}
	if err := o.writer.Delete(ctx, r.place, uid, policy); err != nil && !apierrors.IsNotFound(err) {
		return r.failed(fmt.Errorf("delete the existing one to create it again: %w", err))
	}
	if err := o.waitGone(ctx, r.place, uid); err != nil {
		r.retry = err
		return r
	}
	made, err := o.writer.Create(ctx, r.place, body)
	if apierrors.IsAlreadyExists(err) { // somebody else was faster: it is met again
		r.retry = err
		return r
	}
	if r = o.created(ctx, obj, made, err, r); r.action == actionFailed {
		r.errors = append(r.errors, errors.New("the existing one was deleted"))
	}
	return r
}

// goneTimeout is how long a worker waits for a deletion; what takes longer is
// tried again later.
const goneTimeout = 3 * time.Second

// waitGone waits until an object that was deleted is no more.
func (o *operation) waitGone(ctx context.Context, place ref.Object, uid types.UID) error {
	deadline := time.Now().Add(goneTimeout)
	for delay := 20 * time.Millisecond; ; delay = min(delay*2, time.Second) {
		raw, err := o.writer.Get(ctx, place)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait until the existing one is gone: %w", err)
		}
		now, err := transform.Parse(raw)
		if err != nil || now.UID() != uid {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("it was deleted to be created again, but is still there; hint: look at its finalizers, then restore again")
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}
