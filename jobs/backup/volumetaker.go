package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// volumeTaker stores volumes. Those whose disk is still to be snapshotted, since no
// claim of the backup had it done, wait until the list is read.
type volumeTaker struct {
	collector *collector
	kind      *kind
	waiting   []cluster.Object
	cuts      []*savedVolume
}

func (t *volumeTaker) take(ctx context.Context, obj cluster.Object, _ bool) error {
	c := t.collector
	saved := c.volumes.byName[obj.Name]
	if saved == nil {
		var pv corev1.PersistentVolume
		if err := json.Unmarshal(obj.Raw, &pv); err != nil {
			return c.broken(ctx, t.kind, obj, &unreadableError{fmt.Errorf("decode volume: %w", err)})
		}
		saved = c.decideVolume(ctx, c.nameOf(t.kind, obj, &pv), &pv, true)
		if saved.snapshot() {
			obj.Raw = slices.Clone(obj.Raw)
			t.waiting, t.cuts = append(t.waiting, obj), append(t.cuts, saved)
			return nil
		}
	}
	return t.store(ctx, obj, saved)
}

func (t *volumeTaker) end(ctx context.Context) error {
	waiting, cuts := t.waiting, t.cuts
	t.waiting, t.cuts = nil, nil
	if err := t.collector.cut(ctx, cuts); err != nil {
		return err
	}
	for i, obj := range waiting {
		if err := t.store(ctx, obj, cuts[i]); err != nil {
			return err
		}
	}
	return nil
}

// store stores a volume, unless the snapshot of its disk failed, as in Velero.
func (t *volumeTaker) store(ctx context.Context, obj cluster.Object, saved *savedVolume) error {
	c := t.collector
	if saved.method == volume.NativeSnapshot && saved.err != nil {
		c.needs.settle(volumeResource, placeOf(obj))
		c.skip(ctx, t.kind, placeOf(obj), reasonNoSnapshot)
		return nil
	}
	return c.write(ctx, t.kind, obj)
}
