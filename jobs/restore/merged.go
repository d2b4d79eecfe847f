package restore

import (
	"context"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// targetPlace is where an object of the archive comes to be.
func (o *operation) targetPlace(p transform.Place) transform.Place {
	p.Namespace = o.targetOf(p.Namespace)
	return p
}

// findMerged finds, where several namespaces of the backup come into one of the
// cluster, the objects that would become one. The second of them meets the first
// as it would any object that exists, though this restore has made it.
func (o *operation) findMerged(ctx context.Context) error {
	sources := map[string]int{}
	for _, namespace := range o.plan.Namespaces {
		sources[o.targetOf(namespace)]++
	}
	shared := func(p transform.Place) bool { return sources[o.targetOf(p.Namespace)] > 1 }
	if len(o.restore.Spec.NamespaceMapping) == 0 || len(sources) == len(o.plan.Namespaces) {
		return nil
	}
	paths := duplicates{twice: o.merged}
	return o.pass(ctx, scan{
		purpose: "find what would become one",
		member:  func(m archive.Member) bool { return o.touches(m, false) },
		want: func(item archive.Item) bool {
			place := placeOf(item)
			if item.Namespace != "" && o.stored(item) && shared(place) && o.selection.place(place) {
				paths.note(o.targetPlace(place), "")
			}
			return false
		},
	}, func(archive.Item) error { return ctx.Err() })
}

// becomesOne reports whether two objects of the backup would become this one of
// the cluster.
func (o *operation) becomesOne(place ref.Object) bool {
	return o.merged[transform.Place{Resource: place.Resource.GroupResource(), Namespace: place.Namespace, Name: place.Name}]
}
