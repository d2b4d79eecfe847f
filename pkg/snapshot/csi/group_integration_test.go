//go:build integration

package csi

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// TestGroup is the whole life of a group snapshot. One of its claims comes in a
// second call, one isn't in the backup at all.
func TestGroup(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	claims := w.claims(4, velerov1.VolumeGroupLabel, "db")
	alone := w.claim("alone")
	taker := w.taker(Options{})
	w.must(taker.CanTake(claims[0]))
	first := w.cut(taker, claims[0], alone, claims[1])
	second := w.cut(taker, claims[2])
	if errs := errsOf(append(first, second...)); len(errs) > 0 {
		t.Fatal(errs)
	}
	w.stored(5) // one group's, however often the driver was asked for it
	ready := w.wait(taker)
	if errs := errsOf(ready); len(errs) > 0 || len(ready) != 4 {
		t.Fatalf("%d are ready, errors %v", len(ready), errs)
	}
	for _, s := range ready {
		if s.Claim == "alone" {
			if s.Group != nil {
				t.Errorf("alone is in group %q", s.Group.Handle)
			}
			continue
		}
		if s.Group == nil || s.Group.Handle == "" || len(s.Group.Members) != 4 || s.Name == "" || s.Class != "" {
			t.Errorf("claim %s: %+v, group %+v", s.Claim, s, s.Group)
		}
	}
	handles := w.handles(taker)
	w.must(taker.Keep(t.Context()))
	w.must(taker.Release(t.Context()))
	w.noObjects()
	w.stored(5)
	for _, h := range handles {
		if exists, err := w.client.Exists(t.Context(), h, time.Minute); err != nil || !exists {
			t.Errorf("%s: exists = %t, %v", h, exists, err)
		}
	}
	lone := handles[slices.IndexFunc(handles, func(h Handle) bool { return h.Group != "" })]
	lone.Group, lone.GroupMembers = "", nil
	if err := w.client.Delete(t.Context(), lone, time.Minute); err == nil || !strings.Contains(err.Error(), "member") && !strings.Contains(err.Error(), "group") {
		t.Errorf("delete a member alone: %v", err)
	}
	w.stored(5)
	errs := make([]error, len(handles))
	w.client.each(len(handles), func(i int) { errs[i] = w.client.Delete(t.Context(), handles[i], time.Minute) })
	w.must(errors.Join(errs...))
	w.stored(0)
	w.noObjects()
}

func TestGroupIsDiscarded(t *testing.T) {
	for _, tc := range []struct {
		name string
		when func(*world, *Taker)
	}{
		{"when it was asked for", func(w *world, taker *Taker) {}},
		{"when it is ready", func(w *world, taker *Taker) { w.wait(taker) }},
		{"when it was kept", func(w *world, taker *Taker) { w.wait(taker); w.must(taker.Keep(w.Context())) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, testenv.CSIOptions{})
			claims := w.claims(3, "tier", "db")
			w.backup.Spec.VolumeGroupSnapshotLabelKey = "tier"
			taker := w.taker(Options{})
			if tc.name == "when it was asked for" {
				taker.begin(t.Context(), []*entry{taker.prepare(claims[0])})
			} else {
				w.cut(taker, claims...)
			}
			tc.when(w, taker)
			w.must(taker.Discard(t.Context()))
			w.noObjects()
			w.stored(0)
		})
	}
}

func TestGroupFails(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault testenv.CSIFault
		want  string
	}{
		{"for good", testenv.CSIFault{Method: "CreateVolumeGroupSnapshot", Code: "InvalidArgument", Message: "not together"}, "the driver refuses to take the snapshot of group \"db\": "},
		{"for too long", testenv.CSIFault{Method: "CreateVolumeGroupSnapshot", Code: "Unavailable", Message: "later"}, "is not cut after 20s: the last error is: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, testenv.CSIOptions{})
			claims := append(w.claims(2, velerov1.VolumeGroupLabel, "db"), w.claim("alone"))
			w.Fault(t, tc.fault)
			patience := w.client.patience
			w.client.patience = 2 * time.Second
			taker := w.taker(Options{Cut: 20 * time.Second})
			errs := errsOf(w.cut(taker, claims...))
			if len(errs) != 2 || !strings.Contains(errs["data-0"], tc.want) || !strings.Contains(errs["data-1"], tc.want) {
				t.Errorf("errors = %v", errs)
			}
			if errs := errsOf(w.wait(taker)); len(errs) > 0 {
				t.Errorf("errors of the others: %v", errs)
			}
			w.Fault(t)
			w.client.patience = patience
			w.must(taker.Discard(t.Context()))
			w.noObjects()
			w.stored(0)
		})
	}
}

// TestGroupNeedsAClass says which, and where it is marked.
func TestGroupNeedsAClass(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{NoClass: true})
	claim := w.claim("data", velerov1.VolumeGroupLabel, "db")
	taker := w.taker(Options{})
	if err := taker.CanTake(claim); err == nil || !strings.Contains(err.Error(), "there is no VolumeGroupSnapshotClass of driver") {
		t.Errorf("can take: %v", err)
	}
	taker.groupAPI = nil
	if err := taker.CanTake(claim); err == nil || !strings.Contains(err.Error(), "hint: take the label velero.io/volume-group off the claim") {
		t.Errorf("can take without group snapshots: %v", err)
	}
}

// TestMembersBearTheBackupsLabels lets Owners and Leftovers find them.
func TestMembersBearTheBackupsLabels(t *testing.T) {
	w := newWorld(t, testenv.CSIOptions{})
	taker := w.taker(Options{})
	cut := w.cut(taker, w.claims(2, velerov1.VolumeGroupLabel, "db")...)
	list, err := w.client.volumeSnapshots(w.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: ownerSelector(w.backup.Name, w.backup.UID)})
	w.must(err)
	if len(list.Items) != 2 {
		t.Errorf("%d members are labelled", len(list.Items))
	}
	labels := owned(w.backup)
	labels[kept] = notKept
	for _, member := range cut {
		content, err := w.client.getContent(t.Context(), member.Content)
		w.must(err)
		if diff := cmp.Diff(labels, content.Labels); diff != "" || content.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentRetain {
			t.Errorf("policy %s, labels (-want +got):\n%s", content.Spec.DeletionPolicy, diff)
		}
	}
	w.must(taker.Discard(t.Context()))
	w.noObjects()
	w.stored(0)
}
