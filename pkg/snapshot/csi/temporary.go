package csi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	watchtools "k8s.io/client-go/tools/watch"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// temporary is a content by which csi-snapshotter is told to do something with a
// snapshot that has no objects in the cluster. There is one for each snapshot and
// purpose, so that attempts that die don't pile them up.
type temporary struct {
	objects      dynamic.ResourceInterface
	name, driver string
	object       map[string]any
	// status is what make sets, if anything. Its field handle has the snapshot's: of
	// one that is to be deleted, csi-snapshotter wants it there.
	status map[string]any
	handle string
}

// nowhere is the namespace of the snapshots that temporary contents refer to. A
// content must refer to one; it isn't there.
const nowhere = "kubectl-velero-none"

// temporary is the content that stands for a snapshot.
func (c *Client) temporary(h Handle, policy snapshotv1.DeletionPolicy) temporary {
	t := temporary{
		objects: c.objects.Resource(snapshotv1.SchemeGroupVersion.WithResource("volumesnapshotcontents")),
		name:    temporaryName(string(policy), h.Driver, h.Snapshot), driver: h.Driver,
		handle: "snapshotHandle",
	}
	if policy == snapshotv1.VolumeSnapshotContentDelete {
		t.status = map[string]any{t.handle: h.Snapshot}
	}
	t.object = map[string]any{
		"apiVersion": snapshotv1.SchemeGroupVersion.String(), "kind": "VolumeSnapshotContent",
		"metadata": t.metadata(h, policy, contentFinalizer, deletionSecretName, deletionSecretNamespace),
		"spec": map[string]any{
			"driver": h.Driver, "deletionPolicy": string(policy),
			"source":            map[string]any{"snapshotHandle": h.Snapshot},
			"volumeSnapshotRef": t.reference("VolumeSnapshot"),
		},
	}
	return t
}

// temporaryGroup is the content that stands for a group snapshot, to delete it.
func (c *Client) temporaryGroup(h Handle, api *groupAPI) temporary {
	const policy = snapshotv1.VolumeSnapshotContentDelete
	t := temporary{
		objects: api.contents(c),
		name:    temporaryName("group", h.Driver, h.Group), driver: h.Driver,
		handle: "volumeGroupSnapshotHandle", status: map[string]any{"volumeGroupSnapshotHandle": h.Group},
	}
	members := slices.Clone(h.GroupMembers)
	if h.Snapshot != "" && !slices.Contains(members, h.Snapshot) {
		members = append(members, h.Snapshot)
	}
	handles := make([]any, len(members))
	for i, member := range members {
		handles[i] = member
	}
	t.object = map[string]any{
		"apiVersion": groupSnapshots + "/" + api.version, "kind": "VolumeGroupSnapshotContent",
		"metadata": t.metadata(h, policy, groupContentFinalizer, groupDeletionSecretName, groupDeletionSecretNamespace),
		"spec": map[string]any{
			"driver": h.Driver, "deletionPolicy": string(policy),
			"source":                 map[string]any{"groupSnapshotHandles": map[string]any{"volumeGroupSnapshotHandle": h.Group, "volumeSnapshotHandles": handles}},
			"volumeGroupSnapshotRef": t.reference("VolumeGroupSnapshot"),
		},
	}
	return t
}

func temporaryName(purpose, driver, handle string) string {
	sum := sha256.Sum256([]byte(purpose + "\x00" + driver + "\x00" + handle))
	return "kubectl-velero-" + hex.EncodeToString(sum[:20])
}

// metadata has the finalizer only for a content whose snapshot is to be deleted. The
// controller puts it on contents that are bound, which this one never is.
func (t temporary) metadata(h Handle, policy snapshotv1.DeletionPolicy, finalizer, secretName, secretNamespace string) map[string]any {
	labels := map[string]any{velerov1.ComponentLabel: velerov1.ComponentValue}
	if h.Node != "" {
		labels[managedBy] = h.Node
	}
	metadata := map[string]any{"name": t.name, "labels": labels}
	if h.SecretName != "" && h.SecretNamespace != "" {
		metadata["annotations"] = map[string]any{secretName: h.SecretName, secretNamespace: h.SecretNamespace}
	}
	if policy == snapshotv1.VolumeSnapshotContentDelete {
		metadata["finalizers"] = []any{finalizer}
	}
	return metadata
}

func (t temporary) reference(kind string) map[string]any {
	return map[string]any{"kind": kind, "namespace": nowhere, "name": t.name}
}

