package csi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// group is a snapshot of several volumes at once.
type group struct {
	namespace, value string // of the claims, and of their label
	driver           string
	class            class
	once             sync.Once // guards begin

	mu      sync.Mutex
	name    string // of the VolumeGroupSnapshot
	uid     types.UID
	content string // name of its content
	marked  bool   // the content is the backup's, and keeps its data
	// snapshot is as the driver tells it; empty as long as it doesn't.
	snapshot *GroupSnapshot
	// members are by name of claim; complete as soon as the driver has told and each has
	// its VolumeSnapshot and content, all with the backup's labels.
	members  map[string]member
	complete bool
	trouble  string
	err      error
	doomed   bool
}

// member is one volume's part in a group snapshot.
type member struct {
	claim   string
	name    string
	uid     types.UID
	content string
}

// groupClass chooses the class for a claim's group.
func (t *Taker) groupClass(claim Claim) (class, error) {
	if t.groupAPI == nil {
		return class{}, fmt.Errorf("the claim belongs to volume group %q, and this cluster has no group snapshots; "+
			"hint: take the label %s off the claim, or install the API %s with its controller", t.groupOf(claim), t.groupKey, groupSnapshots)
	}
	name, err := groupRules().choose(claim.driver(), claim.PVC, t.backup, t.groupClasses)
	if err != nil {
		return class{}, err
	}
	i := slices.IndexFunc(t.groupClasses, func(c class) bool { return c.name == name })
	return t.groupClasses[i], nil
}

// join returns the group of a claim.
func (t *Taker) join(claim Claim) (*group, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := claim.PVC.Namespace + "/" + t.groupOf(claim)
	if g := t.groups[key]; g != nil {
		if g.driver != claim.driver() {
			return nil, fmt.Errorf("the volumes of group %q are of several drivers, %q and %q; hint: only those of one can be snapshotted together",
				g.value, g.driver, claim.driver())
		}
		return g, nil
	}
	class, err := t.groupClass(claim)
	if err != nil {
		return nil, err
	}
	g := &group{namespace: claim.PVC.Namespace, value: t.groupOf(claim), driver: claim.driver(), class: class, snapshot: &GroupSnapshot{}}
	t.groups[key] = g
	return g, nil
}

// begin asks for the group's snapshot, once.
func (g *group) begin(ctx context.Context, t *Taker) {
	g.once.Do(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.name = generateName("velero-" + g.value + "-")
		if err := g.create(ctx, t); err != nil {
			g.err = fmt.Errorf("create volume group snapshot: %w", err)
		}
	})
}

func (g *group) create(ctx context.Context, t *Taker) error {
	wanted := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{
			"volumeGroupSnapshotClassName": g.class.name,
			"source":                       map[string]any{"selector": map[string]any{"matchLabels": map[string]any{t.groupKey: g.value}}},
		},
	}}
	wanted.SetAPIVersion(groupSnapshots + "/" + t.groupAPI.version)
	wanted.SetKind("VolumeGroupSnapshot")
	wanted.SetNamespace(g.namespace)
	wanted.SetName(g.name)
	wanted.SetLabels(owned(t.backup))
	objects := t.groupAPI.snapshots(t.client).Namespace(g.namespace)
	return retry(ctx, func() error {
		made, err := objects.Create(ctx, wanted, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // the answer to an earlier request got lost
			made, err = objects.Get(ctx, g.name, metav1.GetOptions{})
			if err == nil && made.GetLabels()[velerov1.BackupUIDLabel] != string(t.backup.UID) {
				return fmt.Errorf("volume group snapshot %q exists and isn't of this backup", g.name)
			}
		}
		if err == nil {
			g.uid = made.GetUID()
		}
		return err
	})
}

// observe reads how far the group is.
func (g *group) observe(ctx context.Context, t *Taker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.complete || g.err != nil {
		return
	}
	if err := g.read(ctx, t); err != nil {
		t.client.log.Warn("a group snapshot can't be read; trying again", "namespace", g.namespace, "name", g.name, "error", err)
	}
	if g.snapshot.Handle == "" && hopeless(g.trouble) {
		g.err = fmt.Errorf("the driver refuses to take the snapshot of group %q: %s", g.value, g.trouble)
	}
}

func (g *group) read(ctx context.Context, t *Taker) error {
	snapshot, err := t.groupAPI.getSnapshot(ctx, t.client, g.namespace, g.name)
	if apierrors.IsNotFound(err) {
		g.err = errDeleted
		return nil
	}
	if err != nil {
		return err
	}
	g.trouble, g.content = message(snapshot.Status.Error), snapshot.Status.Content
	if g.content == "" {
		return nil
	}
	content, err := g.readContent(ctx, t)
	if err != nil {
		return ignoreNotFound(err)
	}
	if content.DeletionTimestamp != nil {
		g.err = errDeleted
		return nil
	}
	if content.Status.Error != nil {
		g.trouble = message(content.Status.Error)
	}
	if told := content.snapshot(); told.Handle != g.snapshot.Handle || !slices.Equal(told.Members, g.snapshot.Members) {
		g.snapshot = told
	}
	if g.snapshot.Handle == "" || len(g.snapshot.Members) == 0 {
		return nil
	}
	return g.collect(ctx, t)
}

