package csi

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// The kinds of what Objects returns.
const (
	KindSnapshot = "VolumeSnapshot"
	KindContent  = "VolumeSnapshotContent"
	KindClass    = "VolumeSnapshotClass"
)

// Object is one of the snapshot API as the archive has it.
type Object struct {
	Kind, Namespace, Name string
	// JSON is the caller's.
	JSON []byte
}

// Objects returns what the archive has of the snapshots that can be used: each
// VolumeSnapshot, its content, and the classes that they were taken by. It comes after
// Wait and before Release. They are read page by page while the caller goes on, and
// come in no order that means anything. An error is the last that there is.
func (t *Taker) Objects(ctx context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		w := t.newWriter(yield)
		if len(w.byUID) == 0 {
			return
		}
		err := w.snapshots(ctx)
		if err == nil {
			err = w.contents(ctx)
		}
		if err == nil {
			err = w.classes()
		}
		if err != nil && !w.stopped {
			yield(Object{}, err)
		}
	}
}

// writer hands out the objects to be archived.
type writer struct {
	taker   *Taker
	yield   func(Object, error) bool
	stopped bool // the caller has enough
	// byUID and byContent are the entries whose VolumeSnapshot, or content, is still
	// to come.
	byUID     map[types.UID]*entry
	byContent map[string]*entry
	used      map[string]*snapshotv1.VolumeSnapshotClass
}

func (t *Taker) newWriter(yield func(Object, error) bool) *writer {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &writer{taker: t, yield: yield, byUID: map[types.UID]*entry{}, byContent: map[string]*entry{}, used: map[string]*snapshotv1.VolumeSnapshotClass{}}
	for _, e := range t.taken {
		if e.Err != nil {
			continue
		}
		w.byUID[e.uid], w.byContent[e.Content] = e, e
		if e.class != nil {
			w.used[e.class.Name] = e.class
		}
	}
	return w
}

// pages reads all pages of the backup's objects, each again while that may help.
func (w *writer) pages(ctx context.Context, what string, page func(context.Context, metav1.ListOptions) (string, error)) error {
	t := w.taker
	err := pages(ctx, metav1.ListOptions{LabelSelector: ownerSelector(t.backup.Name, t.backup.UID)}, page)
	if err != nil {
		return fmt.Errorf("read %s for the archive: %w", what, err)
	}
	return nil
}

// snapshots hands out the VolumeSnapshots that are there.
func (w *writer) snapshots(ctx context.Context) error {
	return w.pages(ctx, "volume snapshots", func(ctx context.Context, o metav1.ListOptions) (string, error) {
		var list *snapshotv1.VolumeSnapshotList
		err := retry(ctx, func() (err error) {
			list, err = w.taker.client.volumeSnapshots(metav1.NamespaceAll).List(ctx, o)
			return err
		})
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			vs := &list.Items[i]
			e := w.byUID[vs.UID]
			if e == nil || w.stopped {
				continue
			}
			delete(w.byUID, vs.UID)
			if err := w.write(storedSnapshot(vs, e)); err != nil {
				return "", err
			}
		}
		return w.next(list.Continue), nil
	})
}

// next is the page that comes next; none when the caller has enough.
func (w *writer) next(page string) string {
	if w.stopped {
		return ""
	}
	return page
}

// contents hands out the contents, and the VolumeSnapshots that went with their
// namespace, made anew from what is known of them.
func (w *writer) contents(ctx context.Context) error {
	err := w.pages(ctx, "volume snapshot contents", func(ctx context.Context, o metav1.ListOptions) (string, error) {
		var list *snapshotv1.VolumeSnapshotContentList
		err := retry(ctx, func() (err error) {
			list, err = w.taker.client.contents().List(ctx, o)
			return err
		})
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			if err := w.content(&list.Items[i]); err != nil {
				return "", err
			}
		}
		return w.next(list.Continue), nil
	})
	if err != nil || w.stopped {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(w.byContent)) { // those that lost our labels
		content, err := w.taker.client.getContent(ctx, name)
		if err == nil && content == nil {
			err = errDeleted
		}
		if err == nil {
			err = w.content(content)
		}
		if err != nil {
			return fmt.Errorf("read volume snapshot content %q for the archive: %w", name, err)
		}
	}
	return nil
}

