package csi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// object is a VolumeSnapshot and its content, to be removed.
type object struct {
	namespace, name string    // name is empty for a content without snapshot
	uid             types.UID // empty as long as it isn't known
	content         string    // empty as long as it isn't known
	driver          string    // for messages
	asked           time.Time // when it was last asked for
}

func (o object) String() string {
	if o.name == "" {
		return fmt.Sprintf("volume snapshot content %q", o.content)
	}
	return fmt.Sprintf("volume snapshot %s/%s", o.namespace, o.name)
}

// remove removes snapshots and returns when they are gone, or their drivers have used
// up their time. What becomes of their data is the policy; with none it is that of each
// content.
func (r remover) remove(ctx context.Context, objects []object, policy snapshotv1.DeletionPolicy) error {
	if len(objects) == 0 {
		return nil
	}
	errs := make([]error, len(objects))
	r.each(len(objects), func(i int) {
		if err := r.letGo(ctx, &objects[i], policy); err != nil {
			errs[i] = fmt.Errorf("remove %s: %w", objects[i], err)
		}
	})
	began := time.Now() // what is marked is the drivers' now
	limited, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	things := make([]removable, len(objects))
	for i, o := range objects {
		things[i] = removable{name: named(o, policy), driver: o.driver, content: o.content}
	}
	r.await(limited, began, things, errs, func(ctx context.Context, i int) (bool, error) { return r.isGone(ctx, &objects[i], policy) })
	return errors.Join(errs...)
}

// letGo asks for a snapshot and its content to be deleted. What isn't there is fine.
func (c *Client) letGo(ctx context.Context, o *object, policy snapshotv1.DeletionPolicy) error {
	o.asked = time.Now()
	if err := c.find(ctx, o); err != nil {
		return err
	}
	var content *snapshotv1.VolumeSnapshotContent
	if policy != "" && o.content != "" {
		var err error
		if content, err = c.setPolicy(ctx, *o, policy); err != nil {
			return err
		}
	}
	if o.name != "" {
		options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.uid}}
		err := retry(ctx, func() error { return c.volumeSnapshots(o.namespace).Delete(ctx, o.name, options) })
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // a conflict is about another one of this name
			return err
		}
	}
	if content == nil {
		return nil // one that comes from now on has its class's policy, and its turn later
	}
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &content.UID}}
	err := retry(ctx, func() error { return c.contents().Delete(ctx, o.content, options) })
	if apierrors.IsConflict(err) {
		return nil // likewise
	}
	return ignoreNotFound(err)
}

// find completes what is known of an object. A snapshot that isn't there loses its
// name.
func (c *Client) find(ctx context.Context, o *object) error {
	if o.name == "" || o.uid != "" && o.content != "" {
		return nil
	}
	var found *snapshotv1.VolumeSnapshot
	err := retry(ctx, func() (err error) {
		found, err = c.volumeSnapshots(o.namespace).Get(ctx, o.name, metav1.GetOptions{})
		return err
	})
	switch {
	case apierrors.IsNotFound(err):
		if o.uid == "" {
			o.name = ""
			return nil
		}
	case err != nil:
		return err
	default:
		o.uid = found.UID
		o.content = boundContent(found)
	}
	if o.content == "" { // it may be made, but not be bound yet
		o.content = "snapcontent-" + string(o.uid)
	}
	return nil
}

// setPolicy sets a content's deletion policy, if it is the object's, and returns the
// content that has it; nil when there is none.
func (c *Client) setPolicy(ctx context.Context, o object, policy snapshotv1.DeletionPolicy) (*snapshotv1.VolumeSnapshotContent, error) {
	content, err := c.getContent(ctx, o.content)
	if err != nil || content == nil {
		return nil, err
	}
	if o.uid != "" && content.Spec.VolumeSnapshotRef.UID != o.uid {
		return nil, fmt.Errorf("volume snapshot content %q belongs to another volume snapshot", o.content)
	}
	if policy == snapshotv1.VolumeSnapshotContentDelete {
		if err := c.hold(ctx, content); err != nil {
			return nil, err
		}
	}
	again := policy == snapshotv1.VolumeSnapshotContentDelete && content.Labels[kept] == isKept
	if content.Spec.DeletionPolicy == policy && !again {
		return content, nil
	}
	content, err = c.patchContent(ctx, o.content, policyPatch(policy))
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	return content, nil
}

// hold keeps a content until csi-snapshotter has deleted the data. snapshot-controller
// does so a moment after it has made the content: one that is deleted before would go
// at once, and leave behind what csi-snapshotter is making of it.
func (c *Client) hold(ctx context.Context, content *snapshotv1.VolumeSnapshotContent) error {
	if content.DeletionTimestamp != nil || len(content.Finalizers) > 0 {
		return nil
	}
	_, err := c.patchContent(ctx, content.Name, holdPatch(contentFinalizer))
	if apierrors.IsInvalid(err) { // it is being deleted since now
		return nil
	}
	return ignoreNotFound(err)
}

