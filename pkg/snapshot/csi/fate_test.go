package csi

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
)

// TestFate: data goes only where something says so.
func TestFate(t *testing.T) {
	t.Parallel()
	const retain, remove = snapshotv1.VolumeSnapshotContentRetain, snapshotv1.VolumeSnapshotContentDelete
	for _, tc := range []struct {
		name        string
		fate        fate
		kept, dying bool
	}{
		{"kept", fate{policy: retain, mark: isKept}, true, false},
		{"not kept", fate{policy: retain, mark: notKept}, false, false},
		{"of an older executor, or of Velero", fate{policy: retain}, true, false},
		{"a value that nobody knows", fate{policy: retain, mark: "perhaps"}, true, false},
		{"being deleted, its data stays", fate{policy: retain, mark: isKept, deleting: true}, true, false},
		{"by its class", fate{policy: remove}, false, false},
		{"kept, and the class says otherwise", fate{policy: remove, mark: isKept}, true, false},
		{"an earlier attempt kept it and a later one deletes it", fate{policy: remove, mark: isKept, deleting: true}, false, true},
		{"no content", fate{deleting: true}, false, false},
	} {
		if kept, dying := tc.fate.isKept(), tc.fate.isDying(); kept != tc.kept || dying != tc.dying {
			t.Errorf("%s: kept %t, dying %t", tc.name, kept, dying)
		}
	}
	for name, want := range map[string]bool{"had a content": true, "may get one yet": false} {
		if got := (foundGroup{bound: want}).isKept(); got != want {
			t.Errorf("a group snapshot that %s: kept %t", name, got)
		}
	}
}

// TestGroupsAreKeptAsAWhole sorts members whose marks differ.
func TestGroupsAreKeptAsAWhole(t *testing.T) {
	t.Parallel()
	member := func(content, group, mark string) foundObject {
		return foundObject{object: object{content: content, driver: "d"}, group: group, fate: fate{policy: snapshotv1.VolumeSnapshotContentRetain, mark: mark}}
	}
	dying := member("c4", "", isKept)
	dying.policy, dying.deleting = snapshotv1.VolumeSnapshotContentDelete, true
	gone, kept, failed := found{objects: []foundObject{
		member("c0", "g", notKept), member("c1", "g", isKept), member("c2", "h", notKept), member("c3", "", notKept), dying,
	}}.sorted()
	var got []string
	for _, o := range slices.Concat(gone, failed) {
		got = append(got, o.content)
	}
	for _, o := range kept {
		got = append(got, o.content)
	}
	if diff := cmp.Diff([]string{"c4", "c2", "c3", "c0", "c1"}, got); diff != "" {
		t.Errorf("dying, failed, kept (-want +got):\n%s", diff)
	}
}

