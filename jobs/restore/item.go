package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// What became of an object, as the resource list of a restore says it.
const (
	actionCreated = "created"
	actionUpdated = "updated"
	actionFailed  = "failed"
	actionSkipped = "skipped"
)

// result is what became of one object.
type result struct {
	// action is one of the constants; empty for an object that isn't selected.
	action           string
	warnings, errors []error
	// retry is why it failed, when that may pass. Nothing else counts then.
	retry error
	// reason is why it was skipped; for the log.
	reason string
	// unserved says that the cluster doesn't serve its kind.
	unserved bool

	// disk says, for a volume, that it gets one made from a snapshot.
	disk *diskSource
	// claim is, for a claim whose volume is provisioned anew, what is known of it.
	claim *claim

	place ref.Object
	kind  schema.GroupVersionKind
	// ownership is who owns which field, to be given back by a second write; nil
	// when nobody applied the object on the server side.
	ownership json.RawMessage
}

// failed returns r as the result of a failure; nil means that the cause is
// reported elsewhere.
func (r result) failed(err error) result {
	r.action = actionFailed
	if err != nil {
		r.errors = append(r.errors, err)
	}
	return r
}

// restoreItem restores one object and notes what became of it, or puts it into
// the queue.
func (o *operation) restoreItem(ctx context.Context, item archive.Item) {
	r := o.process(ctx, item)
	if r.retry != nil {
		o.known.forget(r.place) // what was known led here
		o.queue.add(waiting{item, r})
		return
	}
	if ctx.Err() == nil { // else the failure says nothing about the object
		o.settle(item, r)
	}
}

// settle puts the final result of one object into report, log and progress.
func (o *operation) settle(item archive.Item, r result) {
	if r.action == "" {
		return
	}
	o.progress.step()
	o.claims.settle(r)
	o.snapshots.note(r)
	if r.kind.Kind != "" {
		o.report.RestoredItem(r.kind, r.place.Namespace, r.place.Name, r.action)
	}
	log := o.Log.With("resource", item.Resource.String(), "namespace", r.place.Namespace, "name", r.place.Name)
	for _, err := range r.warnings {
		err = firstLine(err)
		o.report.Add(report.Warning, r.place, err)
		log.Warn("restored with a warning", "action", r.action, "error", err)
	}
	for _, err := range r.errors {
		err = firstLine(err)
		o.report.Add(report.Error, r.place, err)
		log.Error(r.verdict(), "action", r.action, "error", err)
	}
	switch {
	case r.reason != "":
		log.Info("item done", "action", r.action, "reason", r.reason)
	case len(r.warnings)+len(r.errors) == 0:
		log.Info("item done", "action", r.action)
	}
}

// verdict is what the log says of a result with errors.
func (r result) verdict() string {
	if r.action == actionCreated || r.action == actionUpdated {
		return "restored with an error"
	}
	return "not restored"
}

// firstLine cuts an error to its first line: the API server sends whole diffs
// of pods along.
func firstLine(err error) error {
	line, _, more := strings.Cut(err.Error(), "\n")
	if !more {
		return err
	}
	return errors.New(line + " …")
}

// process does all that is to be done for one object of the archive.
func (o *operation) process(ctx context.Context, item archive.Item) result {
	obj, r := o.identify(item)
	if obj == nil {
		return r
	}
	if item.Namespace != "" {
		if err := o.namespaces.ensure(ctx, item.Namespace); err != nil {
			return r.failed(nil)
		}
	}
	if obj, r = o.prepare(ctx, obj, r); obj == nil {
		return r
	}
	if r.disk != nil {
		return o.restoreDisk(ctx, obj, r)
	}
	return o.write(ctx, obj, r)
}

// maxObjectBytes is more than an API server takes even when etcd was given more
// room than usual: by default it takes 3 MiB.
const maxObjectBytes = 16 << 20

// identify finds out what an object of the archive is. Where there is nothing
// more to do it returns no object and the result.
func (o *operation) identify(item archive.Item) (*transform.Object, result) {
	r := result{place: ref.Object{
		Resource: item.Resource.WithVersion(""), Namespace: o.targetOf(item.Namespace), Name: item.Name,
	}}
	place := placeOf(item)
	if o.twice[place] {
		return nil, r.failed(nil)
	}
	if len(item.Body) > maxObjectBytes {
		return nil, r.failed(fmt.Errorf("it has %d bytes, more than any API server takes", len(item.Body)))
	}
	obj, err := parse(item)
	if err != nil {
		return nil, r.failed(err)
	}
	if !o.selection.object(place, obj.Labels()) {
		return nil, r
	}
	r.kind = obj.GroupVersionKind()
	r.place.Resource.Version, r.place.Kind = r.kind.Version, r.kind.Kind
	res, ok := find(o.served, item.Resource, r.kind.Version, item.Namespace != "")
	if !ok {
		o.unserved.add(item.Resource, r.kind)
		r = r.failed(nil)
		r.unserved = true
		return nil, r
	}
	if err := matches(res, item, r.kind); err != nil {
		return nil, r.failed(err)
	}
	if res.Version != r.kind.Version {
		obj.SetVersion(res.Version)
		r.kind.Version, r.place.Resource.Version = res.Version, res.Version
	}
	return obj, r
}

