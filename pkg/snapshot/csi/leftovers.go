package csi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	return c.remover().leftovers(ctx, backup, uid)
}

func (r remover) leftovers(ctx context.Context, backup, uid string) (int, error) {
	if backup == "" || uid == "" {
		return 0, errNoUID
	}
	found, err := r.gather(ctx, ownerSelector(backup, types.UID(uid)))
	if err != nil {
		return 0, err
	}
	// The members of a group can't go before it.
	err = r.removeGroups(ctx, found.api, found.groupObjects(), snapshotv1.VolumeSnapshotContentDelete)
	all, lost := r.removeLostGroups(ctx, found.groups, found.objects)
	err = errors.Join(err, lost, r.remove(ctx, all, snapshotv1.VolumeSnapshotContentDelete))
	return len(found.objects), errors.Join(err, r.err())
}

// Forget removes the objects that a committed backup left in the cluster; the data
// stays. It says how many snapshots these were of. What says that it isn't the
// backup's is deleted with its data, and nobody waits for what already is.
func (c *Client) Forget(ctx context.Context, backup, uid string) (int, error) {
	return c.remover().forget(ctx, backup, uid)
}

func (r remover) forget(ctx context.Context, backup, uid string) (int, error) {
	if backup == "" || uid == "" {
		return 0, errNoUID
	}
	found, err := r.gather(ctx, ownerSelector(backup, types.UID(uid)))
	if err != nil {
		return 0, err
	}
	var keptGroups, failedGroups []groupObject
	for _, g := range found.groups {
		if g.isKept() {
			keptGroups = append(keptGroups, g.groupObject)
		} else {
			failedGroups = append(failedGroups, g.groupObject)
		}
	}
	err = errors.Join(
		r.removeGroups(ctx, found.api, keptGroups, snapshotv1.VolumeSnapshotContentRetain),
		r.removeGroups(ctx, found.api, failedGroups, snapshotv1.VolumeSnapshotContentDelete))
	if err != nil {
		return 0, err
	}
	dying, retained, failed := found.sorted()
	for _, o := range dying {
		if _, err := r.patchContent(ctx, o.content, nudge(o.name == "", beingDeleted)); ignoreNotFound(err) != nil {
			return 0, fmt.Errorf("remind of volume snapshot content %q: %w", o.content, err)
		}
	}
	all, lost := r.removeLostGroups(ctx, found.groups, failed)
	err = errors.Join(lost,
		r.remove(ctx, retained, snapshotv1.VolumeSnapshotContentRetain),
		r.remove(ctx, all, snapshotv1.VolumeSnapshotContentDelete),
		r.err())
	return len(retained) + len(failed), err
}

// sorted tells what is being deleted with its data from what the backup keeps, and
// from what failed. A group is kept as a whole.
func (f found) sorted() (dying []foundObject, retained []object, failed []foundObject) {
	keptGroups := map[string]bool{}
	for _, o := range f.objects {
		if o.group != "" && o.isKept() {
			keptGroups[o.groupKey()] = true
		}
	}
	for _, o := range f.objects {
		switch {
		case o.isDying():
			dying = append(dying, o)
		case o.isKept() || keptGroups[o.groupKey()]:
			retained = append(retained, o.object)
		default:
			failed = append(failed, o)
		}
	}
	return dying, retained, failed
}

// found are objects of backups in the cluster.
type found struct {
	api     *groupAPI
	groups  []foundGroup
	objects []foundObject
}

func (f found) groupObjects() []groupObject {
	var all []groupObject
	for _, g := range f.groups {
		all = append(all, g.groupObject)
	}
	return all
}

// fate is what a content says is to become of its data.
type fate struct {
	policy   snapshotv1.DeletionPolicy // empty as long as there is no content
	mark     string                    // value of the label kept
	deleting bool                      // it is on its way out
}

// isDying reports whether the data is being deleted, whoever it was kept for.
func (f fate) isDying() bool { return f.deleting && f.policy == snapshotv1.VolumeSnapshotContentDelete }

// isKept reports whether the data stays: what isn't marked isn't known to be this
// program's to delete.
func (f fate) isKept() bool {
	switch {
	case f.isDying() || f.mark == notKept:
		return false
	case f.mark == isKept:
		return true
	}
	return f.policy == snapshotv1.VolumeSnapshotContentRetain
}

type foundGroup struct {
	groupObject
	fate
	bound bool // it has or had a content, whether or not that is there now
}

// isKept is true also when only the group snapshot is left. One that never had a content
// may get it yet.
func (g foundGroup) isKept() bool { return g.fate.isKept() || g.policy == "" && g.bound }

type foundObject struct {
	object
	fate
	handle, group               string // of the snapshot and of its group, if any
	secretName, secretNamespace string // by which they are deleted, if any
	node                        string // whose csi-snapshotter does it; empty for any
}