// readContent reads the group's content. It is marked as the backup's as soon as there
// is one, so that the data outlives the namespace: the controller gives the members'
// contents the same policy.
func (g *group) readContent(ctx context.Context, t *Taker) (*groupContent, error) {
	content, err := t.groupAPI.getContent(ctx, t.client, g.content)
	if err != nil || g.marked || content.DeletionTimestamp != nil {
		return content, err
	}
	marked, err := t.groupAPI.patchContent(ctx, t.client, g.content, t.mark(content.ResourceVersion))
	if apierrors.IsConflict(err) { // the next look marks it, unless it is being deleted
		return content, nil
	}
	g.marked = err == nil
	return marked, err
}

// collect finds the members, which the controller makes once the group is cut, and
// marks them as the backup's.
func (g *group) collect(ctx context.Context, t *Taker) error {
	var found []member
	err := t.client.eachSnapshot(ctx, g.namespace, "", func(vs *snapshotv1.VolumeSnapshot) {
		if g.owns(vs) && boundContent(vs) != "" && vs.Spec.Source.PersistentVolumeClaimName != nil {
			found = append(found, member{claim: *vs.Spec.Source.PersistentVolumeClaimName, name: vs.Name, uid: vs.UID, content: boundContent(vs)})
		}
	})
	if err != nil {
		return err
	}
	members := map[string]member{}
	for _, m := range found {
		_, err := t.client.volumeSnapshots(g.namespace).Patch(ctx, m.name, types.MergePatchType, metadataPatch("labels", owned(t.backup)), metav1.PatchOptions{})
		if err != nil {
			return err
		}
		content := t.label(ctx, m.content)
		if content == nil {
			return nil // was logged
		}
		if content.deleting {
			g.err = errDeleted
			return nil
		}
		members[m.claim] = m
	}
	g.members, g.complete = members, len(members) >= len(g.snapshot.Members)
	return nil
}

// owns reports whether a snapshot is a member of the group.
func (g *group) owns(vs *snapshotv1.VolumeSnapshot) bool {
	return slices.ContainsFunc(vs.OwnerReferences, func(owner metav1.OwnerReference) bool { return owner.UID == g.uid }) ||
		vs.Status != nil && vs.Status.VolumeGroupSnapshotName != nil && *vs.Status.VolumeGroupSnapshotName == g.name
}

// settle tells a member's entry how the group is.
func (g *group) settle(e *entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch m, ok := g.members[e.Claim]; {
	case g.err != nil:
		e.fail(g.err)
	case g.complete && !ok:
		e.fail(errors.New("the driver left the volume out of its group's snapshot"))
	case g.complete:
		e.Name, e.uid = m.name, m.uid
	default:
		e.trouble = g.trouble
	}
}

// made returns what was made, which all members share.
func (g *group) made() *GroupSnapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.snapshot
}

// contents are the names of the members' contents.
func (g *group) contents() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for _, claim := range slices.Sorted(maps.Keys(g.members)) {
		names = append(names, g.members[claim].content)
	}
	return names
}

// abandonGroups lets go of the groups that were not cut as a whole.
func (t *Taker) abandonGroups(ctx context.Context, entries []*entry) {
	for _, e := range entries {
		if e.group == nil || e.Err == nil {
			continue
		}
		o, doomed := e.group.doom(e.Err)
		if !doomed {
			continue
		}
		if err := t.client.letGoOfGroup(ctx, t.groupAPI, &o, snapshotv1.VolumeSnapshotContentDelete); err != nil {
			t.client.log.Warn("a failed group snapshot could not be removed yet", "namespace", o.namespace, "name", o.name, "error", err)
		}
		t.mu.Lock()
		t.doomedGroups = append(t.doomedGroups, o)
		t.mu.Unlock()
	}
}

// doomUseless ends the groups none of whose members can be used, although all were
// cut: nothing would know of their data.
func doomUseless(entries []*entry) {
	for _, g := range groupsOf(entries) {
		useful := slices.ContainsFunc(entries, func(e *entry) bool { return e.group == g && e.Err == nil })
		g.mu.Lock()
		g.complete = g.complete && useful
		g.mu.Unlock()
	}
}

// isDoomed reports whether the group's data goes.
func (g *group) isDoomed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.doomed
}

// doom ends a group that isn't whole. It reports whether this call did.
func (g *group) doom(err error) (groupObject, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.complete || g.doomed || g.name == "" {
		return groupObject{}, false
	}
	g.doomed = true
	if g.err == nil {
		g.err = err
	}
	return groupObject{namespace: g.namespace, name: g.name, uid: g.uid, content: g.content, driver: g.driver, handle: g.snapshot.Handle}, true
}
