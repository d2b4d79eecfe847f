package csi

import (
	"context"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// snapshotFacts are what is looked at of a VolumeSnapshot. Of thousands these are kept
// where the objects themselves, many times as large, are not.
type snapshotFacts struct {
	namespace, name      string
	uid                  types.UID
	content              string // that it says it is bound to; empty for none
	cut, ready, deleting bool
	size                 *int64 // in bytes; nil as long as the driver hasn't said
	trouble              string
}

func factsOf(vs *snapshotv1.VolumeSnapshot) *snapshotFacts {
	f := &snapshotFacts{namespace: vs.Namespace, name: vs.Name, uid: vs.UID, content: boundContent(vs), deleting: vs.DeletionTimestamp != nil}
	if vs.Status == nil {
		return f
	}
	f.cut, f.trouble = vs.Status.CreationTime != nil, message(vs.Status.Error)
	f.ready = vs.Status.ReadyToUse != nil && *vs.Status.ReadyToUse
	if vs.Status.RestoreSize != nil {
		size := vs.Status.RestoreSize.Value()
		f.size = &size
	}
	return f
}

// boundContent is the name of the content that a snapshot says it is bound to.
func boundContent(object *snapshotv1.VolumeSnapshot) string {
	if object.Status == nil || object.Status.BoundVolumeSnapshotContentName == nil {
		return ""
	}
	return *object.Status.BoundVolumeSnapshotContentName
}

// contentFacts are what is looked at of a VolumeSnapshotContent.
type contentFacts struct {
	name, driver        string
	policy              snapshotv1.DeletionPolicy
	handle, groupHandle string // empty as long as there is none
	mark                string // value of the label kept
	node                string // whose csi-snapshotter works on it; empty for any
	deleting            bool
	ready               *bool  // nil as long as the driver hasn't said
	size                *int64 // likewise; in bytes
	trouble             string
	annotations         map[string]string
}

func factsOfContent(content *snapshotv1.VolumeSnapshotContent) *contentFacts {
	f := &contentFacts{
		name: content.Name, driver: content.Spec.Driver, policy: content.Spec.DeletionPolicy,
		deleting: content.DeletionTimestamp != nil, mark: content.Labels[kept], node: content.Labels[managedBy], annotations: content.Annotations,
		groupHandle: content.Annotations[memberOf],
	}
	status := content.Status
	if status == nil {
		return f
	}
	f.ready, f.size, f.trouble = status.ReadyToUse, status.RestoreSize, message(status.Error)
	if status.SnapshotHandle != nil {
		f.handle = *status.SnapshotHandle
	}
	if status.VolumeGroupSnapshotHandle != nil {
		f.groupHandle = *status.VolumeGroupSnapshotHandle
	}
	return f
}

func (f *contentFacts) isReady() bool { return f.ready != nil && *f.ready }

// pageSize is how many objects an answer of the API server has at most.
const pageSize = 500

// restarts is how often a list is begun again whose rest the API server has forgotten.
const restarts = 3

// pages lists page by page. When the rest of a list has expired it begins again:
// objects may come twice.
func pages(ctx context.Context, options metav1.ListOptions, page func(context.Context, metav1.ListOptions) (next string, err error)) error {
	options.Limit = pageSize
	for left := restarts; ; {
		next, err := page(ctx, options)
		switch {
		case apierrors.IsResourceExpired(err) && options.Continue != "" && left > 0:
			left, next = left-1, ""
		case err != nil || next == "":
			return err
		}
		options.Continue = next
	}
}

// eachSnapshot calls do for each VolumeSnapshot that a selector selects, in one
// namespace or in all. It must not keep them.
func (c *Client) eachSnapshot(ctx context.Context, namespace, selector string, do func(*snapshotv1.VolumeSnapshot)) error {
	err := pages(ctx, metav1.ListOptions{LabelSelector: selector}, func(ctx context.Context, o metav1.ListOptions) (string, error) {
		list, err := c.volumeSnapshots(namespace).List(ctx, o)
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			do(&list.Items[i])
		}
		return list.Continue, nil
	})
	if err != nil {
		return fmt.Errorf("list volume snapshots: %w", err)
	}
	return nil
}

// eachContent does so for VolumeSnapshotContents.
func (c *Client) eachContent(ctx context.Context, selector string, do func(*snapshotv1.VolumeSnapshotContent)) error {
	err := pages(ctx, metav1.ListOptions{LabelSelector: selector}, func(ctx context.Context, o metav1.ListOptions) (string, error) {
		list, err := c.contents().List(ctx, o)
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			do(&list.Items[i])
		}
		return list.Continue, nil
	})
	if err != nil {
		return fmt.Errorf("list volume snapshot contents: %w", err)
	}
	return nil
}

// state is what there is of some backup in the cluster.
type state struct {
	snapshots map[types.UID]*snapshotFacts
	contents  map[string]*contentFacts
}

// read lists the snapshots and contents that a selector selects.
func (c *Client) read(ctx context.Context, selector string) (state, error) {
	s := state{snapshots: map[types.UID]*snapshotFacts{}, contents: map[string]*contentFacts{}}
	err := c.eachSnapshot(ctx, metav1.NamespaceAll, selector, func(vs *snapshotv1.VolumeSnapshot) { s.snapshots[vs.UID] = factsOf(vs) })
	if err == nil {
		err = c.eachContent(ctx, selector, func(content *snapshotv1.VolumeSnapshotContent) { s.contents[content.Name] = factsOfContent(content) })
	}
	if err != nil {
		return state{}, err
	}
	return s, nil
}