// note takes over what is known of an object's content, if there is one.
func (o *foundObject) note(content *contentFacts) {
	if content == nil {
		return
	}
	o.driver, o.handle, o.group, o.node = content.driver, content.handle, content.groupHandle, content.node
	o.fate = fate{policy: content.policy, mark: content.mark, deleting: o.deleting || content.deleting}
	o.secretName, o.secretNamespace = deletionSecret(content.annotations)
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
		o, err := c.complete(ctx, s, s.snapshots[uid])
		if err != nil {
			return found{}, err
		}
		delete(s.contents, o.content)
		f.objects = append(f.objects, o)
	}
	for _, name := range slices.Sorted(maps.Keys(s.contents)) {
		o := foundObject{object: object{content: name}}
		o.note(s.contents[name])
		f.objects = append(f.objects, o)
	}
	return f, nil
}

// complete finds the content of a snapshot, which need not have the backup's labels.
func (c *Client) complete(ctx context.Context, s state, vs *snapshotFacts) (foundObject, error) {
	o := foundObject{object: object{namespace: vs.namespace, name: vs.name, uid: vs.uid, content: vs.content}, fate: fate{deleting: vs.deleting}}
	if err := c.find(ctx, &o.object); err != nil {
		return o, fmt.Errorf("read %s: %w", o, err)
	}
	facts := s.contents[o.content]
	if facts == nil && o.content != "" {
		content, err := c.getContent(ctx, o.content)
		if err != nil {
			return o, fmt.Errorf("read volume snapshot content %q: %w", o.content, err)
		}
		if content != nil {
			facts = factsOfContent(content)
		}
	}
	o.note(facts)
	return o, nil
}

// gatherGroups finds group snapshots, and contents whose group snapshot went with its
// namespace.
func (c *Client) gatherGroups(ctx context.Context, api *groupAPI, selector string) ([]foundGroup, error) {
	if api == nil {
		return nil, nil
	}
	byUID := map[types.UID]*foundGroup{}
	err := retry(ctx, func() error {
		clear(byUID)
		err := api.each(ctx, c, "volumegroupsnapshots", selector, func(item *unstructured.Unstructured) error {
			snapshot, err := as[groupSnapshot](item)
			if err != nil {
				return err
			}
			byUID[snapshot.UID] = &foundGroup{
				groupObject: groupObject{namespace: snapshot.Namespace, name: snapshot.Name, uid: snapshot.UID}, bound: snapshot.Status.Content != "",
			}
			return nil
		})
		if err != nil {
			return err
		}
		return api.each(ctx, c, "volumegroupsnapshotcontents", selector, func(item *unstructured.Unstructured) error {
			content, err := as[groupContent](item)
			if err != nil {
				return err
			}
			of := content.Spec.Snapshot
			if byUID[of.UID] == nil {
				byUID[of.UID] = &foundGroup{groupObject: groupObject{namespace: of.Namespace, name: of.Name, uid: of.UID}}
			}
			byUID[of.UID].content, byUID[of.UID].bound = content.Name, true
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	var groups []foundGroup
	for _, uid := range slices.Sorted(maps.Keys(byUID)) {
		g := byUID[uid]
		content, err := c.findGroup(ctx, api, &g.groupObject)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", g, err)
		}
		if content != nil {
			g.fate = fate{policy: content.Spec.DeletionPolicy, mark: content.Labels[kept], deleting: content.DeletionTimestamp != nil}
		}
		groups = append(groups, *g)
	}
	return groups, nil
}

// Owner is a backup, by the labels of its objects: the name is velerov1.ValidName of
// the backup's.
type Owner struct{ Backup, UID string }

// Owners returns the backups of which there are snapshot objects in the cluster, in
// the order of their names. Objects of restores aren't among them.
func (c *Client) Owners(ctx context.Context) ([]Owner, error) {
	selector := fmt.Sprintf("%s,%s,!%s", velerov1.BackupNameLabel, velerov1.BackupUIDLabel, velerov1.RestoreNameLabel)
	owners := map[Owner]bool{}
	add := func(obj metav1.Object) {
		owners[Owner{obj.GetLabels()[velerov1.BackupNameLabel], obj.GetLabels()[velerov1.BackupUIDLabel]}] = true
	}
	api, err := c.findGroupAPI(ctx)
	if err != nil {
		return nil, err
	}
	err = retry(ctx, func() error {
		err := c.eachSnapshot(ctx, metav1.NamespaceAll, selector, func(vs *snapshotv1.VolumeSnapshot) { add(vs) })
		if err == nil {
			err = c.eachContent(ctx, selector, func(content *snapshotv1.VolumeSnapshotContent) { add(content) })
		}
		for _, plural := range []string{"volumegroupsnapshots", "volumegroupsnapshotcontents"} {
			if err == nil && api != nil {
				err = api.each(ctx, c, plural, selector, func(item *unstructured.Unstructured) error {
					add(item)
					return nil
				})
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Keys(owners), func(a, b Owner) int {
		return strings.Compare(a.Backup+"\x00"+a.UID, b.Backup+"\x00"+b.UID)
	}), nil
}