// make makes the content, or takes the one of an earlier attempt.
func (t temporary) make(ctx context.Context) (made *unstructured.Unstructured, err error) {
	err = retry(ctx, func() (err error) {
		made, err = t.objects.Create(ctx, &unstructured.Unstructured{Object: t.object}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			made, err = t.get(ctx)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create a temporary content: %w", err)
	}
	return made, nil
}

func (t temporary) get(ctx context.Context) (*unstructured.Unstructured, error) {
	return t.objects.Get(ctx, t.name, metav1.GetOptions{})
}

// setStatus gives the content the handle that csi-snapshotter else asks the driver
// for, which not each driver can tell. It does so only after csi-snapshotter has
// written a status: when its first look fails, it overwrites all of it.
func (t temporary) setStatus(ctx context.Context) (set *unstructured.Unstructured, err error) {
	err = poll(ctx, firstLook/5, lastLook/5, func() (bool, error) {
		err := retry(ctx, func() (err error) {
			set, err = t.get(ctx)
			return err
		})
		return err == nil && set.Object["status"] != nil, err
	})
	if err == nil && t.handleOf(set) == "" && set.GetDeletionTimestamp() == nil {
		status := mustEncode(map[string]any{"status": t.status})
		err = retry(ctx, func() (err error) {
			set, err = t.objects.Patch(ctx, t.name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("set the status of a temporary content: %w", err)
	}
	return set, nil
}

// handleOf is the handle in the content's status; empty for none.
func (t temporary) handleOf(obj *unstructured.Unstructured) string {
	handle, _, _ := unstructured.NestedString(obj.Object, "status", t.handle) // another type is none
	return handle
}

func (t temporary) delete(ctx context.Context) error {
	err := retry(ctx, func() error { return t.objects.Delete(ctx, t.name, metav1.DeleteOptions{}) })
	if ignoreNotFound(err) != nil {
		return fmt.Errorf("delete a temporary content: %w", err)
	}
	return nil
}

// errNotAlone is the error about a snapshot that csi-snapshotter didn't have deleted.
var errNotAlone = errors.New("csi-snapshotter has not asked the driver to delete it, as it does with members of a group snapshot; " +
	"hint: delete the group snapshot with the driver's own tools")

// awaitDeletion waits until the content is gone, and reports whether the driver has
// deleted the snapshot: then csi-snapshotter has emptied the content's status first.
// Where it only let go of the content, the status has still something to say.
//
// A content that went without being held by its finalizer is no answer: csi-snapshotter
// removes finalizers by name, at times that of a new content for one of this name that
// it has just let go of. Then nobody has asked the driver.
func (t temporary) awaitDeletion(ctx context.Context, set *unstructured.Unstructured) (deleted bool, err error) {
	held := isHeld(set)
	last, err := watchtools.Until(ctx, set.GetResourceVersion(), watcher{t}, func(event watch.Event) (bool, error) {
		obj, ok := event.Object.(*unstructured.Unstructured)
		held = held || ok && isHeld(obj)
		return event.Type == watch.Deleted, nil
	})
	if err != nil {
		return false, err
	}
	obj, ok := last.Object.(*unstructured.Unstructured)
	switch {
	case !ok:
		return false, fmt.Errorf("watch a temporary content: got a %T", last.Object)
	case !held || isGivenUp(obj):
		return false, nil
	case t.handleOf(obj) != "":
		return false, errNotAlone
	}
	status, _, _ := unstructured.NestedMap(obj.Object, "status") // another type is none
	_, ready := status["readyToUse"]
	return status != nil && !ready, nil
}

// isGivenUp reports whether somebody else, who waited for the same content, has given
// it up.
func isGivenUp(obj *unstructured.Unstructured) bool {
	policy, _, _ := unstructured.NestedString(obj.Object, "spec", "deletionPolicy") // another type is none
	return policy == string(snapshotv1.VolumeSnapshotContentRetain)
}

// isHeld reports whether it is being deleted and a finalizer keeps it.
func isHeld(obj *unstructured.Unstructured) bool {
	return obj.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) > 0
}

// watcher watches a temporary content.
type watcher struct{ of temporary }

func (w watcher) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return w.WatchWithContext(context.Background(), options)
}

func (w watcher) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.FieldSelector = fields.OneTermEqualSelector("metadata.name", w.of.name).String()
	return w.of.objects.Watch(ctx, options)
}

// giveUp removes the content without anything happening to the snapshot.
func (t temporary) giveUp(ctx context.Context) error {
	patch := mustEncode(map[string]any{
		"metadata": map[string]any{"finalizers": nil},
		"spec":     map[string]any{"deletionPolicy": string(snapshotv1.VolumeSnapshotContentRetain)},
	})
	err := retry(ctx, func() error {
		_, err := t.objects.Patch(ctx, t.name, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return errors.Join(err, t.delete(ctx))
}

// lastWarning is what the newest warning about a content says; empty when there is
// none or it can't be read.
func (c *Client) lastWarning(ctx context.Context, content string) string {
	events, err := c.core.CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.name": content, "type": corev1.EventTypeWarning}.String(),
	})
	if err != nil || len(events.Items) == 0 {
		return ""
	}
	newest := slices.MaxFunc(events.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	return newest.Message
}

// silence is the error about a driver that gives no answer.
func (c *Client) silence(ctx context.Context, driver string) string {
	_, err := c.core.StorageV1().CSIDrivers().Get(ctx, driver, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Sprintf("no driver %q is installed in this cluster; hint: install it with its csi-snapshotter", driver)
	}
	return "the driver doesn't answer; hint: see whether it and its csi-snapshotter run"
}

// notThere reports whether a sidecar says that the driver has no such snapshot.
func notThere(said string) bool {
	found := code.FindStringSubmatch(said)
	return found != nil && found[1] == "NotFound" || strings.Contains(said, "can not find snapshot")
}
