package backup

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// taker stores the selected objects of one kind.
type taker interface {
	// take stores obj, or keeps in mind that end has to. inOrder says that the
	// spec gave it its turn.
	take(ctx context.Context, obj cluster.Object, inOrder bool) error
	end(ctx context.Context) error
}

func (c *collector) taker(k *kind) taker {
	if k.preferred {
		switch k.GroupResource() {
		case podResource:
			return &podTaker{collector: c, kind: k}
		case claimResource:
			return &claimTaker{collector: c, kind: k}
		case volumeResource:
			return &volumeTaker{collector: c, kind: k}
		}
	}
	return &plainTaker{collector: c, kind: k}
}

// plainTaker stores each object as it comes.
type plainTaker struct {
	collector *collector
	kind      *kind
}

func (t *plainTaker) take(ctx context.Context, obj cluster.Object, _ bool) error {
	return t.collector.write(ctx, t.kind, obj)
}

func (t *plainTaker) end(context.Context) error { return nil }

// takeOrdered stores the objects that the spec's orderedResources name for the
// kind, in that order.
func (c *collector) takeOrdered(ctx context.Context, k *kind, t taker) error {
	names := c.ordered[k.GroupResource()]
	if len(names) == 0 {
		return nil
	}
	k.done = map[place]bool{}
	for _, name := range names {
		if k.done[name] {
			continue
		}
		found, err := c.getOne(ctx, k, name, func(obj cluster.Object) error {
			k.done[placeOf(obj)] = true
			k.coverage.Listed++
			if reason := c.unselected(k, obj); reason != "" {
				c.skip(ctx, k, placeOf(obj), reason)
				return nil
			}
			return t.take(ctx, obj, true)
		})
		if err != nil {
			return err
		}
		if !found {
			c.report.Add(report.Warning, ref.Object{Resource: k.GroupVersionResource, Namespace: name.namespace, Name: name.name},
				errors.New("orderedResources: there is no such object"))
		}
	}
	return t.end(ctx)
}

// getEach reads the objects that the user named one by one. One that doesn't
// exist is an error of the backup: it was asked for.
func (c *collector) getEach(ctx context.Context, k *kind, names []types.NamespacedName, visit func(cluster.Object) error) error {
	for _, name := range names {
		found, err := c.getOne(ctx, k, place{name.Namespace, name.Name}, visit)
		if err != nil {
			return err
		}
		if !found {
			c.report.Add(report.Error, ref.Object{Resource: k.GroupVersionResource, Namespace: name.Namespace, Name: name.Name},
				errors.New("included by name, but there is no such object"))
		}
	}
	return nil
}

// getOne reads one object. One that can't be read is reported, and the backup
// goes on: found is true then, since nobody knows better.
func (c *collector) getOne(ctx context.Context, k *kind, name place, visit func(cluster.Object) error) (found bool, err error) {
	var ours error
	err = c.lister.Get(ctx, k.Resource, name.namespace, name.name, func(obj cluster.Object) error {
		ours = visit(obj)
		return ours
	})
	switch {
	case ours != nil:
		return true, ours
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case apierrors.IsNotFound(err):
		return false, nil
	}
	if apierrors.IsForbidden(err) {
		err = fmt.Errorf("%w; hint: grant \"get %s\" to the executor's service account", err, k.coverage.Resource)
	}
	c.report.Add(report.Error, ref.Object{Resource: k.GroupVersionResource, Namespace: name.namespace, Name: name.name}, err)
	return true, nil
}
