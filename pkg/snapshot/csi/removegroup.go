package csi

import (
	"context"
	"errors"
	"fmt"
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
	asked           time.Time // when it was last asked for
}

func (o groupObject) String() string {
	return fmt.Sprintf("volume group snapshot %s/%s", o.namespace, o.name)
}

// removeGroups removes group snapshots and returns when they are gone. The data of
// all members goes or stays with them.
func (c *Client) removeGroups(ctx context.Context, api *groupAPI, objects []groupObject, policy snapshotv1.DeletionPolicy) error {
	if len(objects) == 0 || api == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	errs := make([]error, len(objects))
	c.each(len(objects), func(i int) {
		o := &objects[i]
		err := c.letGoOfGroup(ctx, api, o, policy)
		if err == nil {
			err = poll(ctx, firstLook, lastLook, func() (bool, error) { return c.isGroupGone(ctx, api, o, policy) })
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			errs[i] = fmt.Errorf("%s is marked to be deleted, but its driver has not done it within %s; it will when it works again; hint: see whether it and its csi-snapshotter run",
				o, c.patience)
		case err != nil:
			errs[i] = fmt.Errorf("remove %s: %w", o, err)
		default:
			errs[i] = c.removeMembers(ctx, *o, policy)
		}
	})
	return errors.Join(errs...)
}

// removeMembers removes what is left of the members of a group that is gone: the
// controller may have made them at the last moment, without a backup's labels.
func (c *Client) removeMembers(ctx context.Context, o groupObject, policy snapshotv1.DeletionPolicy) error {
	if o.uid == "" {
		return nil
	}
	var list *snapshotv1.VolumeSnapshotList
	err := retry(ctx, func() (err error) {
		list, err = c.volumeSnapshots(o.namespace).List(ctx, metav1.ListOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("list members of %s: %w", o, err)
	}
	g := group{name: o.name, uid: o.uid}
	var members []object
	for i := range list.Items {
		if vs := &list.Items[i]; g.owns(vs) {
			members = append(members, object{namespace: vs.Namespace, name: vs.Name, uid: vs.UID, content: boundContent(vs)})
		}
	}
	return c.remove(ctx, members, policy)
}

// letGoOfGroup asks for a group snapshot and its content to be deleted. What isn't
// there is fine.
func (c *Client) letGoOfGroup(ctx context.Context, api *groupAPI, o *groupObject, policy snapshotv1.DeletionPolicy) error {
	o.asked = time.Now()
	if err := c.findGroup(ctx, api, o); err != nil {
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

// findGroup completes what is known of a group. One that isn't there loses its
// name. A content that isn't the group's is not taken for it.
func (c *Client) findGroup(ctx context.Context, api *groupAPI, o *groupObject) error {
	if o.name != "" && (o.uid == "" || o.content == "") {
		var found *groupSnapshot
		err := retry(ctx, func() (err error) {
			found, err = api.getSnapshot(ctx, c, o.namespace, o.name)
			return err
		})
		switch {
		case apierrors.IsNotFound(err) && o.uid == "":
			o.name = ""
			return nil
		case err == nil:
			o.uid, o.content = found.UID, found.Status.Content
		case !apierrors.IsNotFound(err):
			return err
		}
		if o.content == "" { // it may be made, but not be bound yet
			o.content = "groupsnapcontent-" + string(o.uid)
		}
	}
	if o.content == "" {
		return nil
	}
	content, err := c.getGroupContent(ctx, api, o.content)
	if err == nil && content != nil && o.uid != "" && content.Spec.Snapshot.UID != o.uid {
		return fmt.Errorf("volume group snapshot content %q belongs to another group snapshot", o.content)
	}
	return err
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
