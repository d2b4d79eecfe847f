package csi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unique"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// inFlight is how many requests there are at once.
const inFlight = 32

// each calls do for each index, several at once, and returns when all are done.
func (c *Client) each(n int, do func(i int)) {
	var calls errgroup.Group
	calls.SetLimit(inFlight)
	for i := range n {
		calls.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = calls.Wait() // they return no error
}

// prepare decides how a claim is snapshotted. It sends no request.
func (t *Taker) prepare(claim Claim) *entry {
	e := &entry{Snapshot: Snapshot{Namespace: claim.PVC.Namespace, Claim: claim.PVC.Name, Driver: claim.driver()}}
	var err error
	switch {
	case claim.driver() == "":
		err = errors.New("the volume isn't one of a CSI driver")
	case claim.PVC.Status.Phase != corev1.ClaimBound:
		err = errors.New("the claim isn't bound to a volume")
	case t.groupOf(claim) != "":
		e.labels = packLabels(owned(t.backup)) // the controller makes it
		e.group, err = t.join(claim)
	default:
		if e.class, err = t.class(claim); err == nil {
			e.Class, e.Name = e.class.Name, generateName("velero-"+claim.PVC.Name+"-")
			e.labels = packLabels(t.labels(claim.PVC.Labels))
		}
	}
	if err != nil {
		e.fail(err)
	}
	return e
}

// generateName does what the API server does for metadata.generateName. A name
// that is known before the request lets the request be sent again.
func generateName(prefix string) string {
	const longest, random = 63, 5
	if len(prefix) > longest-random {
		prefix = prefix[:longest-random]
	}
	return prefix + utilrand.String(random)
}

// begin asks for all snapshots.
func (t *Taker) begin(ctx context.Context, entries []*entry) {
	groups := groupsOf(entries)
	started := metav1.Now()
	for _, e := range entries {
		e.Started = started
	}
	t.client.each(len(entries)+len(groups), func(i int) {
		if i < len(groups) { // these first: a group has to be cut as one
			groups[i].begin(ctx, t)
			return
		}
		if e := entries[i-len(groups)]; e.Err == nil && e.group == nil {
			if err := t.create(ctx, e); err != nil {
				e.fail(err)
			}
		}
	})
}

// groupsOf are the groups of entries, each once.
func groupsOf(entries []*entry) []*group {
	var groups []*group
	for _, e := range entries {
		if e.group != nil && !slices.Contains(groups, e.group) {
			groups = append(groups, e.group)
		}
	}
	return groups
}

// create makes the VolumeSnapshot of an entry.
func (t *Taker) create(ctx context.Context, e *entry) error {
	wanted := e.wanted()
	err := retry(ctx, func() error {
		made, err := t.client.volumeSnapshots(e.Namespace).Create(ctx, wanted, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // the answer to an earlier request got lost
			made, err = t.client.volumeSnapshots(e.Namespace).Get(ctx, e.Name, metav1.GetOptions{})
			if err == nil && made.Labels[velerov1.BackupUIDLabel] != string(t.backup.UID) {
				e.Name = "" // keeps it from being removed
				return fmt.Errorf("volume snapshot %q exists and isn't of this backup", made.Name)
			}
		}
		if err == nil {
			e.observed(factsOf(made), nil)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create volume snapshot: %w", err)
	}
	return nil
}

// wanted is the VolumeSnapshot of an entry as it is asked for.
func (e *entry) wanted() *snapshotv1.VolumeSnapshot {
	vs := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name, Labels: unpackLabels(e.labels)}}
	vs.Spec.Source.PersistentVolumeClaimName = &e.Claim
	if e.Class != "" {
		vs.Spec.VolumeSnapshotClassName = &e.Class
	}
	return vs
}

// packLabels makes one of labels that are alike: those of a StatefulSet's claims are.
func packLabels(set map[string]string) unique.Handle[string] {
	return unique.Make(labels.Set(set).String())
}

// unpackLabels returns what packLabels was given.
func unpackLabels(packed unique.Handle[string]) map[string]string {
	set, _ := labels.ConvertSelectorToLabelsMap(packed.Value()) // an API server has checked them
	return set
}

// ownerSelector selects what is a backup's.
func ownerSelector(backup string, uid types.UID) string {
	return fmt.Sprintf("%s=%s,%s=%s,!%s", velerov1.BackupNameLabel, velerov1.ValidName(backup), velerov1.BackupUIDLabel, uid, velerov1.RestoreNameLabel)
}
