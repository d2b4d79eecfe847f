//go:build integration

package csi

import (
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// contentsOf are the contents of the backup's snapshots, by name.
func (w *world) contentsOf() map[string]*contentFacts {
	w.Helper()
	s, err := w.client.read(w.Context(), ownerSelector(w.backup.Name, w.backup.UID))
	w.must(err)
	return s.contents
}

// forget is what maintenance does after the commit.
func (w *world) forget() error {
	_, err := w.client.Forget(w.Context(), w.backup.Name, string(w.backup.UID))
	return err
}

// lose deletes the objects of the one group that a Taker took, but for the members'
// contents.
func (w *world) lose(taker *Taker) {
	w.Helper()
	w.empty(taker)
	contents, name := taker.groupAPI.contents(w.client), taker.taken[0].group.content
	w.must(contents.Delete(w.Context(), name, metav1.DeleteOptions{}))
	w.eventually("the group's content is gone", func() bool {
		_, err := taker.groupAPI.patchContent(w.Context(), w.client, name, nudge(true, groupBeingDeleted))
		return apierrors.IsNotFound(err)
	})
}

// TestUnmarkedDataStays: contents of an older executor, or of a Velero server, have the
// backup's labels and nothing else. The backup is committed; its data isn't touched.
func TestUnmarkedDataStays(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := append(w.claims(2, velerov1.VolumeGroupLabel, "db"), w.claim("alone"))
	taker := w.taker(Options{})
	if errs := errsOf(w.cut(taker, claims...)); len(errs) > 0 {
		t.Fatal(errs)
	}
	w.wait(taker)
	w.must(taker.Keep(t.Context()))
	unmark := mustEncode(map[string]any{"metadata": map[string]any{"labels": map[string]any{kept: nil}}})
	for name := range w.contentsOf() {
		_, err := w.client.patchContent(t.Context(), name, unmark)
		w.must(err)
	}
	for _, g := range groupsOf(taker.taken) {
		_, err := taker.groupAPI.contents(w.client).Patch(t.Context(), g.content, types.MergePatchType, unmark, metav1.PatchOptions{})
		w.must(err)
	}
	w.must(w.forget())
	w.noObjects()
	w.stored(3)
}

// TestKeptByAnAttemptThatDied: it kept its data and died before the commit. The next
// attempt's removal is not done when that one commits: the data goes all the same.
func TestKeptByAnAttemptThatDied(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := append(w.claims(2, velerov1.VolumeGroupLabel, "db"), w.claim("alone"))
	dying := w.taker(Options{})
	if errs := errsOf(w.cut(dying, claims...)); len(errs) > 0 {
		t.Fatal(errs)
	}
	w.wait(dying)
	w.must(dying.Keep(t.Context()))
	w.KillDriver(t)
	if _, err := w.client.NewSweep(2*time.Second).Leftovers(t.Context(), w.backup.Name, string(w.backup.UID)); !OnlyMarked(err) {
		t.Errorf("leftovers of a dead driver: %v", err)
	}
	patience := w.client.patience
	w.client.patience = 2 * time.Second
	if err := w.forget(); err != nil && !OnlyMarked(err) {
		t.Errorf("forget: %v", err)
	}
	for name, content := range w.contentsOf() {
		if content.mark != notKept || content.policy != snapshotv1.VolumeSnapshotContentDelete {
			t.Errorf("content %s: mark %q, policy %s", name, content.mark, content.policy)
		}
	}
	w.client.patience = patience
	w.StartDriver(t)
	w.eventually("all goes", func() bool {
		w.must(w.forget())
		return len(w.contentsOf()) == 0 && len(w.Snapshots(t)) == 0
	})
	w.noObjects()
}

// TestLostGroupKeepsItsTrace: as long as the driver doesn't delete a group of which only
// the members are left, these stay, after a failure as after a commit.
func TestLostGroupKeepsItsTrace(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	dying := w.taker(Options{})
	if errs := errsOf(w.cut(dying, w.claims(3, velerov1.VolumeGroupLabel, "db")...)); len(errs) > 0 {
		t.Fatal(errs)
	}
	w.wait(dying)
	w.must(dying.Keep(t.Context()))
	w.lose(dying)
	w.Fault(t, testenv.CSIFault{Method: "DeleteVolumeGroupSnapshot", Code: "Unavailable", Message: "later"})
	patience := w.client.patience
	w.client.patience = 3 * time.Second
	for _, remove := range []struct {
		name string
		do   func() error
	}{
		{"leftovers", func() error {
			_, err := w.client.Leftovers(t.Context(), w.backup.Name, string(w.backup.UID))
			return err
		}},
		{"forget", w.forget},
	} {
		if err := remove.do(); !OnlyMarked(err) {
			t.Errorf("%s: %v", remove.name, err)
		}
		contents := w.contentsOf()
		for name, content := range contents {
			if content.mark != notKept || content.deleting {
				t.Errorf("%s: content %s: mark %q, deleting %t", remove.name, name, content.mark, content.deleting)
			}
		}
		if len(contents) != 3 {
			t.Errorf("%s: %d contents are left", remove.name, len(contents))
		}
	}
	w.stored(3)
	w.client.patience = patience
	w.Fault(t)
	w.must(w.forget())
	w.noObjects()
	w.stored(0)
}
