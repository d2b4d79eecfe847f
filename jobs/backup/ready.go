package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
)

// readySnapshots waits until everything that was cut can be used, and stores the
// objects of the drivers' snapshots as they are then.
func (c *collector) readySnapshots(ctx context.Context) error {
	if c.snapshots == nil {
		return nil
	}
	begin := time.Now()
	group, waiting := errgroup.WithContext(ctx)
	var cuts []*csi.Snapshot
	if c.snapshots.taker != nil {
		group.Go(func() (err error) {
			cuts, err = c.snapshots.taker.Wait(waiting, c.readyTime(waiting))
			return err
		})
	}
	group.Go(func() error { return c.waitDisks(waiting) })
	if err := group.Wait(); err != nil {
		return fmt.Errorf("wait for snapshots: %w", err)
	}
	for _, cut := range cuts {
		saved := c.volumes.byClaim[place{cut.Namespace, cut.Claim}]
		if saved == nil {
			continue // of a claim that isn't the backup's: its group's
		}
		c.noteReady(saved, cut)
	}
	if n := c.volumes.snapshots(); n > 0 {
		c.Log.Info("snapshots ready", "count", n, "seconds", time.Since(begin).Seconds())
	}
	c.strayDisks(ctx)
	return c.storeSnapshots(ctx)
}

// noteReady notes how a driver's snapshot ended.
func (c *collector) noteReady(saved *savedVolume, cut *csi.Snapshot) {
	saved.noteCSI(cut)
	if cut.Err != nil {
		saved.failed(fmt.Errorf("the claim is saved, its data isn't: snapshot: %w", cut.Err))
		saved.info.CSI.SnapshotHandle, saved.info.CSI.ContentName = "", ""
		c.report.Add(report.Error, saved.at, saved.err)
		return
	}
	saved.succeeded(cut.Ended)
	if !saved.claimStored {
		c.report.Add(report.Warning, saved.at, errors.New("the claim went while the backup ran: its snapshot belongs to the backup, but no restore will use it"))
	}
}

// strayDisks deletes what disk snapshots that failed may have left: an answer that was
// lost is one that a snapshot may have been made for all the same.
func (c *collector) strayDisks(ctx context.Context) {
	known := map[string]bool{}
	failed := map[*snapshotLocation]bool{}
	for _, s := range c.volumes.sorted() {
		if s.disk == nil {
			continue
		}
		known[s.disk.Status.ProviderSnapshotID] = true
		if s.err != nil {
			failed[s.location] = true
		}
	}
	for location := range failed {
		if err := c.deleteDisks(ctx, location, known); err != nil {
			c.report.Add(report.Warning, ref.Object{}, fmt.Errorf("snapshots that failed may be left behind: %w", err))
		}
	}
}

// storeSnapshots writes the objects of the drivers' snapshots into the archive: each
// snapshot with its content, and the classes and Secrets that they name.
func (c *collector) storeSnapshots(ctx context.Context) error {
	if c.snapshots.taker != nil {
		for object, err := range c.snapshots.taker.Objects(ctx) {
			if err == nil {
				err = c.storeSnapshot(ctx, object)
			}
			if err != nil {
				return err
			}
		}
	}
	secrets := places{}
	for _, s := range c.volumes.byClaim {
		if s.csi == nil || s.err != nil {
			continue
		}
		for _, secret := range s.csi.Secrets {
			secrets[place{secret.Namespace, secret.Name}] = true
		}
	}
	for at := range c.needs.missing(secretResource, secrets) {
		if err := c.storeSecret(ctx, at); err != nil {
			return err
		}
	}
	return c.closeKinds(snapshotResource, snapshotContentResource, snapshotClassResource, secretResource)
}

// storeSnapshot writes one object of a driver's snapshot, unless it is a class that is
// in the archive already.
func (c *collector) storeSnapshot(ctx context.Context, object csi.Object) error {
	gr := snapshotResource
	switch object.Kind {
	case csi.KindContent:
		gr = snapshotContentResource
	case csi.KindClass:
		gr = snapshotClassResource
		if c.needs.have[gr][place{name: object.Name}] {
			return nil
		}
	}
	return c.storeMade(ctx, gr, cluster.Object{Kind: object.Kind, Namespace: object.Namespace, Name: object.Name, Raw: object.JSON})
}

// storeMade writes an object of the snapshot API that no list has brought.
func (c *collector) storeMade(ctx context.Context, gr schema.GroupResource, obj cluster.Object) error {
	obj.APIVersion = snapshotv1.SchemeGroupVersion.String()
	for _, k := range c.versions(gr) {
		if k.Version == snapshotv1.SchemeGroupVersion.Version {
			k.coverage.Related++
			return c.write(ctx, k, obj)
		}
	}
	return fmt.Errorf("store %s %q: the cluster no longer serves its kind", gr, obj.Name)
}

// storeSecret writes a Secret without which a driver can't use a snapshot, unless the
// user ruled Secrets out. One that is gone is warned of.
func (c *collector) storeSecret(ctx context.Context, at place) error {
	if c.filter.ExcludedNamespaced(secretResource) {
		return nil
	}
	for _, k := range c.versions(secretResource) {
		if !k.preferred {
			continue
		}
		found, err := c.getOne(ctx, k, at, func(obj cluster.Object) error {
			k.coverage.Related++
			if reason := c.barred(k, obj); reason != "" {
				c.skip(ctx, k, at, reason)
				return nil
			}
			return c.write(ctx, k, obj)
		})
		if err != nil {
			return err
		}
		if !found {
			c.report.Add(report.Warning, ref.Object{Resource: k.GroupVersionResource, Namespace: at.namespace, Name: at.name}, errNeeded)
		}
	}
	return nil
}

// watchSecrets has the Secrets that snapshots name noted as they are stored, so that
// none gets into the archive twice.
func (c *collector) watchSecrets() {
	for _, s := range c.volumes.byClaim {
		if s.csi != nil && len(s.csi.Secrets) > 0 {
			c.needs.have[secretResource] = places{}
			return
		}
	}
}

// closeKinds hands what is left of kinds to the archive.
func (c *collector) closeKinds(resources ...schema.GroupResource) error {
	var errs []error
	for _, gr := range resources {
		for _, k := range c.versions(gr) {
			errs = append(errs, k.close())
		}
	}
	return errors.Join(errs...)
}
