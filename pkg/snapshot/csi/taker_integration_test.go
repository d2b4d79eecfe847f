//go:build integration

package csi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func decode(encoded []byte, into any) error { return json.Unmarshal(encoded, into) }

// TestTakeAndDelete is the whole life of snapshots.
func TestTakeAndDelete(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := w.claims(3, "app", "shop")
	taker := w.taker(Options{})
	w.must(taker.CanTake(claims[0]))
	begun := time.Now()
	cut := w.cut(taker, claims...)
	t.Logf("three were cut in %s", time.Since(begun))
	if errs := errsOf(cut); len(errs) > 0 {
		t.Fatal(errs)
	}
	for i, s := range cut {
		if s.Claim != claims[i].PVC.Name || s.Handle == "" || s.Class != w.Driver || s.Driver != w.Driver {
			t.Errorf("snapshot %d: %+v", i, s)
		}
		if parts := strings.Split(s.OperationID(), "/"); len(parts) != 3 || parts[1] != s.Name {
			t.Errorf("operation id %q", s.OperationID())
		}
	}
	ready := w.wait(taker)
	for _, s := range ready {
		if s.Err != nil || s.Ready == nil || !*s.Ready || s.Ended == nil || s.RestoreSize != 1<<30 {
			t.Errorf("claim %s: %+v", s.Claim, s)
		}
	}
	if n, all := taker.Progress(); n != 3 || all != 3 {
		t.Errorf("%d of %d are ready", n, all)
	}
	handles := w.handles(taker)
	w.checkArchived(taker, ready)
	w.must(taker.Keep(t.Context()))
	w.must(taker.Release(t.Context()))
	w.noObjects()
	w.stored(3)
	for _, h := range handles {
		exists, err := w.client.Exists(t.Context(), h, time.Minute)
		if err != nil || !exists {
			t.Errorf("exists = %t, %v", exists, err)
		}
	}
	for _, h := range handles[1:] {
		w.must(w.client.Delete(t.Context(), h, time.Minute))
	}
	w.stored(1)
	w.must(w.client.Delete(t.Context(), handles[1], time.Minute)) // is gone
	w.must(w.client.Delete(t.Context(), handles[0], time.Minute))
	exists, err := w.client.Exists(t.Context(), handles[0], time.Minute)
	if err != nil || exists {
		t.Errorf("after deletion: exists = %t, %v", exists, err)
	}
	w.stored(0)
	w.noObjects()
}

// checkArchived checks what the archive has of snapshots that are ready.
func (w *world) checkArchived(taker *Taker, ready []*Snapshot) {
	w.Helper()
	archived := w.archived(taker)
	if len(archived) != 2*len(ready)+1 || archived[KindClass+" "+w.Driver] == nil {
		w.Errorf("archived: %q", slices.Sorted(maps.Keys(archived)))
	}
	want := map[string]string{"app": "shop", velerov1.BackupNameLabel: "nightly", velerov1.BackupUIDLabel: string(w.backup.UID)}
	for _, s := range ready {
		var vs snapshotv1.VolumeSnapshot
		w.must(decode(archived[KindSnapshot+" "+s.Name], &vs))
		if diff := cmp.Diff(want, vs.Labels); diff != "" || *vs.Spec.Source.PersistentVolumeClaimName != s.Claim {
			w.Errorf("source %+v, labels (-want +got):\n%s", vs.Spec.Source, diff)
		}
		var content snapshotv1.VolumeSnapshotContent
		w.must(decode(archived[KindContent+" "+s.Content], &content))
		if content.Labels[velerov1.BackupNameLabel] != "nightly" || content.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentDelete {
			w.Errorf("content has labels %v and policy %s", content.Labels, content.Spec.DeletionPolicy)
		}
	}
}

// TestCutIsShort shows that all are cut before any needs to be ready, and that ten
// take hardly longer than one.
func TestCutIsShort(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	w.Fault(t, testenv.CSIFault{NotReady: 3})
	taker := w.taker(Options{})
	cut := w.cut(taker, w.claims(10)...)
	for _, s := range cut {
		if s.Err != nil || s.Handle == "" {
			t.Errorf("claim %s: %v", s.Claim, s.Err)
		}
	}
	if errs := errsOf(w.wait(taker)); len(errs) > 0 {
		t.Error(errs)
	}
	w.must(taker.Discard(t.Context()))
	w.stored(0)
	w.noObjects()
}

