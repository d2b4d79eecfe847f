package csi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// groupObject is a VolumeGroupSnapshot and its content, to be removed. The members'
// objects are removed after it, for as long as it is there they can't be.
type groupObject struct {
	namespace, name string
	uid             types.UID
	content         string    // empty as long as it isn't known
	guessed         bool      // content is the name that it will have; it wasn't seen yet
	driver, handle  string    // likewise
	asked           time.Time // when it was last asked for
	gone            time.Time // when it was first seen to be gone
}

// lateContent is for how long a group's content may come when the group is gone: the
// controller begins with looking at all its claims, and makes it all the same.
const lateContent = 10 * time.Second

func (o groupObject) String() string {
	return fmt.Sprintf("volume group snapshot %s/%s", o.namespace, o.name)
}

// removeGroups removes group snapshots and returns when they are gone, or their
// drivers have used up their time. The data of all members goes or stays with them.
func (r remover) removeGroups(ctx context.Context, api *groupAPI, objects []groupObject, policy snapshotv1.DeletionPolicy) error {
	if len(objects) == 0 || api == nil {
		return nil
	}
	errs, left := make([]error, len(objects)), make([]bool, len(objects))
	r.each(len(objects), func(i int) {
		if err := r.letGoOfGroup(ctx, api, &objects[i], policy); err != nil {
			errs[i] = fmt.Errorf("remove %s: %w", objects[i], err)
		}
	})
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	things := make([]removable, len(objects))
	for i, o := range objects {
		things[i] = removable{name: named(o, policy), driver: o.driver, content: o.content}
	}
	r.await(limited, began, things, errs, func(ctx context.Context, i int) (bool, error) {
		gone, err := r.isGroupGone(ctx, api, &objects[i], policy)
		left[i] = !gone
		return gone, err
	})
	var gone []groupObject
	for i := range objects {
		if !left[i] && errs[i] == nil {
			gone = append(gone, objects[i])
		}
	}
	return errors.Join(append(errs, r.removeMembers(ctx, gone, policy))...)
}

