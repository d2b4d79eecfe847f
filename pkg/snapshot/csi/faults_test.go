package csi

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotfake "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned/fake"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubetesting "k8s.io/client-go/testing"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// errBroken is what an API server says that has a problem of its own.
var errBroken = apierrors.NewInternalError(errDeleted)

// fakeTaker is a Taker at an API server without controllers, and a claim that it can
// snapshot.
func fakeTaker(t *testing.T, o Options) (*Taker, *snapshotfake.Clientset, Claim) {
	t.Helper()
	//lint:ignore SA1019 This client has no apply configurations, which NewClientset needs.
	server := snapshotfake.NewSimpleClientset()
	taker := &Taker{
		client:   &Client{log: slog.New(slog.NewTextHandler(t.Output(), nil)), snapshots: server, patience: time.Second},
		backup:   &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: "nightly", UID: "uid"}},
		groupKey: velerov1.VolumeGroupLabel,
		classes:  []snapshotv1.VolumeSnapshotClass{{ObjectMeta: metav1.ObjectMeta{Name: "only"}, Driver: "disk.example.com"}},
		options:  o,
		groups:   map[string]*group{},
	}
	claim := Claim{PVC: &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data"}}, PV: &corev1.PersistentVolume{}}
	claim.PVC.Status.Phase = corev1.ClaimBound
	claim.PV.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "disk.example.com", VolumeHandle: "v"}
	return taker, server, claim
}

// TestLostAnswer shows that a request whose answer got lost isn't done twice.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	taker, server, claim := fakeTaker(t, Options{})
	requests := 0
	server.PrependReactor("create", "volumesnapshots", func(action kubetesting.Action) (bool, runtime.Object, error) {
		requests++
		if requests > 1 {
			return false, nil, nil
		}
		made := action.(kubetesting.CreateAction).GetObject()
		made.(*snapshotv1.VolumeSnapshot).UID = "made"
		if err := server.Tracker().Create(action.GetResource(), made, action.GetNamespace()); err != nil {
			return true, nil, err
		}
		return true, nil, errBroken
	})
	e := taker.prepare(claim)
	taker.begin(t.Context(), []*entry{e})
	if e.Err != nil || e.uid != "made" || requests != 2 {
		t.Errorf("error %v, uid %q after %d requests", e.Err, e.uid, requests)
	}
}

// TestNameIsTaken leaves a snapshot of somebody else alone.
func TestNameIsTaken(t *testing.T) {
	t.Parallel()
	taker, server, claim := fakeTaker(t, Options{})
	e := taker.prepare(claim)
	other := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: e.Name}}
	if err := server.Tracker().Add(other); err != nil {
		t.Fatal(err)
	}
	taker.begin(t.Context(), []*entry{e})
	if e.Err == nil || !strings.Contains(e.Err.Error(), "exists and isn't of this backup") {
		t.Fatalf("error %v", e.Err)
	}
	taker.abandon(t.Context(), []*entry{e})
	if _, err := taker.client.volumeSnapshots("shop").Get(t.Context(), other.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("the other one: %v", err)
	}
}

// TestBrokenServer tells, at the end of the time, that nothing could be read.
func TestBrokenServer(t *testing.T) {
	t.Parallel()
	taker, server, claim := fakeTaker(t, Options{Cut: time.Millisecond})
	server.PrependReactor("list", "volumesnapshotcontents", func(kubetesting.Action) (bool, runtime.Object, error) {
		return true, nil, errBroken
	})
	got, err := taker.Cut(t.Context(), []Claim{claim})
	if err != nil || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), "its state can't be read: list volume snapshot contents") {
		t.Fatalf("cut: %v, %v", got, err)
	}
	left, err := taker.client.volumeSnapshots("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 0 {
		t.Errorf("left: %v, %v", left.Items, err)
	}
}

// TestUnusableClaims take no request.
func TestUnusableClaims(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		edit func(*Claim)
		want string
	}{
		{"no CSI volume", func(c *Claim) { c.PV.Spec.CSI = nil }, "the volume isn't one of a CSI driver"},
		{"no volume", func(c *Claim) { c.PV = nil }, "the volume isn't one of a CSI driver"},
		{"not bound", func(c *Claim) { c.PVC.Status.Phase = corev1.ClaimPending }, "the claim isn't bound to a volume"},
		{"no class", func(c *Claim) { c.PV.Spec.CSI.Driver = "other" }, `there is no VolumeSnapshotClass of driver "other"; hint: create one`},
		{"no group snapshots", func(c *Claim) { c.PVC.Labels = map[string]string{velerov1.VolumeGroupLabel: "db"} },
			`the claim belongs to volume group "db", and this cluster has no group snapshots; ` +
				`hint: take the label velero.io/volume-group off the claim, or install the API groupsnapshot.storage.k8s.io with its controller`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			taker, server, claim := fakeTaker(t, Options{})
			tc.edit(&claim)
			got, err := taker.Cut(t.Context(), []Claim{claim})
			if err != nil || got[0].Err == nil || got[0].Err.Error() != tc.want {
				t.Errorf("cut: %v, %v", got[0].Err, err)
			}
			if n := len(server.Actions()); n != 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

// TestTurns lets one caller after the other, and none for ever.
func TestTurns(t *testing.T) {
	t.Parallel()
	var objects turns
	done, err := objects.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := objects.take(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := objects.take(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("take what is taken: %v", err)
	}
	next := make(chan error)
	go func() {
		done, err := objects.take(t.Context(), "a")
		if err == nil {
			done()
		}
		next <- err
	}()
	done()
	if err := <-next; err != nil {
		t.Errorf("take what was given back: %v", err)
	}
}

// TestADyingContentKeepsItsPolicy: with another one the driver's data would stay, and
// nothing would know of it.
func TestADyingContentKeepsItsPolicy(t *testing.T) {
	t.Parallel()
	for _, dying := range []bool{false, true} {
		taker, server, _ := fakeTaker(t, Options{})
		content := &snapshotv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "snapcontent-u", ResourceVersion: "7", Finalizers: []string{contentFinalizer}}}
		content.Spec.DeletionPolicy = snapshotv1.VolumeSnapshotContentDelete
		if dying {
			content.DeletionTimestamp = new(metav1.Now())
		}
		if err := server.Tracker().Add(content); err != nil {
			t.Fatal(err)
		}
		facts := taker.label(t.Context(), content.Name)
		if facts == nil || facts.deleting != dying || (facts.policy == snapshotv1.VolumeSnapshotContentDelete) != dying || (facts.mark == "") != dying {
			t.Errorf("dying %t: %+v", dying, facts)
		}
		e := &entry{seen: true, Snapshot: Snapshot{Handle: "h"}}
		e.observed(&snapshotFacts{uid: "u", content: content.Name, cut: true}, facts)
		if cut := e.isCut(); cut == dying || errors.Is(e.Err, errDeleted) != dying {
			t.Errorf("dying %t: cut = %t, error %v", dying, cut, e.Err)
		}
	}
}