// TestLostGroups: what deletes them has all that their members tell.
func TestLostGroups(t *testing.T) {
	t.Parallel()
	handle, none := "group-1", ""
	member := func(name, snapshot, mark string, annotations map[string]string) foundObject {
		_, content := objectsOf(func(_ *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) {
			content.Name, content.Annotations = name, annotations
			content.Labels = map[string]string{managedBy: "node-1", kept: mark}
			content.Status.SnapshotHandle, content.Status.VolumeGroupSnapshotHandle = &snapshot, &handle
			if snapshot == none {
				content.Status.SnapshotHandle = nil
			}
		})
		o := foundObject{object: object{content: name}}
		o.note(factsOfContent(content))
		return o
	}
	secret := map[string]string{deletionSecretName: "key", deletionSecretNamespace: "driver"}
	objects := []foundObject{
		member("a", "snap-1", notKept, nil), member("b", none, isKept, secret), member("c", "snap-2", "", secret), {object: object{content: "alone"}},
	}
	got := lostGroups([]foundGroup{{groupObject: groupObject{driver: "disk.example.com", handle: "another"}}}, objects)
	want := map[string]*lostGroup{"disk.example.com\x00group-1": {
		Handle: Handle{
			Driver: "disk.example.com", Group: handle, GroupMembers: []string{"snap-1", "snap-2"},
			SecretName: "key", SecretNamespace: "driver", Node: "node-1",
		},
		unmarked: []string{"b", "c"},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(lostGroup{})); diff != "" {
		t.Errorf("lost groups (-want +got):\n%s", diff)
	}
	there := []foundGroup{{groupObject: groupObject{driver: "disk.example.com", handle: handle}}}
	if lost := lostGroups(there, objects); len(lost) != 0 {
		t.Errorf("a group that is there is lost: %v", lost)
	}
}

// TestGroupContentIsHeld until csi-snapshotter has deleted the data: the controller has
// made the content, but not given it its finalizer yet.
func TestGroupContentIsHeld(t *testing.T) {
	t.Parallel()
	for policy, want := range map[snapshotv1.DeletionPolicy][]string{
		snapshotv1.VolumeSnapshotContentDelete: {groupContentFinalizer},
		snapshotv1.VolumeSnapshotContentRetain: nil,
	} {
		taker, _, _ := fakeTaker(t, Options{})
		api := &groupAPI{"v1"}
		content := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": groupSnapshots + "/v1", "kind": "VolumeGroupSnapshotContent",
			"metadata": map[string]any{"name": "groupsnapcontent-u", "labels": map[string]any{kept: isKept}},
			"spec":     map[string]any{"driver": "disk.example.com", "deletionPolicy": "Retain", "volumeGroupSnapshotRef": map[string]any{"uid": "u"}},
		}}
		lists := map[schema.GroupVersionResource]string{api.resource("volumegroupsnapshotcontents"): "VolumeGroupSnapshotContentList"}
		server := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, content)
		taker.client.objects = server
		o := groupObject{uid: "u", content: content.GetName()}
		if err := taker.client.letGoOfGroup(t.Context(), api, &o, policy); err != nil {
			t.Fatal(err)
		}
		var finalizers []string
		var mark string
		for _, action := range server.Actions() {
			patch, ok := action.(interface{ GetPatch() []byte })
			if !ok {
				continue
			}
			var patched metav1.PartialObjectMetadata
			if err := json.Unmarshal(patch.GetPatch(), &patched); err != nil {
				t.Fatal(err)
			}
			finalizers = append(finalizers, patched.Finalizers...)
			mark += patched.Labels[kept]
		}
		if diff := cmp.Diff(want, finalizers); diff != "" || (mark == notKept) != (policy == snapshotv1.VolumeSnapshotContentDelete) {
			t.Errorf("%s: mark %q, finalizers (-want +got):\n%s", policy, mark, diff)
		}
		if last := server.Actions()[len(server.Actions())-1]; last.GetVerb() != "delete" {
			t.Errorf("%s: it ends with %s", policy, last.GetVerb())
		}
	}
}

// TestWhatASilentDriverLeft is told as it is: what of it goes, and how long it was
// waited for.
func TestWhatASilentDriverLeft(t *testing.T) {
	t.Parallel()
	var s silences
	told := func() (string, time.Duration) { return "busy", 61*time.Second + 20*time.Millisecond }
	kept := object{namespace: "shop", name: "a"}
	s.add(removable{name: named(kept, snapshotv1.VolumeSnapshotContentRetain), driver: "d"}, told)
	want := `the object of volume snapshot shop/a (the data stays) is marked to be deleted, but driver "d" has not done it within 1m1s (busy); `
	if got := s.all()[0].Err.Error(); !strings.HasPrefix(got, want) {
		t.Errorf("error %q, want %q first", got, want)
	}
	if got := named(kept, snapshotv1.VolumeSnapshotContentDelete); got != "volume snapshot shop/a" {
		t.Errorf("what goes with its data is %q", got)
	}
	if said, after := s.said("d"); said != "busy" || rounded(after) != 61*time.Second || rounded(1500*time.Microsecond) != 2*time.Millisecond {
		t.Errorf("said %q after %s", said, after)
	}
}

// TestForgottenMembers are those that wait for nothing but a group that their
// controller hasn't noted.
func TestForgottenMembers(t *testing.T) {
	t.Parallel()
	now, group := metav1.Now(), "g"
	for _, c := range []struct {
		name       string
		deleting   bool
		finalizers []string
		status     *snapshotv1.VolumeSnapshotStatus
		want       bool
	}{
		{"forgotten", true, []string{inGroupFinalizer}, nil, true},
		{"forgotten, with a status", true, []string{inGroupFinalizer}, &snapshotv1.VolumeSnapshotStatus{}, true},
		{"stays", false, []string{inGroupFinalizer}, nil, false},
		{"its content is still there", true, []string{inGroupFinalizer, "other"}, nil, false},
		{"the controller does it", true, []string{inGroupFinalizer}, &snapshotv1.VolumeSnapshotStatus{VolumeGroupSnapshotName: &group}, false},
		{"goes", true, nil, nil, false},
	} {
		vs := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Finalizers: c.finalizers}, Status: c.status}
		if c.deleting {
			vs.DeletionTimestamp = &now
		}
		if got := isForgotten(vs); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
