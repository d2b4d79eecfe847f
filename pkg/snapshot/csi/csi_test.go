package csi

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

func TestChooseClass(t *testing.T) {
	t.Parallel()
	const driver = "disk.example.com"
	plain := func(name string) class { return class{name: name, driver: driver} }
	labelled := class{name: "labelled", driver: driver, labels: map[string]string{classLabel: "false"}}
	standard := class{name: "standard", driver: driver, annotations: map[string]string{defaultClass: ""}}
	other := class{name: "other", driver: "file.example.com", labels: map[string]string{classLabel: "true"}}
	onClaim := map[string]string{claimClass: "b"}
	onBackup := map[string]string{backupClassPrefix + driver: "a"}
	for _, tc := range []struct {
		name          string
		claim, backup map[string]string
		classes       []class
		want, err     string
	}{
		{"the claim's annotation comes first", onClaim, onBackup, []class{plain("a"), plain("b"), labelled}, "b", ""},
		{"one that isn't there falls through", map[string]string{claimClass: "none"}, onBackup, []class{plain("a"), plain("b"), labelled}, "a", ""},
		{"so does one of another driver", map[string]string{claimClass: "other"}, nil, []class{plain("a"), other}, "a", ""},
		{"the backup's annotation", nil, onBackup, []class{plain("a"), plain("b"), labelled}, "a", ""},
		{"the backup's annotation for another driver", nil, map[string]string{backupClassPrefix + "file.example.com": "a"}, []class{plain("a"), labelled}, "labelled", ""},
		{"the label, whatever its value", nil, nil, []class{plain("a"), standard, labelled}, "labelled", ""},
		{"the label on another driver's class", nil, nil, []class{other, standard, plain("z")}, "standard", ""},
		{"the default class, whatever its value", nil, nil, []class{plain("a"), plain("b"), standard}, "standard", ""},
		{"the only one", nil, nil, []class{other, plain("a")}, "a", ""},
		{"case doesn't count", nil, nil, []class{{name: "a", driver: "Disk.Example.COM"}}, "a", ""},
		{"none", nil, nil, []class{other}, "", `there is no VolumeSnapshotClass of driver "disk.example.com"; hint: create one`},
		{"several and none is marked", nil, nil, []class{plain("b"), plain("a")}, "",
			`driver "disk.example.com" has several of kind VolumeSnapshotClass and none is marked (a, b); hint: label one of them velero.io/csi-volumesnapshot-class=true`},
		{"a misnamed one is told", map[string]string{claimClass: "gone"}, nil, []class{other}, "",
			`there is no VolumeSnapshotClass of driver "disk.example.com"; hint: create one (an annotation names "gone", which isn't one of this driver)`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := snapshotRules().choose(driver, &metav1.ObjectMeta{Annotations: tc.claim}, &metav1.ObjectMeta{Annotations: tc.backup}, tc.classes)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if got != tc.want || text != tc.err {
				t.Errorf("choose = %q, %q; want %q, %q", got, text, tc.want, tc.err)
			}
		})
	}
}

func TestGenerateName(t *testing.T) {
	t.Parallel()
	for claim, prefix := range map[string]string{
		"data":                   "velero-data-",
		strings.Repeat("x", 200): "velero-" + strings.Repeat("x", 51),
	} {
		name := generateName("velero-" + claim + "-")
		if len(name) != len(prefix)+5 || !strings.HasPrefix(name, prefix) || len(name) > 63 {
			t.Errorf("name of claim %q is %q", claim, name)
		}
	}
}

