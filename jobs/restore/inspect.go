package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
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
	if err := o.prepareHooks(); err != nil {
		return err
	}
	secretNames, err := o.locationSecrets(ctx)
	if err != nil {
		return err
	}
	spec := o.restore.Spec
	o.volumes = transform.NewVolumes(o.source.saved.data, o.source.saved.byClaim)
	o.snapshots, o.groups = newSnapshots(o), newGroups(o)
	o.disks = newDisks(o)
	o.namespaces = newNamespaces(o)
	o.transformer = transform.New(transform.Options{
		BackupName: spec.BackupName, RestoreName: o.restore.Name,
		VeleroNamespaces:  []string{o.Namespace, o.source.backup.Namespace},
		Secrets:           secretNames,
		NamespaceMapping:  spec.NamespaceMapping,
		Mentions:          len(spec.NamespaceMapping) > 0,
		PreserveNodePorts: spec.PreserveNodePorts != nil && *spec.PreserveNodePorts,
		RestoreVolumes:    o.restoresData(),
		Volumes:           o.volumes,
		VolumeMoves:       func(name, clone string) (bool, error) { return o.volumeMoves(ctx, name, clone) },
		SnapshotName:      o.snapshotName,
		SnapshotClass:     func(driver, name string) string { return o.snapshots.class(ctx, driver, name) },
		SnapshotSelected:  func(p transform.Place) bool { return o.selection.place(p) },
		Selected:          func(gr schema.GroupResource) bool { return o.selection.kind(gr, true) },
		Actions:           o.actions(ctx),
	})
	return nil
}

// inspect finds out what is in the archive, before anything is written, and
// makes the selection. With an index only the parts are read that can hold what
// is selected, else the whole archive. A torn one is found out here.
func (o *operation) inspect(ctx context.Context) error {
	o.versions = map[schema.GroupResource]string{}
	if o.source.index != nil {
		o.contents = listed(o.source.index)
	} else if err := o.readContents(ctx, o.everyVersion()); err != nil {
		return err
	}
	if err := o.chooseVersions(ctx); err != nil {
		return err
	}
	o.contents.keep(o.versions)
	if difference := o.contents.compare(o.source.listed); difference != "" {
		o.warn(difference)
	}
	if err := o.choose(); err != nil {
		return err
	}
	o.lacksKinds = o.lacks()
	if o.source.index == nil && !o.selection.objects.AnyIncluded() {
		return nil
	}
	told := o.contents
	if err := o.readSelected(ctx); err != nil || o.source.index == nil || o.inspected() != nil || o.contents.agrees(told) {
		return err
	}
	o.warn(fmt.Sprintf("the index of backup %q isn't about this archive; the archive is read without it; hint: kubectl velero backup verify %s", o.source.backup.Name, o.source.backup.Name))
	o.source.index = nil
	return o.inspect(ctx)
}

// readContents reads what is in an archive without index.
func (o *operation) readContents(ctx context.Context, want func(archive.Item) bool) error {
	found, paths := newContents(), duplicates{twice: o.twice}
	err := o.pass(ctx, scan{purpose: "inspect", want: want}, func(item archive.Item) error {
		found.add(item)
		paths.add(item)
		return ctx.Err()
	})
	o.contents = found
	o.reportTwice()
	return err
}

// reportTwice reports what the archive holds twice: which one is meant can't be
// known, so neither is restored.
func (o *operation) reportTwice() {
	for place := range o.twice {
		object := ref.Object{Resource: place.Resource.WithVersion(""), Namespace: place.Namespace, Name: place.Name}
		if !o.badEntries[object.String()] {
			o.badEntries[object.String()] = true
			o.report.Add(report.Error, object, errTwice)
			o.Log.Error("object left out", "object", object.String(), "error", errTwice)
		}
	}
}

var errTwice = errors.New("the archive holds it twice; neither is restored")

// readSelected counts what is selected: with an index it is the first pass, else
// a second one, since names can be understood only when the kinds are known. One
// object of each kind is read, of the others the path.
func (o *operation) readSelected(ctx context.Context) error {
	byName := o.selection.objects.AnyIncluded()
	found, paths := newContents(), duplicates{twice: o.twice}
	versions, named := o.contents.versionsOf(), map[transform.Place]bool{}
	err := o.pass(ctx, scan{
		purpose:  "count what is selected",
		parallel: true,
		member:   o.inspected(),
		want: func(item archive.Item) bool {
			place := placeOf(item)
			chosen := o.stored(item) && (!byName || o.selection.place(place))
			if !chosen && (item.Resource != definitions || !o.stored(item)) {
				return false
			}
			if byName && chosen {
				named[place] = true
			}
			paths.add(item)
			return found.count(item, versions[item.Resource]).Kind == ""
		},
	}, func(item archive.Item) error {
		found.describe(item, versions[item.Resource])
		return ctx.Err()
	})
	o.contents = found
	o.reportTwice()
	if err != nil || !byName {
		return err
	}
	return o.unfound(named)
}