// prepare makes the object what is to be created. For one that isn't to be
// created it returns no object and the result.
func (o *operation) prepare(ctx context.Context, obj *transform.Object, r result) (*transform.Object, result) {
	original := transform.Place{Resource: r.place.Resource.GroupResource(), Namespace: obj.Namespace(), Name: obj.Name()}
	zone := zoneOf(original.Resource, obj)
	decision, err := o.transformer.Apply(r.place.Resource.GroupResource(), obj)
	r.warnings = append(r.warnings, decision.Warnings...)
	r.errors = append(r.errors, decision.Errors...)
	if len(decision.Mentions) > 0 {
		r.warnings = append(r.warnings, fmt.Errorf("it still mentions a namespace of the backup, which was left as it is: %s", strings.Join(decision.Mentions, ", ")))
	}
	if err != nil {
		err = fmt.Errorf("prepare it: %w", err)
		if o.preview == nil && cluster.MayPass(err) {
			r.retry = err
			return nil, r
		}
		return nil, r.failed(err)
	}
	if decision.Reprovision {
		o.volumes.Reprovision(original.Name)
	}
	if decision.Skip != "" {
		r.action, r.reason = actionSkipped, decision.Skip
		return nil, r
	}
	r.place.Name = obj.Name() // a volume or a snapshot may get a new one
	if r = o.noteData(ctx, obj, original, decision, r); r.disk != nil {
		r.disk.zone = zone
	}
	if r.retry != nil {
		return nil, r
	}
	if obj.Applied() {
		r.ownership = obj.ManagedFields()
	}
	obj.RemoveMeta("managedFields") // the API server takes none with a create
	return obj, r
}

func (o *operation) targetOf(namespace string) string {
	if namespace == "" {
		return ""
	}
	return o.namespaces.target(namespace)
}

// parse decodes an object and checks that it is the one that its path names.
func parse(item archive.Item) (*transform.Object, error) {
	obj, err := transform.Parse(item.Body)
	if err != nil {
		return nil, err
	}
	if obj.Name() != item.Name || obj.Namespace() != item.Namespace || obj.GroupVersionKind().Group != item.Resource.Group {
		return nil, fmt.Errorf("the archive holds another object here: %s %s/%s", obj.GroupVersionKind(), obj.Namespace(), obj.Name())
	}
	return obj, nil
}

// matches checks that an object is of the kind and scope that its path names.
func matches(res cluster.Resource, item archive.Item, kind schema.GroupVersionKind) error {
	if res.Kind != "" && res.Kind != kind.Kind {
		return fmt.Errorf("the archive holds another object here: a %s", kind.Kind)
	}
	if res.Namespaced != (item.Namespace != "") {
		return fmt.Errorf("in the archive it is namespaced: %t, in the cluster: %t", item.Namespace != "", res.Namespaced)
	}
	return nil
}

// write brings an object into the cluster.
func (o *operation) write(ctx context.Context, obj *transform.Object, r result) result {
	if found, there, _ := o.known.find(r.place); there {
		return o.meetKnown(ctx, obj, found, r)
	}
	return o.create(ctx, obj, r)
}

// create creates an object, or meets the one that is there.
func (o *operation) create(ctx context.Context, obj *transform.Object, r result) result {
	body, err := obj.Encode()
	if err != nil {
		return r.failed(err)
	}
	made, err := o.writer.Create(ctx, r.place, body)
	if err != nil && exists(r.place.Resource.GroupResource(), err) {
		return o.meet(ctx, obj, r, err)
	}
	return o.created(ctx, obj, made, err, r)
}

// created goes on after a create that ended with an object or with err.
func (o *operation) created(ctx context.Context, obj *transform.Object, uid types.UID, err error, r result) result {
	switch {
	case err == nil:
		r.action = actionCreated
		if r = o.afterCreate(ctx, obj, r.ownership, r); r.retry == nil {
			o.startHooks(ctx, obj, r.place, uid)
		}
		return r
	case cluster.MayPass(err):
		r.retry = err
		return r
	}
	return r.failed(err)
}

// afterCreate does what can only be done to an object that is there.
func (o *operation) afterCreate(ctx context.Context, obj *transform.Object, ownership json.RawMessage, r result) result {
	r = o.restoreStatus(ctx, obj, r)
	if ownership != nil {
		r = o.giveBack(ctx, ownership, r)
	}
	if wait := readiness[r.place.Resource.GroupResource()]; wait != nil && r.retry == nil {
		if err := wait(ctx, o, r.place); err != nil {
			r.errors = append(r.errors, err)
		}
	}
	return r
}

// giveBack restores the record of who owns which field, so that those who
// apply on the server side meet no conflicts: a create makes the creator the
// only manager.
func (o *operation) giveBack(ctx context.Context, ownership json.RawMessage, r result) result {
	patch := []byte(`{"metadata":{"managedFields":` + string(ownership) + `}}`)
	err := o.writer.MergePatch(ctx, r.place, patch)
	switch {
	case apierrors.IsNotFound(err):
		r.warnings = append(r.warnings, errors.New("it was deleted right after it was restored"))
	case err != nil && cluster.MayPass(err):
		r.retry = fmt.Errorf("give back its managed fields: %w", err)
	case err != nil:
		r.errors = append(r.errors, fmt.Errorf("give back its managed fields: %w", err))
	}
	return r
}

// unserved counts objects of kinds that the cluster doesn't serve, so that each
// kind is one entry of the report. The zero value is ready; it is safe for
// concurrent use.
type unserved struct {
	mu     sync.Mutex
	counts map[schema.GroupVersionResource]unservedKind
}

type unservedKind struct {
	kind  string
	count int
}

func (u *unserved) add(resource schema.GroupResource, kind schema.GroupVersionKind) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.counts == nil {
		u.counts = map[schema.GroupVersionResource]unservedKind{}
	}
	key := resource.WithVersion(kind.Version)
	u.counts[key] = unservedKind{kind.Kind, u.counts[key].count + 1}
}