func TestRestoreName(t *testing.T) {
	t.Parallel()
	const want = "57885141405f7bd0b9f312b325ad150774c057047df8575447a0c267591ed64e"
	got := RestoreName("uid", "velero-data-x")
	if got != want {
		t.Errorf("restore name %q", got)
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	taker := &Taker{backup: &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: strings.Repeat("b", 70), UID: "u"}}}
	got := taker.labels(map[string]string{"app": "shop", velerov1.BackupNameLabel: "earlier", velerov1.RestoreNameLabel: "r"})
	want := map[string]string{"app": "shop", velerov1.BackupNameLabel: velerov1.ValidName(strings.Repeat("b", 70)), velerov1.BackupUIDLabel: "u"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestHopeless(t *testing.T) {
	t.Parallel()
	said := func(code string) string {
		return `Failed to create snapshot: failed to take snapshot of the volume v: "rpc error: code = ` + code + ` desc = because"`
	}
	for trouble, want := range map[string]bool{
		"": false, "failed to get input parameters": false,
		said("Unavailable"): false, said("ResourceExhausted"): false, said("Internal"): false, said("Aborted"): false,
		said("InvalidArgument"): true, said("NotFound"): true, said("PermissionDenied"): true,
	} {
		if got := hopeless(trouble); got != want {
			t.Errorf("hopeless(%q) = %t", trouble, got)
		}
	}
}

// objectsOf are the objects of a snapshot that is ready.
func objectsOf(edit func(*snapshotv1.VolumeSnapshot, *snapshotv1.VolumeSnapshotContent)) (*snapshotv1.VolumeSnapshot, *snapshotv1.VolumeSnapshotContent) {
	handle, ready, size := "snap-1", true, int64(3<<30)
	vs := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "velero-data-abcde", UID: "u", Labels: map[string]string{velerov1.BackupNameLabel: "nightly"},
	}}
	content := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "snapcontent-1"},
		Spec:       snapshotv1.VolumeSnapshotContentSpec{Driver: "disk.example.com", DeletionPolicy: snapshotv1.VolumeSnapshotContentRetain},
		Status:     &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: &handle, ReadyToUse: &ready, RestoreSize: &size},
	}
	vs.Status = &snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: &content.Name}
	if edit != nil {
		edit(vs, content)
	}
	return vs, content
}

// entryOf is what a Taker knows of them.
func entryOf(vs *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) *entry {
	class := &snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "only"}, DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete}
	e := &entry{Snapshot: Snapshot{Namespace: "shop", Claim: "data", Driver: "disk.example.com", Class: class.Name}, class: class, labels: packLabels(vs.Labels)}
	var facts *contentFacts
	if content != nil {
		facts = factsOfContent(content)
	}
	e.observed(factsOf(vs), facts)
	return e
}