func (w *writer) content(content *snapshotv1.VolumeSnapshotContent) error {
	e := w.byContent[content.Name]
	if e == nil || w.stopped {
		return nil
	}
	delete(w.byContent, content.Name)
	if w.byUID[e.uid] != nil {
		delete(w.byUID, e.uid)
		if err := w.write(storedSnapshot(e.remake(content), e)); err != nil {
			return err
		}
	}
	return w.write(storedContent(content, e, w.taker.backup.Name))
}

func (w *writer) classes() error {
	for _, name := range slices.Sorted(maps.Keys(w.used)) {
		class := w.used[name].DeepCopy()
		class.APIVersion, class.Kind = snapshotv1.SchemeGroupVersion.String(), KindClass
		encoded, err := json.Marshal(class)
		if err != nil {
			return fmt.Errorf("encode volume snapshot class %q: %w", name, err)
		}
		if err := w.write(Object{Kind: KindClass, Name: name, JSON: encoded}, nil); err != nil {
			return err
		}
	}
	return nil
}

// write hands one object to the caller, unless that has enough.
func (w *writer) write(object Object, err error) error {
	if err == nil && !w.stopped {
		w.stopped = !w.yield(object, nil)
	}
	return err
}

// storedSnapshot is what the archive has of a VolumeSnapshot, which it changes: what a
// restore must know is in its annotations.
func storedSnapshot(vs *snapshotv1.VolumeSnapshot, e *entry) (Object, error) {
	vs.APIVersion, vs.Kind = snapshotv1.SchemeGroupVersion.String(), KindSnapshot
	metav1.SetMetaDataAnnotation(&vs.ObjectMeta, snapshotHandle, e.Handle)
	metav1.SetMetaDataAnnotation(&vs.ObjectMeta, driverName, e.Driver)
	if policy := e.policy(); policy != "" {
		metav1.SetMetaDataAnnotation(&vs.ObjectMeta, deletionPolicy, string(policy))
	}
	if e.RestoreSize > 0 {
		metav1.SetMetaDataAnnotation(&vs.ObjectMeta, snapshotRestoreSize, resource.NewQuantity(e.RestoreSize, resource.BinarySI).String())
	}
	if e.group != nil {
		metav1.SetMetaDataAnnotation(&vs.ObjectMeta, groupHandle, e.group.made().Handle)
	}
	encoded, err := encode(vs)
	return Object{Kind: KindSnapshot, Namespace: vs.Namespace, Name: vs.Name, JSON: encoded}, err
}

// storedContent is what the archive has of a content, which it changes. Its label says
// that the snapshot is deleted with the backup; its policy is that of the class, since
// its own says that the backup keeps the data.
func storedContent(content *snapshotv1.VolumeSnapshotContent, e *entry, backup string) (Object, error) {
	content.APIVersion, content.Kind = snapshotv1.SchemeGroupVersion.String(), KindContent
	metav1.SetMetaDataLabel(&content.ObjectMeta, velerov1.BackupNameLabel, velerov1.ValidName(backup))
	if policy := e.policy(); policy != "" {
		content.Spec.DeletionPolicy = policy
	}
	delete(content.Annotations, nudged)
	delete(content.Labels, kept)
	if e.group != nil {
		members, err := json.Marshal(e.group.made().Members)
		if err != nil {
			return Object{}, fmt.Errorf("encode handles of group: %w", err)
		}
		metav1.SetMetaDataAnnotation(&content.ObjectMeta, groupMembers, string(members))
	}
	encoded, err := encode(content)
	return Object{Kind: KindContent, Name: content.Name, JSON: encoded}, err
}

// remake makes a VolumeSnapshot that is gone, as it was.
func (e *entry) remake(content *snapshotv1.VolumeSnapshotContent) *snapshotv1.VolumeSnapshot {
	vs := e.wanted()
	vs.UID, vs.CreationTimestamp = e.uid, e.Started
	vs.Status = &snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: &content.Name, ReadyToUse: e.Ready}
	if status := content.Status; status != nil && status.CreationTime != nil {
		vs.Status.CreationTime = ptr.To(metav1.NewTime(time.Unix(0, *status.CreationTime)))
	}
	if e.RestoreSize > 0 {
		vs.Status.RestoreSize = resource.NewQuantity(e.RestoreSize, resource.BinarySI)
	}
	return vs
}
