//go:build integration

package csi

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	if n := w.count("CreateVolumeGroupSnapshot"); n != 1 {
		t.Errorf("%d group snapshots were made", n)
	}
	ready := w.wait(taker)
	if errs := errsOf(ready); len(errs) > 0 || len(ready) != 4 {
		t.Fatalf("%d are ready, errors %v", len(ready), errs)
	}
	for _, s := range ready {
		if s.Claim.PVC.Name == "alone" {
			if s.GroupHandle != "" || s.GroupMembers != nil {
				t.Errorf("alone is in group %q", s.GroupHandle)
			}
			continue
		}
		if s.GroupHandle == "" || len(s.GroupMembers) != 4 || *s.Object.Spec.Source.PersistentVolumeClaimName != s.Claim.PVC.Name {
			t.Errorf("claim %s: group %q, members %v, source %v", s.Claim.PVC.Name, s.GroupHandle, s.GroupMembers, s.Object.Spec.Source)
		}
	}
	w.must(taker.Keep(t.Context()))
	w.must(taker.Release(t.Context()))
	w.noObjects()
	w.stored(5)
	handles := w.handles(ready)
	for _, h := range handles {
		if exists, err := w.client.Exists(t.Context(), h, time.Minute); err != nil || !exists {
			t.Errorf("%s: exists = %t, %v", h, exists, err)
		}
	}
	lone := handles[1]
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
		{"for too long", testenv.CSIFault{Method: "CreateVolumeGroupSnapshot", Code: "Unavailable", Message: "later"}, "is not cut after 4s: the last error is: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, testenv.CSIOptions{})
			claims := append(w.claims(2, velerov1.VolumeGroupLabel, "db"), w.claim("alone"))
			w.Fault(t, tc.fault)
			w.client.patience = 2 * time.Second
			taker := w.taker(Options{Cut: 4 * time.Second})
			errs := errsOf(w.cut(taker, claims...))
			if len(errs) != 2 || !strings.Contains(errs["data-0"], tc.want) || !strings.Contains(errs["data-1"], tc.want) {
				t.Errorf("errors = %v", errs)
			}
			if errs := errsOf(w.wait(taker)); len(errs) > 0 {
				t.Errorf("errors of the others: %v", errs)
			}
			w.Fault(t)
			w.client.patience = 30 * time.Second
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
	if diff := cmp.Diff(owned(w.backup), cut[0].Content.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	w.must(taker.Discard(t.Context()))
	w.noObjects()
	w.stored(0)
}
