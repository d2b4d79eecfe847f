package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// exists reports whether a create failed because the object is there. A Service
// whose fixed node port is taken may meet itself: then it is looked at too.
func exists(resource schema.GroupResource, err error) bool {
	if apierrors.IsAlreadyExists(err) {
		return !cluster.MayPass(err) // one on its way out: the place becomes free
	}
	return resource == services && portTaken(err)
}

func portTaken(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	for _, cause := range status.Status().Details.Causes {
		if !strings.Contains(cause.Message, "provided port is already allocated") {
			return false
		}
	}
	return len(status.Status().Details.Causes) > 0
}

// meetKnown deals with an object that is known to be there.
func (o *operation) meetKnown(ctx context.Context, obj *transform.Object, found live, r result) result {
	if found.ours && !o.becomesOne(r.place) {
		return o.resume(ctx, obj, found.applied, "", r)
	}
	wanted, err := obj.Fingerprint()
	if err != nil {
		return r.failed(err)
	}
	if !found.special && found.fingerprint == wanted && (found.labelled || !o.changesExisting()) {
		r.action = actionSkipped
		return r
	}
	return o.meet(ctx, obj, r, errExists)
}

// resume goes on with an object that this restore made before: an earlier attempt,
// or one of this whose answer got lost, may have ended right after the create.
// applied says that its ownership has been given back. Whether its hooks ran isn't
// known, so they run.
func (o *operation) resume(ctx context.Context, obj *transform.Object, applied bool, uid types.UID, r result) result {
	ownership := r.ownership
	if applied {
		ownership = nil
	}
	r.action = actionCreated
	if r = o.afterCreate(ctx, obj, ownership, r); r.retry == nil {
		o.startHooks(ctx, obj, r.place, uid)
	}
	return r
}

// changesExisting reports whether objects that exist are changed at all.
func (o *operation) changesExisting() bool {
	policy := o.restore.Spec.ExistingResourcePolicy
	return policy == velerov1.PolicyTypeUpdate || policy == velerov1.PolicyTypeRecreate
}

// recreates reports whether objects that differ are deleted and created again.
func (o *operation) recreates() bool {
	return o.restore.Spec.ExistingResourcePolicy == velerov1.PolicyTypeRecreate
}

// errExists stands for the API server's word about an object that was seen.
var errExists = apierrors.NewAlreadyExists(schema.GroupResource{}, "")

// meet deals with an object that was in the cluster before: createErr is why it
// couldn't be created.
func (o *operation) meet(ctx context.Context, obj *transform.Object, r result, createErr error) result {
	raw, err := o.writer.Get(ctx, r.place)
	if apierrors.IsNotFound(err) {
		if apierrors.IsAlreadyExists(createErr) { // it has gone in the meantime
			r.retry = createErr
			return r
		}
		return r.failed(createErr)
	}
	if err != nil && cluster.MayPass(err) {
		r.retry = err
		return r
	}
	if err != nil {
		r.warnings = append(r.warnings, fmt.Errorf("not restored: it exists, and can't be read: %w", err))
		r.action = actionFailed
		return r
	}
	live, err := transform.Parse(raw)
	if err != nil {
		return r.failed(fmt.Errorf("read the existing one: %w", err))
	}
	if o.madeByUs(live) && !o.becomesOne(r.place) {
		return o.resume(ctx, obj, live.Applied(), live.UID(), r)
	}
	if special := meetings[r.place.Resource.GroupResource()]; special != nil {
		return special(ctx, o, obj, live, r)
	}
	return o.compare(ctx, obj, live, r)
}

// meetings are the kinds that are not simply compared, then left or patched.
var meetings = map[schema.GroupResource]func(ctx context.Context, o *operation, obj, live *transform.Object, r result) result{
	serviceAccounts:             meetServiceAccount,
	transform.PersistentVolumes: meetVolume,
	transform.Claims:            meetClaim,
}

// madeByUs reports whether an earlier attempt of this restore, or a request
// whose answer got lost, created the object: it has the restore's name, and is
// not older than the Restore that now has this name.
func (o *operation) madeByUs(live *transform.Object) bool {
	created := live.CreationTime()
	return o.preview == nil && live.Label(velerov1.RestoreNameLabel) == velerov1.ValidName(o.restore.Name) &&
		live.Label(velerov1.BackupNameLabel) == velerov1.ValidName(o.restore.Spec.BackupName) &&
		!created.Before(&o.restore.CreationTimestamp)
}