// removeMembers removes what is left of the members of groups that are gone: the
// controller may have made them at the last moment, without a backup's labels.
func (r remover) removeMembers(ctx context.Context, groups []groupObject, policy snapshotv1.DeletionPolicy) error {
	if len(groups) == 0 {
		return nil
	}
	var members []object
	err := retry(ctx, func() (err error) {
		members, err = r.findMembers(ctx, groups)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for members of groups: %w", err)
	}
	return r.remove(ctx, members, policy)
}

// findMembers finds the members of groups, however many these are, by one look at all
// snapshots of their namespaces and one at all contents.
func (c *Client) findMembers(ctx context.Context, groups []groupObject) ([]object, error) {
	owners, handles := map[string]map[types.UID]bool{}, map[string]bool{}
	for _, g := range groups {
		if owners[g.namespace] == nil {
			owners[g.namespace] = map[types.UID]bool{}
		}
		owners[g.namespace][g.uid] = true
		handles[g.driver+"\x00"+g.handle] = true
	}
	found := map[string]object{}
	for namespace, uids := range owners {
		err := c.eachSnapshot(ctx, namespace, "", func(vs *snapshotv1.VolumeSnapshot) {
			if slices.ContainsFunc(vs.OwnerReferences, func(owner metav1.OwnerReference) bool { return uids[owner.UID] }) {
				found[cmp.Or(boundContent(vs), string(vs.UID))] = object{namespace: vs.Namespace, name: vs.Name, uid: vs.UID, content: boundContent(vs)}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	err := c.eachContent(ctx, "", func(content *snapshotv1.VolumeSnapshotContent) {
		facts := factsOfContent(content)
		// One whose source isn't a volume stands for a snapshot that was there before.
		if content.Spec.Source.VolumeHandle == nil || facts.groupHandle == "" || !handles[facts.driver+"\x00"+facts.groupHandle] {
			return
		}
		o := found[facts.name]
		o.content, o.driver = facts.name, facts.driver
		found[facts.name] = o
	})
	return slices.Collect(maps.Values(found)), err
}

// letGoOfGroup asks for a group snapshot and its content to be deleted. What isn't
// there is fine.
func (c *Client) letGoOfGroup(ctx context.Context, api *groupAPI, o *groupObject, policy snapshotv1.DeletionPolicy) error {
	o.asked = time.Now()
	content, err := c.findGroup(ctx, api, o)
	if err == nil && policy == snapshotv1.VolumeSnapshotContentDelete {
		err = c.holdGroup(ctx, api, content)
	}
	if err != nil {
		return err
	}
	if o.content != "" {
		err := retry(ctx, func() error {
			_, err := api.contents(c).Patch(ctx, o.content, types.MergePatchType, policyPatch(policy), metav1.PatchOptions{})
			return err
		})
		if ignoreNotFound(err) != nil {
			return err
		}
	}
	if o.name != "" {
		options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.uid}}
		err := retry(ctx, func() error { return api.snapshots(c).Namespace(o.namespace).Delete(ctx, o.name, options) })
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // a conflict is about another one of this name
			return err
		}
	}
	if o.content == "" {
		return nil
	}
	return ignoreNotFound(retry(ctx, func() error { return api.contents(c).Delete(ctx, o.content, metav1.DeleteOptions{}) }))
}

// holdGroup does for the content of a group what hold does for one of a snapshot.
func (c *Client) holdGroup(ctx context.Context, api *groupAPI, content *groupContent) error {
	if content == nil || content.DeletionTimestamp != nil || len(content.Finalizers) > 0 {
		return nil
	}
	patch := holdPatch(groupContentFinalizer)
	err := retry(ctx, func() error {
		_, err := api.patchContent(ctx, c, content.Name, patch)
		return err
	})
	if apierrors.IsInvalid(err) { // it is being deleted since now
		return nil
	}
	return ignoreNotFound(err)
}

// findGroup completes what is known of a group, and returns its content; nil when
// there is none. A group that isn't there loses its name. A content that isn't the
// group's is not taken for it.
func (c *Client) findGroup(ctx context.Context, api *groupAPI, o *groupObject) (*groupContent, error) {
	if o.name != "" && (o.uid == "" || o.content == "") {
		var found *groupSnapshot
		err := retry(ctx, func() (err error) {
			found, err = api.getSnapshot(ctx, c, o.namespace, o.name)
			return err
		})
		switch {
		case apierrors.IsNotFound(err) && o.uid == "":
			o.name = ""
			return nil, nil
		case err == nil:
			o.uid, o.content = found.UID, found.Status.Content
		case !apierrors.IsNotFound(err):
			return nil, err
		}
		if o.content == "" { // it may be made, but not be bound yet
			o.content, o.guessed = "groupsnapcontent-"+string(o.uid), true
		}
	}
	if o.content == "" {
		return nil, nil
	}
	content, err := c.getGroupContent(ctx, api, o.content)
	if err != nil || content == nil {
		return nil, err
	}
	if o.uid != "" && content.Spec.Snapshot.UID != o.uid {
		return nil, fmt.Errorf("volume group snapshot content %q belongs to another group snapshot", o.content)
	}
	o.guessed = false
	o.driver, o.handle = content.Spec.Driver, cmp.Or(content.Status.Handle, o.handle) // a deletion empties the status
	return content, nil
}

// getGroupContent returns nil when there is none.
func (c *Client) getGroupContent(ctx context.Context, api *groupAPI, name string) (*groupContent, error) {
	var content *groupContent
	err := retry(ctx, func() (err error) {
		content, err = api.getContent(ctx, c, name)
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return content, err
}

// isGroupGone reports whether nothing is left of a group but its members.
func (c *Client) isGroupGone(ctx context.Context, api *groupAPI, o *groupObject, policy snapshotv1.DeletionPolicy) (bool, error) {
	gone := o.name == ""
	if !gone {
		err := retry(ctx, func() error {
			found, err := api.getSnapshot(ctx, c, o.namespace, o.name)
			gone = err == nil && found.UID != o.uid
			return err
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		gone = gone || apierrors.IsNotFound(err)
	}
	if o.content == "" {
		return gone, nil
	}
	content, err := c.getGroupContent(ctx, api, o.content)
	switch {
	case err != nil:
		return false, err
	case content == nil && gone && o.guessed:
		if o.gone.IsZero() {
			o.gone = time.Now()
		}
		return time.Since(o.gone) > lateContent, nil
	case content == nil:
		return gone, nil
	case content.DeletionTimestamp == nil || content.Spec.DeletionPolicy != policy:
		return false, c.letGoOfGroup(ctx, api, o, policy)
	case time.Since(o.asked) > nudgeEvery:
		o.asked = time.Now()
		err := retry(ctx, func() error {
			_, err := api.contents(c).Patch(ctx, o.content, types.MergePatchType,
				nudge(gone, groupBeingDeleted), metav1.PatchOptions{})
			return err
		})
		return false, ignoreNotFound(err)
	}
	return false, nil
}