func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fault  testenv.CSIFault
		errors map[string]string // part of the error by claim, data-0 to data-3
		wait   bool              // the error comes with Wait
	}{
		{"a quota is used up", testenv.CSIFault{Method: "CreateSnapshot", ID: "data-[01]$", Code: "ResourceExhausted", Message: "no more than 2"},
			map[string]string{"data-0": "is not cut after 20s: the last error is: ", "data-1": "no more than 2"}, false},
		{"the driver will never take it", testenv.CSIFault{Method: "CreateSnapshot", ID: "data-2$", Code: "InvalidArgument", Message: "not this one"},
			map[string]string{"data-2": "the driver refuses to take the snapshot: "}, false},
		{"it is busy for a while", testenv.CSIFault{Method: "CreateSnapshot", Code: "Aborted", Message: "pending", Times: 6}, map[string]string{}, false},
		{"its answers get lost", testenv.CSIFault{Method: "CreateSnapshot", Code: "DeadlineExceeded", Message: "too slow", Late: true, Times: 4}, map[string]string{}, false},
		{"one is never ready", testenv.CSIFault{ID: "data-3$", NotReady: -1},
			map[string]string{"data-3": "is not ready to use after 20s: the driver reports no error"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, testenv.CSIOptions{})
			claims := w.claims(4)
			patience := w.client.patience
			w.client.patience = 3 * time.Second // what can't be deleted yet isn't waited for
			w.Fault(t, tc.fault)
			// Those that are fine have to make it, too.
			taker := w.taker(Options{Cut: 20 * time.Second, Ready: 20 * time.Second})
			got := w.cut(taker, claims...)
			ready := w.wait(taker)
			if tc.wait {
				if errs := errsOf(got); len(errs) > 0 {
					t.Errorf("errors of the cut: %v", errs)
				}
				got = ready
			}
			errs := errsOf(got)
			for claim, part := range tc.errors {
				if !strings.Contains(errs[claim], part) {
					t.Errorf("error of %s = %q, want %q in it", claim, errs[claim], part)
				}
			}
			if len(errs) != len(tc.errors) {
				t.Errorf("errors = %v", errs)
			}
			w.client.patience = patience
			w.must(taker.Keep(t.Context()))
			w.Fault(t) // so that what couldn't be deleted yet goes
			w.must(taker.Release(t.Context()))
			w.eventually("objects go", func() bool { // maintenance looks for them again and again
				_, err := w.client.Forget(t.Context(), w.backup.Name, string(w.backup.UID))
				w.must(err)
				owners, err := w.client.Owners(t.Context())
				w.must(err)
				return !slices.Contains(owners, Owner{w.backup.Name, string(w.backup.UID)})
			})
			w.stored(4 - len(tc.errors))
			w.noObjects()
		})
	}
}

// TestDriverIsGoneInTheMiddle kills driver and controller while snapshots are cut.
func TestDriverIsGoneInTheMiddle(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := w.claims(3)
	w.KillDriver(t)
	taker := w.taker(Options{})
	done := make(chan []*Snapshot)
	go func() { done <- w.cut(taker, claims...) }()
	w.eventually("contents are asked for", func() bool {
		s, err := w.client.read(t.Context(), ownerSelector(w.backup.Name, w.backup.UID))
		return err == nil && len(s.contents) == 3
	})
	w.RestartController(t)
	w.StartDriver(t)
	if errs := errsOf(<-done); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := errsOf(w.wait(taker)); len(errs) > 0 {
		t.Error(errs)
	}
	w.must(taker.Keep(t.Context()))
	w.must(taker.Discard(t.Context()))
	w.stored(0)
	w.noObjects()
}

// TestDriverNeverAnswers shows what is said, and that nothing comes of it later.
func TestDriverNeverAnswers(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := w.claims(1)
	w.KillDriver(t)
	w.client.patience = 2 * time.Second
	taker := w.taker(Options{Cut: 6 * time.Second})
	errs := errsOf(w.cut(taker, claims...))
	if !strings.Contains(errs["data-0"], "the driver has not answered; hint: ") {
		t.Errorf("errors = %v", errs)
	}
	err := taker.Discard(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is marked to be deleted, but driver") {
		t.Errorf("discard: %v", err)
	}
	w.StartDriver(t)
	w.eventually("objects go", func() bool {
		s, err := w.client.read(t.Context(), ownerSelector(w.backup.Name, w.backup.UID))
		return err == nil && len(s.snapshots)+len(s.contents) == 0
	})
	w.stored(0)
	w.noObjects()
}

