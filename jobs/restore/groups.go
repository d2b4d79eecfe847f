package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

var groupContents = schema.GroupResource{Group: "groupsnapshot.storage.k8s.io", Resource: "volumegroupsnapshotcontents"}

// groups stands in for the groups that snapshots were cut in: the snapshot controller
// takes a member for ready only as long as there is a content of its group. It is safe
// for concurrent use.
type groups struct {
	*operation

	mu sync.Mutex
	// made are the contents that stand for groups, by the handle; needed says that
	// claims still wait for members.
	made   map[string]*standIn
	needed map[string]bool
}

// standIn is the content that stands for a group.
type standIn struct {
	mu   sync.Mutex
	done bool
	err  error // why it could not be made
}

func newGroups(o *operation) *groups {
	return &groups{operation: o, made: map[string]*standIn{}, needed: map[string]bool{}}
}

// member is what is known of a snapshot that was cut in a group.
type member struct{ driver, group, handle, namespace string }

// memberOf reads a content as it is to be created.
func memberOf(obj *transform.Object) (member, bool) {
	var spec struct {
		Driver            string
		Source            struct{ SnapshotHandle string }
		VolumeSnapshotRef struct{ Namespace string }
	}
	var status struct{ VolumeGroupSnapshotHandle string }
	if obj.Read("spec", &spec) != nil || len(obj.Status()) == 0 || json.Unmarshal(obj.Status(), &status) != nil {
		return member{}, false
	}
	m := member{spec.Driver, status.VolumeGroupSnapshotHandle, spec.Source.SnapshotHandle, spec.VolumeSnapshotRef.Namespace}
	return m, m.group != ""
}

// ensure makes the content that stands for the group of a member, once. What fails for
// a reason that may pass can be tried again.
func (g *groups) ensure(ctx context.Context, m member) error {
	resource, served := g.served.Lookup(groupContents)
	if !served { // then the controller knows nothing of groups
		return nil
	}
	g.mu.Lock()
	s := g.made[m.group]
	if s == nil {
		s = &standIn{}
		g.made[m.group] = s
	}
	g.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.err = g.create(ctx, m, resource)
		s.done = s.err == nil || !cluster.MayPass(s.err)
	}
	return s.err
}

func (g *groups) place(handle, version string) ref.Object {
	return ref.Object{Resource: groupContents.WithVersion(version), Kind: "VolumeGroupSnapshotContent", Name: csi.RestoreName(string(g.restore.UID), "group/"+handle)}
}

func (g *groups) create(ctx context.Context, m member, resource cluster.Resource) error {
	place := g.place(m.group, resource.Version)
	body, err := json.Marshal(map[string]any{
		"apiVersion": place.Resource.GroupVersion().String(), "kind": place.Kind,
		"metadata": map[string]any{"name": place.Name, "labels": map[string]string{
			velerov1.BackupNameLabel: velerov1.ValidName(g.restore.Spec.BackupName), velerov1.RestoreNameLabel: velerov1.ValidName(g.restore.Name),
		}},
		"spec": map[string]any{
			"driver": m.driver, "deletionPolicy": "Retain",
			"source": map[string]any{"groupSnapshotHandles": map[string]any{
				"volumeGroupSnapshotHandle": m.group, "volumeSnapshotHandles": g.members(m),
			}},
			"volumeGroupSnapshotRef": map[string]string{"namespace": m.namespace, "name": place.Name},
		},
	})
	if err != nil {
		return err
	}
	if _, err := g.writer.Create(ctx, place, body); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make the content of its group: %w", err)
	}
	for end := time.Now().Add(settleGroup); ; {
		if err := g.setStatus(ctx, m.group, place); err != nil || time.Now().After(end) {
			return err
		}
		if err := sleep(ctx, firstLook); err != nil {
			return err
		}
	}
}

// settleGroup is how long a new content is looked after: csi-snapshotter's first look
// may fail, and then it replaces the whole status.
const settleGroup = 2 * time.Second

// setStatus sees to it that a content says for which group it stands. Being ready, it
// makes csi-snapshotter ask the driver nothing.
func (g *groups) setStatus(ctx context.Context, handle string, place ref.Object) error {
	raw, err := g.writer.Get(ctx, place)
	if err != nil {
		return fmt.Errorf("get the content of its group: %w", err)
	}
	var live struct {
		Status struct{ VolumeGroupSnapshotHandle string }
	}
	if err := json.Unmarshal(raw, &live); err != nil {
		return fmt.Errorf("decode the content of its group: %w", err)
	}
	if live.Status.VolumeGroupSnapshotHandle == handle {
		return nil
	}
	status, err := json.Marshal(map[string]any{"status": map[string]any{"volumeGroupSnapshotHandle": handle, "readyToUse": true}})
	if err != nil {
		return err
	}
	if err := g.writer.MergePatch(ctx, place, status, "status"); err != nil {
		return fmt.Errorf("set the status of the content of its group: %w", err)
	}
	return nil
}

// repair is setStatus for all that stand.
func (g *groups) repair(ctx context.Context) {
	resource, served := g.served.Lookup(groupContents)
	if !served {
		return
	}
	for _, handle := range g.standing() {
		if err := g.setStatus(ctx, handle, g.place(handle, resource.Version)); err != nil {
			g.Log.Warn("content of a group is not as it should be", "error", err)
		}
	}
}

// standing are the handles of the groups whose contents were made.
func (g *groups) standing() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var handles []string
	for handle, s := range g.made {
		if s.stands() {
			handles = append(handles, handle)
		}
	}
	slices.Sort(handles)
	return handles
}

// stands reports whether the content was made.
func (s *standIn) stands() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done && s.err == nil
}

// members are the handles of all snapshots of a group, as far as the backup names
// them.
func (g *groups) members(m member) []string {
	handles := []string{m.handle}
	for _, info := range g.source.saved.infos {
		if info.CSI != nil && info.CSI.GroupHandle == m.group && info.CSI.SnapshotHandle != "" {
			handles = append(handles, info.CSI.SnapshotHandle)
		}
	}
	slices.Sort(handles)
	return slices.Compact(handles)
}

// need notes that a claim still waits for a member of its group.
func (g *groups) need(c *claim) {
	if c.info == nil || c.info.CSI == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.needed[c.info.CSI.GroupHandle] = true
}

// drop removes what stands for groups whose members nobody waits for any more.
func (g *groups) drop(ctx context.Context) {
	resource, served := g.served.Lookup(groupContents)
	if !served {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for handle := range g.made {
		if g.needed[handle] {
			continue
		}
		place := g.place(handle, resource.Version)
		if err := g.writer.Delete(ctx, place, "", ""); err != nil && !apierrors.IsNotFound(err) {
			g.Log.Warn("content of a group not removed", "object", place.String(), "error", err)
		}
	}
}