// inspected chooses the members that are read before anything is written: all,
// to the archive's very end, unless something narrows the selection.
func (o *operation) inspected() func(archive.Member) bool {
	if o.selection.AllNamespaces() && !o.selection.objects.AnyIncluded() && !o.request.selection.Older() {
		return nil
	}
	return func(m archive.Member) bool { return o.touches(m, false) }
}

// lacks reports whether the cluster doesn't serve a kind that may be selected, so
// that the definitions of the archive matter.
func (o *operation) lacks() bool {
	return slices.ContainsFunc(o.contents.all(), func(k *kind) bool {
		_, served := find(o.served, k.Resource, k.Version, k.Namespaced())
		return !served && o.selection.kind(k.Resource, k.Namespaced()) && o.selection.objects.Kind(k.Resource)
	})
}

// makePlan decides what is restored and says so. What the cluster can't take is
// reported here, before anything is written.
func (o *operation) makePlan(ctx context.Context) error {
	if err := o.chooseStatus(); err != nil {
		return err
	}
	if o.selection.surveys(o.restore.Spec.IncludeClusterResources) || o.leavesOutSnapshots() {
		if err := o.survey(ctx); err != nil {
			return err
		}
	}
	o.plan = newPlan(o.contents, o.selection, o.served, o.waves)
	if err := o.findMerged(ctx); err != nil {
		return err
	}
	o.progress.plan(o.plan.Total)
	o.Log.Info("planned", "items", o.plan.Total, "namespaces", len(o.plan.Namespaces))
	for _, k := range o.plan.Missing {
		o.reportMissing(k.Resource.WithVersion(k.Version), k.Kind, o.selection.count(k, new([]string)))
	}
	if len(o.contents.kinds) == 0 {
		o.warn("zero items to be restored")
	}
	return nil
}

// reportMissing makes one error of all objects of a kind that the cluster doesn't
// serve.
func (o *operation) reportMissing(gvr schema.GroupVersionResource, kind string, count int) {
	if o.missing[gvr] {
		return
	}
	o.missing[gvr] = true
	err := fmt.Errorf("%d objects not restored: %s", count, missing(o.served, gvr.GroupResource(), gvr.Version, kind))
	o.report.Add(report.Error, ref.Object{Resource: gvr}, err)
	o.Log.Error("objects not restored", "resource", gvr.GroupResource().String(), "error", err)
}

// warn reports a warning about the restore as a whole.
func (o *operation) warn(text string) {
	o.report.Add(report.Warning, ref.Object{}, errors.New(text))
	o.Log.Warn(text)
}

// leavesOutSnapshots reports whether the filters leave out snapshots from which the
// volumes of claims are made.
func (o *operation) leavesOutSnapshots() bool {
	return o.restoresData() && o.source.saved.anyCSI() &&
		!(o.selection.kind(transform.VolumeSnapshots, true) && o.selection.kind(transform.VolumeSnapshotContents, false))
}

// surveyed are the kinds whose objects need others.
var surveyed = map[schema.GroupResource]bool{transform.Pods: true, transform.Claims: true, transform.VolumeSnapshots: true}

// survey finds what selected pods, claims and snapshots need and the filters by kind,
// label and scope leave out: claims, volumes, snapshots, priority classes.
func (o *operation) survey(ctx context.Context) error {
	if !o.contents.has(transform.Pods) && !o.contents.has(transform.Claims) && !o.contents.has(transform.VolumeSnapshots) {
		return nil
	}
	others := map[transform.Place][]transform.Place{} // what others need, in case that one needs them
	err := o.pass(ctx, scan{
		purpose: "find what selected objects need",
		member: func(m archive.Member) bool {
			return surveyed[schema.ParseGroupResource(m.Resource)] && o.touches(m, true)
		},
		want: func(item archive.Item) bool {
			return o.stored(item) && surveyed[item.Resource] && o.selection.canNeed(placeOf(item))
		},
	}, func(item archive.Item) error {
		place := placeOf(item)
		obj, err := transform.Parse(item.Body)
		if err != nil { // reported by the pass that restores it
			return nil
		}
		needs := o.needsOf(place.Resource, obj)
		if !o.selection.place(place) || !o.selection.Labels(obj.Labels()) {
			if place.Resource != transform.Pods {
				others[place] = needs
			}
			return nil
		}
		for _, need := range needs {
			o.selection.need(need)
		}
		return nil
	})
	o.selection.follow(others)
	return err
}

// needsOf is what an object needs in this restore. One that can't be read needs
// nothing: the pass that restores it reports it.
func (o *operation) needsOf(resource schema.GroupResource, obj *transform.Object) []transform.Place {
	needs, err := transform.Needs(resource, obj)
	if err != nil {
		return nil
	}
	if !o.restoresData() {
		needs = slices.DeleteFunc(needs, func(p transform.Place) bool {
			return p.Resource == transform.VolumeSnapshots || p.Resource == transform.VolumeSnapshotContents
		})
	}
	return needs
}
