package install

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

// Removal is what uninstalling deletes. Make it with Plan.
type Removal struct {
	// Running are Backups and Restores that are still at work, as "backup/shop".
	Running []string
	// Kept says why the CustomResourceDefinitions stay; empty if they don't.
	Kept []string
	// Claims are those that hold backups and go with the namespace. Their volumes
	// stay, with the backups, unless DeleteVolumes is set before Run.
	Claims        []HeldClaim
	DeleteVolumes bool

	namespace string
	targets   []target // in the order in which they are deleted
}

// target is an object at the time of planning: another one of the same name, made
// since then, is not deleted.
type target struct {
	object ref.Object
	uid    types.UID
}

// Objects are what is deleted, in this order; everything in the namespace goes with it.
func (r *Removal) Objects() []ref.Object {
	out := make([]ref.Object, len(r.targets))
	for i, t := range r.targets {
		out[i] = t.object
	}
	return out
}

// Run deletes it all and calls deleted after each object. What is gone already is
// passed over. The cluster takes its time to finish; Wait waits for it.
func (r *Removal) Run(ctx context.Context, c Cluster, deleted func(Change)) error {
	if err := r.settleVolumes(ctx, c.Kubernetes); err != nil {
		return err
	}
	if err := stripFinalizers(ctx, c, r.namespace); err != nil {
		return err
	}
	for _, t := range r.targets {
		err := c.Dynamic.Resource(t.object.Resource).Delete(ctx, t.object.Name, metav1.DeleteOptions{
			Preconditions:     &metav1.Preconditions{UID: &t.uid},
			PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
		})
		switch {
		case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
			continue
		case err != nil:
			return fmt.Errorf("delete %s: %w", Name(t.object), err)
		}
		deleted(Change{Object: t.object, Action: Deleted})
	}
	return nil
}

// Wait waits until nothing of it is left, at most timeout, and then says what is.
func (r *Removal) Wait(ctx context.Context, c Cluster, timeout time.Duration) error {
	var left []string
	err := wait.PollUntilContextTimeout(ctx, pollInterval, timeout, true, func(ctx context.Context) (bool, error) {
		var err error
		left, err = r.left(ctx, c)
		return len(left) == 0, err
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return fmt.Errorf("after %s there still are %s; hint: `kubectl get namespace %s -o yaml` tells what its deletion waits for",
			timeout, strings.Join(left, ", "), r.namespace)
	}
	return err
}

func (r *Removal) left(ctx context.Context, c Cluster) ([]string, error) {
	var left []string
	for _, t := range r.targets {
		found, err := c.Dynamic.Resource(t.object.Resource).Get(ctx, t.object.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("get %s: %w", Name(t.object), err)
		case found.GetUID() == t.uid:
			left = append(left, Name(t.object))
		}
	}
	return left, nil
}