// labelled reports whether an object carries the labels of this restore.
func (o *operation) labelled(live *transform.Object) bool {
	return live.Label(velerov1.RestoreNameLabel) == velerov1.ValidName(o.restore.Name) &&
		live.Label(velerov1.BackupNameLabel) == velerov1.ValidName(o.restore.Spec.BackupName)
}

// compare looks whether the live object is what the backup holds and, when it
// isn't, does what the restore's policy says.
func (o *operation) compare(ctx context.Context, obj, live *transform.Object, r result) result {
	labels := map[string]any{}
	for _, key := range []string{velerov1.BackupNameLabel, velerov1.RestoreNameLabel} {
		if live.Label(key) != obj.Label(key) {
			labels[key] = obj.Label(key)
		}
	}
	uid := live.UID()
	owner, controlled := live.Controller()
	keep := keeps(r.place.Resource.GroupResource(), live)
	have, want, err := o.normalized(live, obj, r.place.Resource.GroupResource())
	if err != nil {
		return r.failed(fmt.Errorf("compare with the existing one: %w", err))
	}
	same := reflect.DeepEqual(have, want)
	switch {
	case same && o.changesExisting() && len(labels) > 0:
		if r = o.patch(ctx, map[string]any{"metadata": map[string]any{"labels": labels}}, r); r.action == actionUpdated {
			r.action = actionSkipped
		}
		return r
	case same:
		r.action = actionSkipped
		return r
	case o.recreates() && controlled && r.place.Resource == podsV1:
		return leaveToController(obj, owner, r)
	case o.recreates() && !keep:
		return o.recreate(ctx, obj, uid, r)
	case o.changesExisting():
		patch := mergePatch(have, want)
		addLabels(patch, labels)
		return o.patch(ctx, patch, r)
	}
	r.action = actionFailed
	r.warnings = append(r.warnings, differs(obj.GroupVersionKind().Kind, obj.Name()))
	return r
}

// differs is Velero's text; scripts look for it.
func differs(kind, name string) error {
	return fmt.Errorf("could not restore, %s %q already exists. Warning: the in-cluster version is different than the backed-up version", kind, name)
}

// normalized returns both objects decoded, after what differs in any two lives
// of an object was taken out of the live one too.
func (o *operation) normalized(live, obj *transform.Object, resource schema.GroupResource) (have, want map[string]any, err error) {
	if err := o.transformer.Live(resource, live); err != nil {
		return nil, nil, err
	}
	if have, err = decode(live); err != nil {
		return nil, nil, err
	}
	want, err = decode(obj)
	return have, want, err
}

func decode(obj *transform.Object) (map[string]any, error) {
	body, err := obj.Encode()
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var out map[string]any
	return out, decoder.Decode(&out)
}

// mergePatch returns the JSON merge patch that turns have into want.
func mergePatch(have, want map[string]any) map[string]any {
	patch := map[string]any{}
	for key := range have {
		if _, ok := want[key]; !ok {
			patch[key] = nil
		}
	}
	for key, value := range want {
		before, ok := have[key]
		if ok && reflect.DeepEqual(before, value) {
			continue
		}
		beforeMap, isMap := before.(map[string]any)
		valueMap, both := value.(map[string]any)
		if isMap && both {
			patch[key] = mergePatch(beforeMap, valueMap)
		} else {
			patch[key] = value
		}
	}
	return patch
}

func addLabels(patch, labels map[string]any) {
	if len(labels) == 0 {
		return
	}
	meta, ok := patch["metadata"].(map[string]any)
	if !ok {
		meta = map[string]any{}
		patch["metadata"] = meta
	}
	patched, ok := meta["labels"].(map[string]any)
	if !ok {
		patched = map[string]any{}
		meta["labels"] = patched
	}
	for key, value := range labels {
		patched[key] = value
	}
}

// patch applies a JSON merge patch to the existing object; an empty one is no
// request.
func (o *operation) patch(ctx context.Context, patch map[string]any, r result) result {
	if len(patch) == 0 {
		r.action = actionSkipped
		return r
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return r.failed(err)
	}
	if err := o.writer.MergePatch(ctx, r.place, body); err != nil {
		err = fmt.Errorf("update the existing one: %w", err)
		if cluster.MayPass(err) {
			r.retry = err
			return r
		}
		return r.failed(err)
	}
	r.action = actionUpdated
	return r
}
