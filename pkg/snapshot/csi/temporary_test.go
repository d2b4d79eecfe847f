package csi

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestAwaitDeletion: what the last look at a temporary content says of the driver.
func TestAwaitDeletion(t *testing.T) {
	t.Parallel()
	content := func(status map[string]any, deleting bool, finalizers ...string) *unstructured.Unstructured {
		obj := &unstructured.Unstructured{Object: map[string]any{"status": status}}
		obj.SetResourceVersion("7")
		obj.SetFinalizers(finalizers)
		if deleting {
			now := metav1.Now()
			obj.SetDeletionTimestamp(&now)
		}
		return obj
	}
	handle := map[string]any{"snapshotHandle": "s"}
	cleared, failed := map[string]any{}, map[string]any{"readyToUse": false}
	set := content(handle, false, "hold")
	held := watch.Event{Type: watch.Modified, Object: content(handle, true, "hold")}
	gone := func(status map[string]any) watch.Event {
		return watch.Event{Type: watch.Deleted, Object: content(status, true)}
	}
	givenUp := gone(handle)
	givenUp.Object.(*unstructured.Unstructured).Object["spec"] = map[string]any{"deletionPolicy": "Retain"}
	for _, tc := range []struct {
		name    string
		set     *unstructured.Unstructured
		events  []watch.Event
		deleted bool
		err     error
	}{
		{name: "the driver deleted it", set: set, events: []watch.Event{held, gone(cleared)}, deleted: true},
		{name: "an earlier attempt waits for it", set: content(handle, true, "hold"), events: []watch.Event{gone(cleared)}, deleted: true},
		{name: "a member of a group", set: set, events: []watch.Event{held, gone(handle)}, err: errNotAlone},
		{name: "its first look came last", set: set, events: []watch.Event{held, gone(failed)}},
		{name: "its finalizer was taken before", set: set, events: []watch.Event{{Type: watch.Modified, Object: content(handle, false)}, gone(handle)}},
		{name: "somebody else gave it up", set: set, events: []watch.Event{held, givenUp}},
		{name: "it went at once", set: content(handle, false), events: []watch.Event{gone(handle)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			resource := schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}
			server := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
				map[schema.GroupVersionResource]string{resource: "VolumeSnapshotContentList"})
			events := watch.NewFakeWithChanSize(len(tc.events), false)
			for _, event := range tc.events {
				events.Action(event.Type, event.Object)
			}
			server.PrependWatchReactor("*", clienttesting.DefaultWatchReactor(events, nil))
			of := temporary{objects: server.Resource(resource), handle: "snapshotHandle"}
			deleted, err := of.awaitDeletion(t.Context(), tc.set)
			if deleted != tc.deleted || !errors.Is(err, tc.err) {
				t.Errorf("deleted = %t, %v", deleted, err)
			}
		})
	}
}
