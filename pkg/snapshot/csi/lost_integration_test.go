//go:build integration

package csi

import (
	"context"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// empty deletes the snapshots and group snapshots of the namespace, as its end does:
// again and again, since the controller may be making members still. It is reminded of
// those that stay, which it comes back to by itself only after a quarter of an hour.
func (w *world) empty(taker *Taker) {
	w.Helper()
	groups, snapshots := taker.groupAPI.snapshots(w.client).Namespace(w.namespace), w.client.volumeSnapshots(w.namespace)
	w.eventually("the namespace is empty", func() bool {
		w.must(groups.DeleteCollection(w.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
		w.must(snapshots.DeleteCollection(w.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
		left, err := groups.List(w.Context(), metav1.ListOptions{})
		w.must(err)
		members, err := snapshots.List(w.Context(), metav1.ListOptions{})
		w.must(err)
		for i := range left.Items {
			_, err := groups.Patch(w.Context(), left.Items[i].GetName(), types.MergePatchType, nudge(false, ""), metav1.PatchOptions{})
			w.must(ignoreNotFound(err))
		}
		for i := range members.Items {
			_, err := snapshots.Patch(w.Context(), members.Items[i].Name, types.MergePatchType, nudge(false, ""), metav1.PatchOptions{})
			w.must(ignoreNotFound(err))
		}
		return len(left.Items)+len(members.Items) == 0
	})
}

// TestGroupOutlivesItsNamespace: the namespace goes after the cut, long before the
// backup keeps anything. The data is the backup's all the same, until it is discarded.
func TestGroupOutlivesItsNamespace(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*world, *Taker)
		left int
	}{
		{"and the backup commits", func(w *world, taker *Taker) {
			if errs := errsOf(w.wait(taker)); len(errs) > 0 {
				w.Errorf("errors %v", errs)
			}
			if archived := w.archived(taker); len(archived) != 6 {
				w.Errorf("%d objects are archived", len(archived))
			}
			w.must(taker.Keep(w.Context()))
			w.must(taker.Release(w.Context()))
		}, 3},
		{"and the backup fails", func(w *world, taker *Taker) { w.must(taker.Discard(w.Context())) }, 0},
		{"and the backup fails at its end", func(w *world, taker *Taker) {
			w.wait(taker)
			w.must(taker.Keep(w.Context()))
			w.must(taker.Discard(w.Context()))
		}, 0},
		{"and the process dies", func(w *world, _ *Taker) {
			owners, err := w.client.Owners(w.Context())
			w.must(err)
			for _, owner := range owners {
				if owner.UID == string(w.backup.UID) {
					_, err := w.client.Leftovers(w.Context(), owner.Backup, owner.UID)
					w.must(err)
				}
			}
		}, 0},
		{"and somebody deletes the group's content", func(w *world, taker *Taker) {
			contents, name := taker.groupAPI.contents(w.client), taker.taken[0].group.content
			w.must(contents.Delete(w.Context(), name, metav1.DeleteOptions{}))
			w.eventually("the content is gone", func() bool {
				// csi-snapshotter lets go of one that is to be kept as soon as it looks at it.
				_, err := taker.groupAPI.patchContent(w.Context(), w.client, name, nudge(true, groupBeingDeleted))
				return apierrors.IsNotFound(err)
			})
			if err := taker.Keep(w.Context()); err == nil {
				w.Error("a group without its content was kept")
			}
			w.must(taker.Discard(w.Context()))
		}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, testenv.CSIOptions{})
			taker := w.taker(Options{})
			if errs := errsOf(w.cut(taker, w.claims(3, velerov1.VolumeGroupLabel, "db")...)); len(errs) > 0 {
				t.Fatal(errs)
			}
			w.empty(taker)
			w.stored(3)
			tc.end(w, taker)
			w.noObjects()
			w.stored(tc.left)
		})
	}
}

// TestGroupDiesEarly kills the process when only the group's content bears the
// backup's labels, and its members' objects are left with data to be kept.
func TestGroupDiesEarly(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := w.claims(3, velerov1.VolumeGroupLabel, "db")
	dying := w.taker(Options{})
	e := dying.prepare(claims[0])
	dying.begin(t.Context(), []*entry{e})
	w.eventually("the group is cut", func() bool {
		snapshot, err := dying.groupAPI.getSnapshot(t.Context(), w.client, w.namespace, e.group.name)
		w.must(err)
		if e.group.content = snapshot.Status.Content; e.group.content == "" {
			return false
		}
		content, err := e.group.readContent(t.Context(), dying)
		if ignoreNotFound(err) != nil || content == nil || len(content.snapshot().Members) != 3 {
			return false
		}
		members := 0
		w.must(w.client.eachSnapshot(t.Context(), w.namespace, "", func(vs *snapshotv1.VolumeSnapshot) {
			// The controller never lets go of one that is deleted before this.
			if boundContent(vs) != "" && vs.Status.VolumeGroupSnapshotName != nil {
				members++
			}
		}))
		return members == 3
	})
	w.empty(dying)
	w.stored(3)
	_, err := w.client.Leftovers(t.Context(), w.backup.Name, string(w.backup.UID))
	w.must(err)
	w.noObjects()
	w.stored(0)
}

// TestFailedDataIsNotKept: what failed and couldn't be removed yet bears all that a
// snapshot of the backup does, but for Keep's word. It goes after the commit.
func TestFailedDataIsNotKept(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := append(w.claims(2, velerov1.VolumeGroupLabel, "db"), w.claim("alone"), w.claim("good"))
	taker := w.taker(Options{})
	w.cut(taker, claims...)
	w.wait(taker)
	for _, e := range taker.taken {
		if e.Claim != "good" {
			e.fail(errDeleted)
			if e.group != nil {
				e.group.doomed = true
			}
		}
	}
	w.must(taker.Keep(t.Context()))
	w.must(taker.Release(t.Context()))
	w.noObjects()
	w.stored(1)
}

// TestDeadDriverIsWaitedForOnce however many backups left snapshots of it.
func TestDeadDriverIsWaitedForOnce(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := append(w.claims(2, velerov1.VolumeGroupLabel, "db"), w.claim("more"), w.claim("other"))
	second := *w.backup
	second.UID += "-2"
	w.cut(w.taker(Options{}), claims...)
	taker, err := w.client.NewTaker(t.Context(), &second, Options{})
	w.must(err)
	w.cut(taker, claims[2:]...)
	w.KillDriver(t)

	sweep := w.client.NewSweep(2 * time.Second)
	if _, err := sweep.Leftovers(t.Context(), w.backup.Name, string(w.backup.UID)); !OnlyMarked(err) {
		t.Errorf("leftovers of a dead driver: %v", err)
	}
	// Would the next wait, then for so long that the context ends, which is another error.
	sweep.patience = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if _, err := sweep.Leftovers(ctx, second.Name, string(second.UID)); !OnlyMarked(err) || ctx.Err() != nil {
		t.Errorf("leftovers of another backup: %v", err)
	}
	if silent := sweep.Silent(); len(silent) != 1 || silent[0].Driver != w.Driver {
		t.Errorf("silent: %+v", silent)
	}
	w.stored(6)

	w.StartDriver(t)
	for _, uid := range []string{string(w.backup.UID), string(second.UID)} {
		_, err := w.client.Leftovers(t.Context(), w.backup.Name, uid)
		w.must(err)
	}
	w.noObjects()
	w.stored(0)
}
