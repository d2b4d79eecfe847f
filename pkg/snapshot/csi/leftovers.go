package csi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Leftovers removes what attempts at a backup that never committed left in the
// cluster: group snapshots, snapshots and contents labelled with its name and uid,
// with their data. It says how many snapshots these were. It gives drivers two
// minutes; what isn't gone then is an error that names it.
func (c *Client) Leftovers(ctx context.Context, backup, uid string) (int, error) {
	if backup == "" || uid == "" {
		return 0, errNoUID
	}
	selector := ownerSelector(backup, types.UID(uid))
	found, err := c.gather(ctx, selector)
	if err != nil {
		return 0, err
	}
	// The members of a group can't go before it.
	err = c.removeGroups(ctx, found.api, found.groups, snapshotv1.VolumeSnapshotContentDelete)
	var all []object
	for _, o := range found.objects {
		all = append(all, o.object)
	}
	return len(all), errors.Join(err, c.remove(ctx, all, snapshotv1.VolumeSnapshotContentDelete))
}

// Forget removes the objects that a committed backup left in the cluster; the data
// stays. It says how many snapshots these were of. What wasn't kept before the
// commit isn't the backup's: it is deleted by its own policy, and nobody waits for
// what already is.
func (c *Client) Forget(ctx context.Context, backup, uid string) (int, error) {
	if backup == "" || uid == "" {
		return 0, errNoUID
	}
	found, err := c.gather(ctx, ownerSelector(backup, types.UID(uid)))
	if err != nil {
		return 0, err
	}
	var kept, failed []groupObject
	for _, g := range found.groups {
		content, err := c.getGroupContent(ctx, found.api, g.content)
		switch {
		case err != nil:
			return 0, fmt.Errorf("read volume group snapshot content %q: %w", g.content, err)
		case content == nil || content.Spec.DeletionPolicy == snapshotv1.VolumeSnapshotContentRetain:
			kept = append(kept, g)
		default:
			failed = append(failed, g)
		}
	}
	err = errors.Join(
		c.removeGroups(ctx, found.api, kept, snapshotv1.VolumeSnapshotContentRetain),
		c.removeGroups(ctx, found.api, failed, snapshotv1.VolumeSnapshotContentDelete))
	if err != nil {
		return 0, err
	}
	var retained, others []object
	for _, o := range found.objects {
		switch {
		case o.policy == snapshotv1.VolumeSnapshotContentRetain:
			retained = append(retained, o.object)
		case o.deleting && o.policy != "":
			if _, err := c.patchContent(ctx, o.content, nudge(false, beingDeleted)); ignoreNotFound(err) != nil {
				return 0, fmt.Errorf("remind of volume snapshot content %q: %w", o.content, err)
			}
		case o.name != "":
			others = append(others, o.object)
		}
	}
	err = errors.Join(c.remove(ctx, retained, snapshotv1.VolumeSnapshotContentRetain), c.remove(ctx, others, ""))
	return len(retained) + len(others), err
}

// found are objects of backups in the cluster.
type found struct {
	api     *groupAPI
	groups  []groupObject
	objects []foundObject
}

type foundObject struct {
	object
	policy   snapshotv1.DeletionPolicy // empty as long as there is no content
	deleting bool                      // the snapshot is on its way out
}

// gather finds what a selector selects.
func (c *Client) gather(ctx context.Context, selector string) (found, error) {
	var f found
	var err error
	if f.api, err = c.findGroupAPI(ctx); err != nil {
		return found{}, err
	}
	if f.groups, err = c.gatherGroups(ctx, f.api, selector); err != nil {
		return found{}, err
	}
	var s state
	err = retry(ctx, func() (err error) {
		s, err = c.read(ctx, selector)
		return err
	})
	if err != nil {
		return found{}, err
	}
	for _, uid := range slices.Sorted(maps.Keys(s.snapshots)) {
		vs := s.snapshots[uid]
		o := foundObject{object: object{namespace: vs.Namespace, name: vs.Name, uid: uid}, deleting: vs.DeletionTimestamp != nil}
		if err := c.find(ctx, &o.object); err != nil {
			return found{}, fmt.Errorf("read %s: %w", o, err)
		}
		if content := s.contents[o.content]; content != nil {
			o.policy, o.driver = content.Spec.DeletionPolicy, content.Spec.Driver
			delete(s.contents, o.content)
		} else if content, err := c.getContent(ctx, o.content); err != nil {
			return found{}, fmt.Errorf("read volume snapshot content %q: %w", o.content, err)
		} else if content != nil {
			o.policy, o.driver = content.Spec.DeletionPolicy, content.Spec.Driver
		}
		f.objects = append(f.objects, o)
	}
	for _, name := range slices.Sorted(maps.Keys(s.contents)) {
		spec := s.contents[name].Spec
		f.objects = append(f.objects, foundObject{object: object{content: name, driver: spec.Driver}, policy: spec.DeletionPolicy})
	}
	return f, nil
}

func (c *Client) gatherGroups(ctx context.Context, api *groupAPI, selector string) ([]groupObject, error) {
	if api == nil {
		return nil, nil
	}
	var list *unstructured.UnstructuredList
	err := retry(ctx, func() (err error) {
		list, err = api.snapshots(c).List(ctx, metav1.ListOptions{LabelSelector: selector})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list volume group snapshots: %w", err)
	}
	var groups []groupObject
	for i := range list.Items {
		o := groupObject{namespace: list.Items[i].GetNamespace(), name: list.Items[i].GetName()}
		if err := c.findGroup(ctx, api, &o); err != nil {
			return nil, fmt.Errorf("read %s: %w", o, err)
		}
		groups = append(groups, o)
	}
	return groups, nil
}

// Owner is a backup, by the labels of its objects: the name is velerov1.ValidName of
// the backup's.
type Owner struct{ Backup, UID string }

// Owners returns the backups of which there are snapshot objects in the cluster, in
// no order. Objects of restores aren't among them.
func (c *Client) Owners(ctx context.Context) ([]Owner, error) {
	selector := fmt.Sprintf("%s,%s,!%s", velerov1.BackupNameLabel, velerov1.BackupUIDLabel, velerov1.RestoreNameLabel)
	owners := map[Owner]bool{}
	add := func(obj metav1.Object) {
		owners[Owner{obj.GetLabels()[velerov1.BackupNameLabel], obj.GetLabels()[velerov1.BackupUIDLabel]}] = true
	}
	err := retry(ctx, func() error {
		s, err := c.read(ctx, selector)
		for _, vs := range s.snapshots {
			add(vs)
		}
		for _, content := range s.contents {
			add(content)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	api, err := c.findGroupAPI(ctx)
	if err != nil || api == nil {
		return slices.Collect(maps.Keys(owners)), err
	}
	err = retry(ctx, func() error {
		list, err := api.snapshots(c).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return err
		}
		for i := range list.Items {
			add(&list.Items[i])
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list volume group snapshots: %w", err)
	}
	return slices.Collect(maps.Keys(owners)), nil
}