func TestStoredClaim(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, claim, want string
		size              int64
	}{
		{"a larger snapshot raises the request",
			`{"metadata":{"name":"data","labels":{"app":"shop"},"generation":12345678901234567890},"spec":{"resources":{"requests":{"storage":"1Gi"}}}}`,
			`{"metadata":{"annotations":{"velero.io/volume-snapshot-name":"velero-data-abcde"},"generation":12345678901234567890,"labels":{"app":"shop","velero.io/backup-name":"nightly","velero.io/volume-snapshot-name":"velero-data-abcde"},"name":"data"},"spec":{"resources":{"requests":{"storage":"3Gi"}}}}`, 3 << 30},
		{"a smaller one doesn't, and its finalizer goes",
			`{"metadata":{"finalizers":["kubernetes.io/pvc-protection","snapshot.storage.kubernetes.io/pvc-as-source-protection"]},"spec":{"resources":{"requests":{"storage":"5G"}}}}`,
			`{"metadata":{"annotations":{"velero.io/volume-snapshot-name":"velero-data-abcde"},"finalizers":["kubernetes.io/pvc-protection"],"labels":{"velero.io/backup-name":"nightly","velero.io/volume-snapshot-name":"velero-data-abcde"}},"spec":{"resources":{"requests":{"storage":"5G"}}}}`, 3 << 30},
		{"one of unknown size", `{"spec":{"resources":{"requests":{"storage":"1Gi"}}}}`,
			`{"metadata":{"annotations":{"velero.io/volume-snapshot-name":"velero-data-abcde"},"labels":{"velero.io/backup-name":"nightly","velero.io/volume-snapshot-name":"velero-data-abcde"}},"spec":{"resources":{"requests":{"storage":"1Gi"}}}}`, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := StoredClaim([]byte(tc.claim), "nightly", &Snapshot{Name: "velero-data-abcde", RestoreSize: tc.size})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("stored claim (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStoredSnapshot(t *testing.T) {
	t.Parallel()
	vs, content := objectsOf(nil)
	e := entryOf(vs, content)
	e.group = &group{snapshot: &GroupSnapshot{Handle: "group-1"}}
	stored, err := storedSnapshot(vs, e)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		APIVersion, Kind string
		Metadata         struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(stored.JSON, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"velero.io/csi-volumesnapshot-handle": "snap-1", "velero.io/csi-driver-name": "disk.example.com",
		"velero.io/csi-vsc-deletion-policy": "Delete", "velero.io/csi-volumesnapshot-restore-size": "3Gi",
		"velero.io/csi-volumegroupsnapshot-handle": "group-1",
	}
	if diff := cmp.Diff(want, got.Metadata.Annotations); diff != "" || got.APIVersion != "snapshot.storage.k8s.io/v1" || got.Kind != "VolumeSnapshot" {
		t.Errorf("%s %s, annotations (-want +got):\n%s", got.APIVersion, got.Kind, diff)
	}
}

func TestStoredContentAndHandle(t *testing.T) {
	t.Parallel()
	const group1 = "group-1"
	for _, tc := range []struct {
		name  string
		group *group
		edit  func(*snapshotv1.VolumeSnapshot, *snapshotv1.VolumeSnapshotContent)
		want  Handle
	}{
		{"plain", nil, nil, Handle{Driver: "disk.example.com", Snapshot: "snap-1"}},
		{"with what snapshot-controller notes", nil, func(_ *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) {
			content.Annotations = map[string]string{deletionSecretName: "key", deletionSecretNamespace: "driver", nudged: "just now"}
			content.Labels = map[string]string{managedBy: "node-1"}
		}, Handle{Driver: "disk.example.com", Snapshot: "snap-1", SecretName: "key", SecretNamespace: "driver", Node: "node-1"}},
		{"a member of a group", &group{snapshot: &GroupSnapshot{Handle: group1, Members: []string{"snap-1", "snap-2"}}},
			func(_ *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) {
				handle := group1
				content.Status.VolumeGroupSnapshotHandle = &handle
			}, Handle{Driver: "disk.example.com", Snapshot: "snap-1", Group: group1, GroupMembers: []string{"snap-1", "snap-2"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			vs, content := objectsOf(tc.edit)
			e := entryOf(vs, content)
			e.group = tc.group
			stored, err := storedContent(content, e, "nightly")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(stored.JSON), "null") || strings.Contains(string(stored.JSON), nudged) {
				t.Errorf("stored content has what it shouldn't have: %s", stored.JSON)
			}
			var read snapshotv1.VolumeSnapshotContent
			if err := json.Unmarshal(stored.JSON, &read); err != nil {
				t.Fatal(err)
			}
			if read.Labels[velerov1.BackupNameLabel] != "nightly" || read.Kind != "VolumeSnapshotContent" || read.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentDelete {
				t.Errorf("kind %q, labels %v, policy %s", read.Kind, read.Labels, read.Spec.DeletionPolicy)
			}
			got, err := HandleOf(&read)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("handle (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := HandleOf(&snapshotv1.VolumeSnapshotContent{}); err == nil {
		t.Error("a content without handle has one")
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	content := map[string]string{deletionSecretName: "key", deletionSecretNamespace: "driver"}
	class := &snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		"csi.storage.k8s.io/snapshotter-list-secret-name": "lister", "csi.storage.k8s.io/snapshotter-list-secret-namespace": "driver",
		"csi.storage.k8s.io/snapshotter-secret-name": "key", "csi.storage.k8s.io/snapshotter-secret-namespace": "driver",
	}}}
	want := []types.NamespacedName{{Namespace: "driver", Name: "key"}, {Namespace: "driver", Name: "lister"}}
	if diff := cmp.Diff(want, secretsOf(content, class)); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestTimedOut(t *testing.T) {
	t.Parallel()
	vs, content := objectsOf(nil)
	for _, tc := range []struct {
		name string
		edit func(*entry)
		want string
	}{
		{"the controller is missing", func(e *entry) { e.bound, e.Handle = false, "" }, "no controller has taken notice of it; hint: see whether snapshot-controller runs"},
		{"the driver is missing", func(e *entry) { e.Handle = "" },
			`the driver has not answered; hint: see whether driver "disk.example.com" and its csi-snapshotter run`},
		{"it says why", func(e *entry) { e.trouble = "no space" }, "the last error is: no space"},
		{"it says nothing", func(*entry) {}, "the driver reports no error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := entryOf(vs, content)
			tc.edit(e)
			err := e.timedOut(stage{name: "cut", timeout: time.Minute})
			if want := "the snapshot is not cut after 1m0s: " + tc.want; err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
		})
	}
}

// TestErrorsThatStay shows that an error about a cut snapshot is forgiven for a
// while only.
func TestErrorsThatStay(t *testing.T) {
	t.Parallel()
	taker := &Taker{grace: time.Minute}
	failing := func(said string, since time.Duration) *entry {
		e := entryOf(objectsOf(func(_ *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) {
			content.Status.ReadyToUse, content.Status.Error = nil, &snapshotv1.VolumeSnapshotError{Message: &said}
		}))
		e.troubleSince = e.troubleSince.Add(-since)
		return e
	}
	for _, tc := range []struct {
		name  string
		e     *entry
		fails bool
	}{
		{"new", failing("code = Internal", 0), false},
		{"old", failing("code = Internal", 2*time.Minute), true},
		{"final, and new", failing("code = NotFound", 0), false}, // its source may be gone, which it needs no more
		{"final, and old", failing("code = NotFound", 2*time.Minute), true},
	} {
		if ready := taker.isReady(tc.e); ready || (tc.e.Err != nil) != tc.fails {
			t.Errorf("%s: ready %t, error %v", tc.name, ready, tc.e.Err)
		}
	}
}

// TestOnlyMarked tells what goes by itself from what doesn't.
func TestOnlyMarked(t *testing.T) {
	t.Parallel()
	marked, other := &markedError{"x is marked to be deleted"}, errors.New("forbidden")
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":      {nil, false},
		"one":          {fmt.Errorf("remove: %w", errors.Join(nil, marked)), true},
		"several":      {errors.Join(marked, errors.Join(marked, marked)), true},
		"another, too": {errors.Join(marked, other), false},
		"another":      {other, false},
	} {
		if got := OnlyMarked(c.err); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestAnswersOfTheSidecar(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]bool{
		"": false,
		`failed to list snapshot for content x: "can not find snapshot for snapshotID s"`:             true,
		`failed to list snapshot for content x: "rpc error: code = NotFound desc = no such snapshot"`: true,
		`failed to list snapshot for content x: "rpc error: code = Unavailable desc = busy"`:          false,
	} {
		if got := notThere(said); got != want {
			t.Errorf("notThere(%q) = %t", said, got)
		}
	}
	made := metav1.NewTime(time.Unix(1000, 0))
	for _, tc := range []struct {
		name     string
		cut      int64
		size     *int64
		invented bool
	}{
		{"cut before it was asked for", 999e9, nil, false},
		{"cut when it was asked for", 1000e9 + 5, nil, true},
		{"cut just now, with a size", 1001e9, new(int64), false},
	} {
		content := &snapshotv1.VolumeSnapshotContent{
			ObjectMeta: metav1.ObjectMeta{CreationTimestamp: made},
			Status:     &snapshotv1.VolumeSnapshotContentStatus{CreationTime: &tc.cut, RestoreSize: tc.size},
		}
		if got := invented(content) != nil; got != tc.invented {
			t.Errorf("%s: invented = %t", tc.name, got)
		}
	}
}

func TestRestoreSize(t *testing.T) {
	t.Parallel()
	size := resource.MustParse("2Gi")
	vs, content := objectsOf(func(vs *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) {
		vs.Status.RestoreSize, content.Status.RestoreSize = &size, nil
	})
	if got := entryOf(vs, content).RestoreSize; got != 2<<30 {
		t.Errorf("restore size %d", got)
	}
}

// TestLabelsArePacked and come back as they were.
func TestLabelsArePacked(t *testing.T) {
	t.Parallel()
	want := map[string]string{"app.kubernetes.io/name": "shop", "tier": "", "velero.io/backup-uid": "a-b_c.d"}
	if diff := cmp.Diff(want, unpackLabels(packLabels(want))); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}