// TestLeftovers removes what a backup that died left: at any point, and also with a
// class whose policy is to keep.
func TestLeftovers(t *testing.T) {
	for _, policy := range []snapshotv1.DeletionPolicy{snapshotv1.VolumeSnapshotContentDelete, snapshotv1.VolumeSnapshotContentRetain} {
		t.Run(string(policy), func(t *testing.T) {
			w := newWorld(t, testenv.CSIOptions{})
			class := &snapshotv1.VolumeSnapshotClass{
				ObjectMeta: metav1.ObjectMeta{Name: w.Driver + "-other"}, Driver: w.Driver, DeletionPolicy: policy,
			}
			_, err := w.client.snapshots.SnapshotV1().VolumeSnapshotClasses().Create(t.Context(), class, metav1.CreateOptions{})
			w.must(err)
			w.backup.Annotations = map[string]string{backupClassPrefix + strings.ToLower(w.Driver): class.Name}
			claims := w.claims(4)
			cut := w.cut(w.taker(Options{}), claims[:2]...)
			if cut[0].Class != class.Name {
				t.Errorf("class %q", cut[0].Class)
			}
			// Of one, somebody has deleted the VolumeSnapshot; its content may be there.
			w.must(w.client.volumeSnapshots(w.namespace).Delete(t.Context(), cut[0].Name, metav1.DeleteOptions{}))
			// Of two, the process died right after it had asked for them.
			dying := w.taker(Options{})
			entries := []*entry{dying.prepare(claims[2]), dying.prepare(claims[3])}
			dying.begin(t.Context(), entries)
			owners, err := w.client.Owners(t.Context())
			if err != nil || !slices.Contains(owners, Owner{w.backup.Name, string(w.backup.UID)}) {
				t.Errorf("owners = %v, %v", owners, err)
			}
			n, err := w.client.Leftovers(t.Context(), w.backup.Name, string(w.backup.UID))
			if err != nil || n < 3 {
				t.Errorf("leftovers = %d, %v", n, err)
			}
			w.stored(0)
			w.noObjects()
		})
	}
}

// TestOthersAreLeftAlone shows that only what is this backup's is removed.
func TestOthersAreLeftAlone(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := w.claims(3)
	taker := w.taker(Options{})
	w.cut(taker, claims[0])
	other := *w.backup
	other.UID = "another"
	another, err := w.client.NewTaker(t.Context(), &other, Options{})
	w.must(err)
	w.cut(another, claims[1])
	restored := w.cut(w.taker(Options{}), claims[2])[0]
	_, err = w.client.volumeSnapshots(w.namespace).Patch(t.Context(), restored.Name, types.MergePatchType,
		metadataPatch("labels", map[string]string{velerov1.RestoreNameLabel: "r"}), metav1.PatchOptions{})
	w.must(err)
	_, err = w.client.patchContent(t.Context(), restored.Content, metadataPatch("labels", map[string]string{velerov1.RestoreNameLabel: "r"}))
	w.must(err)
	w.must(taker.Discard(t.Context()))
	w.stored(2)
	if _, err := w.client.Leftovers(t.Context(), w.backup.Name, ""); !errors.Is(err, errNoUID) {
		t.Errorf("leftovers without uid: %v", err)
	}
	w.must(another.Discard(t.Context()))
	w.must(w.client.remover().remove(t.Context(), []object{{namespace: w.namespace, name: restored.Name}}, snapshotv1.VolumeSnapshotContentDelete))
	w.stored(0)
	w.noObjects()
}

