package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
)

// claimTaker stores claims. Those whose volume may be snapshotted wait until the list
// is read: then all snapshots are cut at once.
type claimTaker struct {
	collector *collector
	kind      *kind
	waiting   []cluster.Object
}

func (t *claimTaker) take(ctx context.Context, obj cluster.Object, _ bool) error {
	c := t.collector
	if c.snapshots != nil || c.request.policies.AsksFor(policy.Snapshot) {
		c.tellUnbound(obj)
	}
	if c.volumes.byClaim[placeOf(obj)] == nil && c.mayBeSnapshotted(ctx, obj) {
		obj.Raw = slices.Clone(obj.Raw)
		t.waiting = append(t.waiting, obj)
		return nil
	}
	return t.store(ctx, obj)
}

// end decides about the waiting claims, has their snapshots cut, and stores them.
func (t *claimTaker) end(ctx context.Context) error {
	c := t.collector
	waiting := t.waiting
	t.waiting = nil
	siblings, err := c.siblings(ctx, waiting)
	if err != nil {
		return err
	}
	err = c.saveClaims(ctx, func(yield func(*corev1.PersistentVolumeClaim) bool) {
		for _, obj := range waiting {
			claim, err := readClaim(obj)
			if err != nil {
				continue // where it is stored that is told
			}
			if !yield(claim) {
				return
			}
		}
		slices.Values(siblings)(yield)
	})
	if err != nil {
		return err
	}
	for i, obj := range waiting {
		waiting[i] = cluster.Object{} // lets its memory go
		if err := t.store(ctx, obj); err != nil {
			return err
		}
	}
	return nil
}

// store stores a claim, unless its snapshot failed: restored, it would be an empty
// volume under the old name.
func (t *claimTaker) store(ctx context.Context, obj cluster.Object) error {
	c := t.collector
	if saved := c.volumes.byClaim[placeOf(obj)]; saved != nil && saved.csi == nil {
		c.needs.settle(claimResource, placeOf(obj))
		c.skip(ctx, t.kind, placeOf(obj), reasonNoSnapshot)
		return nil
	}
	return c.write(ctx, t.kind, obj)
}

func readClaim(obj cluster.Object) (*corev1.PersistentVolumeClaim, error) {
	var claim corev1.PersistentVolumeClaim
	if err := json.Unmarshal(obj.Raw, &claim); err != nil {
		return nil, &unreadableError{fmt.Errorf("decode claim: %w", err)}
	}
	claim.ManagedFields = nil
	return &claim, nil
}

// siblings are the claims of the same volume groups that the selection leaves to the
// objects that others need: a group is cut once.
func (c *collector) siblings(ctx context.Context, claims []cluster.Object) ([]*corev1.PersistentVolumeClaim, error) {
	if !c.narrowed() || !c.snapshots.takeAny() {
		return nil, nil
	}
	grouped := places{}
	for _, claim := range claims {
		if claim.Labels[c.backup.Spec.VolumeGroupSnapshotLabelKey] != "" {
			grouped[placeOf(claim)] = true
		}
	}
	groups, err := c.readGroups(ctx, grouped)
	if err != nil {
		return nil, err
	}
	others := places{}
	for _, at := range groups.extend(slices.Collect(maps.Keys(grouped))) {
		if !grouped[at] {
			others[at] = true
		}
	}
	return c.readClaims(ctx, others)
}

// readClaims reads claims that the backup will hold. One that can't be read is told
// where it is stored.
func (c *collector) readClaims(ctx context.Context, wanted places) ([]*corev1.PersistentVolumeClaim, error) {
	var claims []*corev1.PersistentVolumeClaim
	for _, k := range c.versions(claimResource) {
		if !k.preferred {
			continue
		}
		for at := range wanted {
			_, err := c.getOne(ctx, k, at, func(obj cluster.Object) error {
				claim, err := readClaim(obj)
				if err == nil && c.barred(k, obj) == "" {
					claims = append(claims, claim)
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return claims, nil
}

// saveClaimsAt decides about the claims that pods mount and that the backup will
// hold, and has their snapshots cut; they are stored when they are listed.
func (c *collector) saveClaimsAt(ctx context.Context, wanted places) error {
	if !c.snapshots.takeAny() || !c.filter.Kind(claimResource, true) {
		return nil
	}
	claims, err := c.readClaims(ctx, wanted)
	if err != nil {
		return err
	}
	return c.saveClaims(ctx, slices.Values(claims))
}

// saveClaims decides about claims and has their snapshots cut, all at once.
func (c *collector) saveClaims(ctx context.Context, claims iter.Seq[*corev1.PersistentVolumeClaim]) error {
	var saved []*savedVolume
	for claim := range claims {
		one, err := c.decideClaim(ctx, claim)
		if err != nil {
			return err
		}
		if one != nil {
			saved = append(saved, one)
		}
	}
	return c.cut(ctx, saved)
}