// getContent returns nil when there is none.
func (c *Client) getContent(ctx context.Context, name string) (*snapshotv1.VolumeSnapshotContent, error) {
	var content *snapshotv1.VolumeSnapshotContent
	err := retry(ctx, func() (err error) {
		content, err = c.contents().Get(ctx, name, metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return content, err
}

func (c *Client) patchContent(ctx context.Context, name string, patch []byte) (content *snapshotv1.VolumeSnapshotContent, err error) {
	err = retry(ctx, func() (err error) {
		content, err = c.contents().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
	return content, err
}

// isGone reports whether nothing is left of an object. A content that came or
// changed meanwhile is dealt with.
func (c *Client) isGone(ctx context.Context, o *object, policy snapshotv1.DeletionPolicy) (bool, error) {
	snapshotGone, err := c.snapshotGone(ctx, *o)
	if err != nil || o.content == "" {
		return snapshotGone, err
	}
	content, err := c.getContent(ctx, o.content)
	if err != nil {
		return false, err
	}
	switch {
	case content == nil:
		return snapshotGone, nil
	case policy == "" && snapshotGone && content.DeletionTimestamp == nil:
		return true, nil // by its policy, the content stays
	case policy != "" && (content.DeletionTimestamp == nil || content.Spec.DeletionPolicy != policy):
		return false, c.letGo(ctx, o, policy)
	case time.Since(o.asked) > nudgeEvery:
		o.asked = time.Now()
		_, err := c.patchContent(ctx, o.content, nudge(snapshotGone && policy != "", beingDeleted))
		return false, ignoreNotFound(err)
	}
	return false, nil
}

// nudgeEvery is how often a sidecar is reminded of a content.
const nudgeEvery = 2 * time.Second

// nudge changes a content, so that csi-snapshotter looks at it again: it misses that
// a content may go when the snapshot was cut only after the deletion, and would come
// back to it with its next resync, a quarter of an hour later. And where the
// controller didn't see that the snapshot was deleted, it is told in the
// controller's place.
func nudge(snapshotGone bool, beingDeleted string) []byte {
	annotations := map[string]string{nudged: time.Now().UTC().Format(time.RFC3339Nano)}
	if snapshotGone {
		annotations[beingDeleted] = "yes"
	}
	return metadataPatch("annotations", annotations)
}

func (c *Client) snapshotGone(ctx context.Context, o object) (bool, error) {
	if o.name == "" {
		return true, nil
	}
	var found *snapshotv1.VolumeSnapshot
	err := retry(ctx, func() (err error) {
		found, err = c.volumeSnapshots(o.namespace).Get(ctx, o.name, metav1.GetOptions{})
		return err
	})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, err
	case o.uid != "" && found.UID != o.uid:
		return true, nil
	case isForgotten(found):
		return false, c.unleash(ctx, found)
	}
	return false, nil
}

// isForgotten reports whether a VolumeSnapshot that is being deleted waits for its group
// only. snapshot-controller lets go of it when the group is gone, but not where it was
// deleted before the controller had noted the group in its status: then never.
func isForgotten(vs *snapshotv1.VolumeSnapshot) bool {
	return vs.DeletionTimestamp != nil && slices.Equal(vs.Finalizers, []string{inGroupFinalizer}) &&
		(vs.Status == nil || vs.Status.VolumeGroupSnapshotName == nil)
}

// unleash lets go of such a VolumeSnapshot in the controller's place.
func (c *Client) unleash(ctx context.Context, vs *snapshotv1.VolumeSnapshot) error {
	patch := mustEncode(map[string]any{"metadata": map[string]any{"finalizers": nil, "resourceVersion": vs.ResourceVersion}})
	err := retry(ctx, func() error {
		_, err := c.volumeSnapshots(vs.Namespace).Patch(ctx, vs.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
	if apierrors.IsConflict(err) { // it is looked at again
		return nil
	}
	return ignoreNotFound(err)
}

// holdPatch gives a content that has none its finalizer.
func holdPatch(finalizer string) []byte {
	return mustEncode(map[string]any{"metadata": map[string]any{"finalizers": []string{finalizer}}})
}

// metadataPatch sets labels or annotations.
func metadataPatch(field string, values map[string]string) []byte {
	return mustEncode(map[string]any{"metadata": map[string]any{field: values}})
}

// policyPatch sets a content's deletion policy. What is to be deleted with its data is
// nobody's any more, whatever an earlier attempt said of it.
func policyPatch(policy snapshotv1.DeletionPolicy) []byte {
	patch := map[string]any{"spec": map[string]any{"deletionPolicy": policy}}
	if policy == snapshotv1.VolumeSnapshotContentDelete {
		patch["metadata"] = map[string]any{"labels": map[string]string{kept: notKept}}
	}
	return mustEncode(patch)
}

// mustEncode encodes maps of strings, which can't fail.
func mustEncode(value any) []byte {
	encoded, _ := json.Marshal(value)
	return encoded
}