// TestKeptDataOutlivesTheNamespace deletes the objects as the end of a namespace
// does, before the backup could remove them.
func TestKeptDataOutlivesTheNamespace(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	taker := w.taker(Options{})
	w.cut(taker, w.claims(2)...)
	w.wait(taker)
	w.must(taker.Keep(t.Context()))
	w.must(w.client.volumeSnapshots(w.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
	n, err := w.client.Forget(t.Context(), w.backup.Name, string(w.backup.UID))
	if err != nil || n != 2 {
		t.Errorf("forget = %d, %v", n, err)
	}
	w.stored(2)
	w.noObjects()
	n, err = w.client.Forget(t.Context(), w.backup.Name, string(w.backup.UID))
	if err != nil || n != 0 {
		t.Errorf("forget again = %d, %v", n, err)
	}
}

// TestSnapshotsDeletedMeanwhile deletes objects while a backup waits: a VolumeSnapshot
// that goes with its namespace leaves the data to the backup, a content that somebody
// deletes doesn't, and is told.
func TestSnapshotsDeletedMeanwhile(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	w.Fault(t, testenv.CSIFault{Method: "CreateSnapshot", NotReady: 3})
	taker := w.taker(Options{})
	cut := w.cut(taker, w.claims(3)...)
	w.must(w.client.volumeSnapshots(w.namespace).Delete(t.Context(), cut[0].Name, metav1.DeleteOptions{}))
	w.must(w.client.volumeSnapshots(w.namespace).Delete(t.Context(), cut[1].Name, metav1.DeleteOptions{}))
	if errs := errsOf(w.wait(taker)); len(errs) != 0 {
		t.Errorf("errors = %v", errs)
	}
	w.must(taker.Keep(t.Context()))
	w.must(w.client.contents().Delete(t.Context(), cut[2].Content, metav1.DeleteOptions{}))
	if err := taker.Keep(t.Context()); err == nil || !strings.Contains(err.Error(), cut[2].Content) {
		t.Errorf("keep: %v", err)
	}
	w.stored(3)
	w.must(taker.Discard(t.Context()))
	w.noObjects()
}

// TestCutEndsWithItsContext leaves everything to Discard.
func TestCutEndsWithItsContext(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	w.Fault(t, testenv.CSIFault{Method: "CreateSnapshot", Code: "Unavailable", Message: "later"})
	taker := w.taker(Options{})
	claims := w.claims(2)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := taker.Cut(ctx, claims); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cut: %v", err)
	}
	w.Fault(t)
	w.must(taker.Discard(t.Context()))
	w.stored(0)
	w.noObjects()
}

func TestDeleteRefused(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	taker := w.taker(Options{})
	w.cut(taker, w.claims(1)...)
	w.wait(taker)
	handle := w.handles(taker)[0]
	w.must(taker.Keep(t.Context()))
	w.must(taker.Release(t.Context()))
	w.Fault(t, testenv.CSIFault{Method: "DeleteSnapshot", Code: "FailedPrecondition", Message: "a clone needs it"})
	err := w.client.Delete(t.Context(), handle, 10*time.Second)
	if err == nil || !strings.Contains(err.Error(), "Failed to delete snapshot") || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("delete: %v", err)
	}
	w.noObjects()
	w.stored(1)
	w.Fault(t)
	w.KillDriver(t)
	err = w.client.Delete(t.Context(), handle, 2*time.Second)
	if err == nil || !strings.Contains(err.Error(), "driver") {
		t.Errorf("delete without driver: %v", err)
	}
	if exists, err := w.client.Exists(t.Context(), handle, 2*time.Second); err == nil || exists {
		t.Errorf("exists without driver = %t, %v", exists, err)
	}
	w.noObjects()
	w.StartDriver(t)
	w.stored(1)
	w.must(w.client.Delete(t.Context(), handle, time.Minute))
	w.stored(0)
	w.noObjects()
}

// TestNobodyToAsk names what is missing.
func TestNobodyToAsk(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	handle := Handle{Driver: "none.example.com", Snapshot: "s"}
	err := w.client.Delete(t.Context(), handle, time.Second)
	if err == nil || !strings.Contains(err.Error(), `no driver "none.example.com" is installed`) {
		t.Errorf("delete: %v", err)
	}
	_, err = w.client.Exists(t.Context(), handle, time.Second)
	if err == nil || !strings.Contains(err.Error(), `no driver "none.example.com" is installed`) {
		t.Errorf("exists: %v", err)
	}
	contents, err := w.client.contents().List(t.Context(), metav1.ListOptions{})
	w.must(err)
	for _, content := range contents.Items {
		if content.Spec.Driver == handle.Driver {
			t.Errorf("left: %s", content.Name)
		}
	}
}

// TestNoClass names what to do, and takes nothing.
func TestNoClass(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{NoClass: true})
	claim := w.claim("data")
	taker := w.taker(Options{})
	if err := taker.CanTake(claim); err == nil || !strings.Contains(err.Error(), "there is no VolumeSnapshotClass of driver") {
		t.Errorf("can take: %v", err)
	}
	errs := errsOf(w.cut(taker, claim))
	if !slices.Equal(slices.Collect(maps.Keys(errs)), []string{"data"}) {
		t.Errorf("errors = %v", errs)
	}
	served, err := w.client.Served(t.Context())
	if err != nil || !served {
		t.Errorf("served = %t, %v", served, err)
	}
	w.noObjects()
}
