package csi

import (
	"context"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const groupSnapshots = "groupsnapshot.storage.k8s.io"

// groupAPI is the API of group snapshots in the version that a cluster serves.
type groupAPI struct{ version string }

// findGroupAPI returns nil when the cluster serves no group snapshots.
func (c *Client) findGroupAPI(ctx context.Context) (*groupAPI, error) {
	for _, version := range []string{"v1", "v1beta2", "v1beta1"} {
		served, err := c.served(ctx, groupSnapshots+"/"+version, "volumegroupsnapshots")
		if err != nil {
			return nil, err
		}
		if served {
			return &groupAPI{version}, nil
		}
	}
	return nil, nil
}

func (a *groupAPI) resource(plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: groupSnapshots, Version: a.version, Resource: plural}
}

func (a *groupAPI) snapshots(c *Client) dynamic.NamespaceableResourceInterface {
	return c.objects.Resource(a.resource("volumegroupsnapshots"))
}

func (a *groupAPI) contents(c *Client) dynamic.NamespaceableResourceInterface {
	return c.objects.Resource(a.resource("volumegroupsnapshotcontents"))
}

// classes lists the classes of groups, none where there is no such API.
func (a *groupAPI) classes(ctx context.Context, c *Client) ([]class, error) {
	if a == nil {
		return nil, nil
	}
	var classes []class
	err := retry(ctx, func() error {
		classes = nil
		return a.each(ctx, c, "volumegroupsnapshotclasses", "", func(item *unstructured.Unstructured) error {
			driver, _, _ := unstructured.NestedString(item.Object, "driver") // empty fits no volume
			policy, _, _ := unstructured.NestedString(item.Object, "deletionPolicy")
			classes = append(classes, class{
				name: item.GetName(), driver: driver, labels: item.GetLabels(), annotations: item.GetAnnotations(), policy: snapshotv1.DeletionPolicy(policy),
			})
			return nil
		})
	})
	return classes, err
}

// each calls do for each object that a selector selects, of all namespaces.
func (a *groupAPI) each(ctx context.Context, c *Client, plural, selector string, do func(*unstructured.Unstructured) error) error {
	err := pages(ctx, metav1.ListOptions{LabelSelector: selector}, func(ctx context.Context, o metav1.ListOptions) (string, error) {
		list, err := c.objects.Resource(a.resource(plural)).List(ctx, o)
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			if err := do(&list.Items[i]); err != nil {
				return "", err
			}
		}
		return list.GetContinue(), nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", plural, err)
	}
	return nil
}

// groupSnapshot is what we look at of a VolumeGroupSnapshot, in each version.
type groupSnapshot struct {
	metav1.ObjectMeta `json:"metadata"`

	Status struct {
		Content string                          `json:"boundVolumeGroupSnapshotContentName"`
		Error   *snapshotv1.VolumeSnapshotError `json:"error"`
	} `json:"status"`
}

// groupContent is what we look at of a VolumeGroupSnapshotContent.
type groupContent struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		Driver         string                    `json:"driver"`
		DeletionPolicy snapshotv1.DeletionPolicy `json:"deletionPolicy"`
		Snapshot       struct {
			Namespace string    `json:"namespace"`
			Name      string    `json:"name"`
			UID       types.UID `json:"uid"`
		} `json:"volumeGroupSnapshotRef"`
	} `json:"spec"`
	Status struct {
		Handle string                          `json:"volumeGroupSnapshotHandle"`
		Error  *snapshotv1.VolumeSnapshotError `json:"error"`
		// Members has the first name from v1beta2 on, the second before.
		Members    []memberInfo `json:"volumeSnapshotInfoList"`
		OldMembers []memberInfo `json:"volumeSnapshotHandlePairList"`
	} `json:"status"`
}

type memberInfo struct {
	Snapshot string `json:"snapshotHandle"`
}

// snapshot is what the driver has told of it.
func (c *groupContent) snapshot() *GroupSnapshot {
	s := &GroupSnapshot{Handle: c.Status.Handle}
	for _, m := range append(c.Status.Members, c.Status.OldMembers...) {
		s.Members = append(s.Members, m.Snapshot)
	}
	return s
}

// getSnapshot reads a group snapshot.
func (a *groupAPI) getSnapshot(ctx context.Context, c *Client, namespace, name string) (*groupSnapshot, error) {
	obj, err := a.snapshots(c).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return as[groupSnapshot](obj)
}

// getContent reads the content of a group.
func (a *groupAPI) getContent(ctx context.Context, c *Client, name string) (*groupContent, error) {
	obj, err := a.contents(c).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return as[groupContent](obj)
}

// patchContent changes the content of a group.
func (a *groupAPI) patchContent(ctx context.Context, c *Client, name string, patch []byte) (*groupContent, error) {
	obj, err := a.contents(c).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return nil, err
	}
	return as[groupContent](obj)
}

// as decodes what of an object a type has.
func as[T any](obj *unstructured.Unstructured) (*T, error) {
	var typed T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &typed); err != nil {
		return nil, fmt.Errorf("decode %s %q: %w", obj.GetKind(), obj.GetName(), err)
	}
	return &typed, nil
}
