package restore

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// connect makes what the restore talks to the cluster with, and asks it for
// its kinds.
func (o *operation) connect(ctx context.Context) error {
	var err error
	if o.served, err = cluster.Discover(o.Discovery); err != nil {
		return err
	}
	for gv, cause := range o.served.Failed {
		o.Log.Warn("kinds of a group are not known", "groupVersion", gv, "error", cause)
	}
	if o.writer, err = cluster.NewWriter(o.REST); err != nil {
		return err
	}
	secrets, err := o.locationSecrets(ctx)
	if err != nil {
		return err
	}
	spec := o.restore.Spec
	o.volumes = transform.NewVolumes(o.source.methods)
	o.namespaces = newNamespaces(o)
	o.transformer = transform.New(transform.Options{
		BackupName: spec.BackupName, RestoreName: o.restore.Name,
		VeleroNamespaces:  []string{o.Namespace, o.source.backup.Namespace},
		Secrets:           secrets,
		NamespaceMapping:  spec.NamespaceMapping,
		PreserveNodePorts: spec.PreserveNodePorts != nil && *spec.PreserveNodePorts,
		RestoreVolumes:    spec.RestorePVs == nil || *spec.RestorePVs,
		Volumes:           o.volumes,
		Selected:          func(gr schema.GroupResource) bool { return o.selection.Kind(gr, true) },
	})
	return nil
}

// inspect reads the archive once before anything is written: a torn one is
// found out here, and the plan is made from what is really in it.
func (o *operation) inspect(ctx context.Context) error {
	o.contents = newContents()
	err := o.pass(ctx, "inspect", func(item archive.Item) error {
		o.contents.add(item)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if difference := o.contents.compare(o.source.listed); difference != "" {
		o.warn(difference)
	}
	return nil
}

// makePlan decides what is restored and says so.
func (o *operation) makePlan(ctx context.Context) error {
	chosen, err := filter.New(filterSpec(o.restore.Spec), o.resolve)
	if err != nil {
		return refuse("%v", err)
	}
	o.selection = &selection{Filter: chosen, needed: map[transform.Place]bool{}}
	if o.selection.surveys(o.restore.Spec.IncludeClusterResources) {
		if err := o.survey(ctx); err != nil {
			return err
		}
	}
	o.plan = newPlan(o.contents, o.selection, o.served)
	o.progress.plan(o.plan.Total)
	o.Log.Info("planned", "items", o.plan.Total, "namespaces", len(o.plan.Namespaces))
	for _, k := range o.plan.Missing {
		o.Log.Warn("objects can't be restored", "resource", k.Resource, "reason", missing(o.served, k.Resource, k.Version, k.Kind))
	}
	if len(o.contents.kinds) == 0 {
		o.warn("zero items to be restored")
	}
	return nil
}

// warn reports a warning about the restore as a whole.
func (o *operation) warn(text string) {
	o.report.Add(report.Warning, ref.Object{}, errors.New(text))
	o.Log.Warn(text)
}

// resolve finds a kind by its name in a filter: one of the cluster's, or one
// that the archive brings.
func (o *operation) resolve(name string) (schema.GroupResource, bool) {
	if resource, ok := o.served.Resolve(name); ok {
		return resource, true
	}
	return o.contents.resolve(name)
}

// survey finds what selected pods and claims need and the filters by label and
// scope leave out: claims, volumes, priority classes.
func (o *operation) survey(ctx context.Context) error {
	if !o.contents.has(transform.Pods) && !o.contents.has(transform.Claims) {
		return nil
	}
	claims := map[transform.Place][]transform.Place{}
	err := o.pass(ctx, "find what selected objects need", func(item archive.Item) error {
		place := transform.Place{Resource: item.Resource, Namespace: item.Namespace, Name: item.Name}
		if place.Resource != transform.Pods && place.Resource != transform.Claims || !o.selection.place(place) {
			return ctx.Err()
		}
		obj, err := transform.Parse(item.Body)
		if err != nil { // reported by the pass that restores it
			return nil
		}
		needs, err := transform.Needs(place.Resource, obj)
		if err != nil {
			return nil
		}
		if !o.selection.Labels(obj.Labels()) {
			if place.Resource == transform.Claims {
				claims[place] = needs // in case that a pod needs the claim
			}
			return nil
		}
		for _, need := range needs {
			o.selection.need(need)
		}
		return nil
	})
	for place, needs := range claims {
		if o.selection.needed[place] {
			for _, need := range needs {
				o.selection.need(need)
			}
		}
	}
	return err
}
