package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// preview is a restore that only looks. Its methods are safe for concurrent use.
type preview struct {
	// diff compares and asks the API server for no opinion.
	diff     bool
	emit     func(report.PreviewItem) error
	progress func(done int)
	writer   *cluster.Writer
	cancel   context.CancelCauseFunc

	mu     sync.Mutex
	counts map[report.PreviewAction]int
	done   int
}

// progressEvery is the number of objects between two signs of progress.
const progressEvery = 100

// Preview finds out what a restore that isn't in the cluster would do, and
// writes nothing anywhere: not even the Restore, whose name and spec count. With
// diff it compares, else it has the API server check each write (dryRun=All).
// emit gets each object, one at a time and in no certain order; its first error
// ends the preview. cfg.Name isn't used.
func Preview(ctx context.Context, cfg Config, r *velerov1.Restore, diff bool, emit func(report.PreviewItem) error, progress func(done int)) report.PreviewEnd {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	o := newOperation(cfg, r)
	o.preview = &preview{diff: diff, emit: emit, progress: progress, cancel: cancel, counts: map[report.PreviewAction]int{}}
	err := o.previewAll(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	end := report.PreviewEnd{Counts: o.preview.counts}
	if err != nil {
		end.Reason = err.Error()
	}
	results := o.report.Results()
	end.Warnings, end.Errors = lines(results.Warnings), lines(results.Errors)
	return end
}

// lines are the texts of a result in a fixed order.
func lines(r report.Result) []string {
	all := slices.Concat(r.Velero, r.Cluster)
	for _, namespaced := range r.Namespaces {
		all = append(all, namespaced...)
	}
	slices.Sort(all)
	return all
}

func (o *operation) previewAll(ctx context.Context) error {
	if err := o.readRequest(ctx); err != nil {
		return err
	}
	if err := o.chooseBackup(ctx); err != nil {
		return err
	}
	if err := o.look(ctx); err != nil {
		return err
	}
	o.preview.writer = o.writer.DryRun()
	return o.restoreWaves(ctx)
}

// previewItem says what would become of one object.
func (o *operation) previewItem(ctx context.Context, item archive.Item) {
	obj, r := o.identify(item)
	if obj != nil {
		obj, r = o.prepare(ctx, obj, r)
	}
	if obj != nil && r.disk != nil {
		r = o.previewDisk(ctx, r)
	}
	if r.action == "" && obj == nil {
		return // it isn't selected
	}
	p := report.PreviewItem{
		Resource: item.Resource.String(), Version: r.kind.Version, Kind: r.kind.Kind,
		Namespace: r.place.Namespace, Name: r.place.Name,
	}
	if obj == nil {
		o.previewOthers(&p, r)
	} else {
		o.judge(ctx, obj, r, &p)
	}
	for _, warning := range r.warnings {
		p.Warnings = append(p.Warnings, firstLine(warning).Error())
	}
	if len(r.errors) > 0 {
		p.Action, p.Reason = report.PreviewRefuse, firstLine(errors.Join(r.errors...)).Error()
	}
	if ctx.Err() == nil { // else what was found says nothing
		o.preview.tell(p)
	}
}

// previewDisk looks whether the snapshot of a volume is there, unless the volume has
// a disk that it keeps.
func (o *operation) previewDisk(ctx context.Context, r result) result {
	if state, err := o.stateOf(ctx, r.place); err == nil && state == volumeStays {
		r.warnings = append(r.warnings, errDiskStays)
		return r
	}
	if err := o.disks.look(ctx, r.disk.name); err != nil {
		r.errors = append(r.errors, err)
	}
	return r
}

// tell passes one object on.
func (p *preview) tell(item report.PreviewItem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[item.Action]++
	p.done++
	if err := p.emit(item); err != nil {
		p.cancel(fmt.Errorf("pass on what was found: %w", err))
	}
	if p.done%progressEvery == 0 {
		p.progress(p.done)
	}
}

// previewOthers is about objects that would not be created.
func (o *operation) previewOthers(p *report.PreviewItem, r result) {
	switch {
	case r.action == actionSkipped:
		p.Action, p.Reason = report.PreviewSkip, r.reason
	case r.unserved && o.brings(r.place.Resource.GroupResource()):
		p.Action, p.Reason = report.PreviewUnchecked, "its kind comes with this restore"
	case r.unserved:
		p.Action = report.PreviewRefuse
		p.Reason = missing(o.served, r.place.Resource.GroupResource(), r.kind.Version, r.kind.Kind)
	default:
		p.Action, p.Reason = report.PreviewRefuse, "the cause is among the errors of the whole"
	}
}

// brings reports whether the restore adds a kind to the cluster.
func (o *operation) brings(resource schema.GroupResource) bool {
	_, known := o.served.Lookup(resource)
	return !known && o.selection.brings(o.contents, resource)
}

// judge says what would become of an object that is to be created.
func (o *operation) judge(ctx context.Context, obj *transform.Object, r result, p *report.PreviewItem) {
	if r.place.Namespace != "" && !o.namespaces.existed(r.place.Namespace) {
		p.Action, p.Reason = report.PreviewUnchecked, o.namespaces.why(r.place.Namespace)
		if o.preview.diff {
			p.Action, p.Wanted = report.PreviewCreate, encoded(obj)
		}
		return
	}
	found, there, listed := o.known.find(r.place)
	wanted, err := obj.Fingerprint()
	switch {
	case err != nil:
		p.Action, p.Reason = report.PreviewRefuse, err.Error()
	case there && !found.special && found.fingerprint == wanted:
		p.Action = report.PreviewUnchanged
	case listed && !there:
		o.tryCreate(ctx, obj, r, p)
	default:
		o.judgeLive(ctx, obj, r, p)
	}
}

// judgeLive is about an object that may be there.
func (o *operation) judgeLive(ctx context.Context, obj *transform.Object, r result, p *report.PreviewItem) {
	raw, err := o.writer.Get(ctx, r.place)
	if apierrors.IsNotFound(err) {
		o.tryCreate(ctx, obj, r, p)
		return
	}
	if err != nil {
		p.Action, p.Reason = report.PreviewUnchecked, fmt.Sprintf("it can't be read: %v", err)
		return
	}
	resource := r.place.Resource.GroupResource()
	live, err := transform.Parse(raw)
	if err != nil {
		p.Action, p.Reason = report.PreviewRefuse, err.Error()
		return
	}
	if resource == transform.PersistentVolumes {
		if err := ofAnother(obj, live); err != nil {
			p.Action, p.Reason = report.PreviewRefuse, err.Error()
			return
		}
	}
	keep := keeps(resource, live)
	if r.claim != nil {
		p.Warnings = append(p.Warnings, errClaimStays.Error())
		err = keepVolume(obj, live)
	}
	var have, want map[string]any
	if err == nil {
		have, want, err = o.normalized(live, obj, resource)
	}
	switch {
	case err != nil:
		p.Action, p.Reason = report.PreviewRefuse, err.Error()
		return
	case reflect.DeepEqual(have, want):
		p.Action = report.PreviewUnchanged
		return
	}
	if o.preview.diff {
		p.Live, _ = json.Marshal(have) // decoded from JSON, so it can be encoded
		p.Wanted, _ = json.Marshal(want)
	}
	patch := mergePatch(have, want)
	if resource == serviceAccounts {
		patch = mergeServiceAccount(have, want)
	}
	o.judgePatch(ctx, obj, patch, keep, r, p)
}

// judgePatch is about an object that is there and differs.
func (o *operation) judgePatch(ctx context.Context, obj *transform.Object, patch map[string]any, keep bool, r result, p *report.PreviewItem) {
	switch {
	case len(patch) == 0:
		p.Action = report.PreviewUnchanged
	case o.recreates() && keep && r.place.Resource == podsV1:
		p.Action, p.Reason = report.PreviewSkip, "it exists and differs from the backup's, and is left to its controller"
	case r.place.Resource.GroupResource() == serviceAccounts, o.changesExisting() && (keep || !o.recreates()):
		p.Action = report.PreviewUpdate
	case o.recreates():
		p.Action = report.PreviewRecreate
	default:
		p.Action, p.Reason = report.PreviewSkip, "it exists and differs from the backup's"
	}
	if o.preview.diff {
		return
	}
	switch p.Action {
	case report.PreviewUpdate:
		body, err := json.Marshal(patch)
		if err == nil {
			err = o.preview.writer.MergePatch(ctx, r.place, body)
		}
		opinion(p, err)
	case report.PreviewRecreate:
		o.dryCreate(ctx, obj, r, p)
	}
}

// tryCreate is about an object that isn't there.
func (o *operation) tryCreate(ctx context.Context, obj *transform.Object, r result, p *report.PreviewItem) {
	p.Action = report.PreviewCreate
	if o.preview.diff {
		p.Wanted = encoded(obj)
		return
	}
	o.dryCreate(ctx, obj, r, p)
}

func (o *operation) dryCreate(ctx context.Context, obj *transform.Object, r result, p *report.PreviewItem) {
	body, err := obj.Encode()
	if err == nil {
		_, err = o.preview.writer.Create(ctx, r.place, body)
	}
	if p.Action == report.PreviewRecreate && apierrors.IsAlreadyExists(err) {
		err = nil // it passed all checks before
	}
	opinion(p, err)
}

// noDryRun is in the refusal of a dry run that would need a webhook with side effects.
const noDryRun = "does not support dry run"

// opinion is what the API server said.
func opinion(p *report.PreviewItem, err error) {
	switch {
	case err == nil:
	case strings.Contains(err.Error(), noDryRun):
		p.Action, p.Reason = report.PreviewUnchecked, "a webhook with side effects can't be asked: "+firstLine(err).Error()
	case cluster.MayPass(err) && !cluster.Denied(err):
		p.Action, p.Reason = report.PreviewUnchecked, "it depends on what else is restored: "+firstLine(err).Error()
	default:
		p.Action, p.Reason = report.PreviewRefuse, firstLine(err).Error()
	}
}

// encoded is the object as it would be restored, to be shown.
func encoded(obj *transform.Object) json.RawMessage {
	body, err := obj.Encode()
	if err != nil {
		return nil
	}
	return body
}
