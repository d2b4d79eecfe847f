package azuredisk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// CreateVolume implements snapshot.Snapshotter. The disk goes where the cluster's
// disks are; it waits for a snapshot that is still being copied.
func (s *snapshotter) CreateVolume(ctx context.Context, r snapshot.VolumeRequest) (string, error) {
	source, err := s.snapshotOf(r.SnapshotID)
	if err != nil {
		return "", err
	}
	found, err := s.awaitSnapshot(ctx, source)
	if err != nil {
		return "", err
	}
	target := resource{s.disks, "restore-" + r.Token}
	op := fmt.Sprintf("create disk %s from snapshot %s", target, source)
	begun, err := s.putDisk(ctx, target, describeDisk(found, source, r))
	switch {
	case err == nil:
		return target.name, nil
	case begun:
		return "", s.discardDisk(ctx, target, s.fail(ctx, op, err))
	}
	return "", s.fail(ctx, op, err)
}

// putDisk makes a disk. It also says whether Azure may have begun to.
func (s *snapshotter) putDisk(ctx context.Context, target resource, body armcompute.Disk) (begun bool, err error) {
	clients, err := s.of(target.subscription)
	if err != nil {
		return false, err
	}
	_, err = await(ctx, s, func(ctx context.Context) (*runtime.Poller[armcompute.DisksClientCreateOrUpdateResponse], error) {
		poller, err := clients.disks.BeginCreateOrUpdate(ctx, target.group, target.name, body, nil)
		begun = !refused(err)
		return poller, err
	})
	return begun, err
}

// awaitSnapshot returns the snapshot when a disk can be made from it.
func (s *snapshotter) awaitSnapshot(ctx context.Context, r resource) (*armcompute.Snapshot, error) {
	last := -1
	moved := time.Now()
	for round := 0; ; round++ {
		found, err := s.getSnapshot(ctx, r)
		if err != nil {
			return nil, err
		}
		state := stateOf(found.Properties)
		switch {
		case usable(found.Properties, state):
			return found, nil
		case state.Failure != "":
			return nil, s.location.Errorf("snapshot %s can't be used: %s", r, state.Failure)
		case state.Progress != last:
			last, moved = state.Progress, time.Now()
		case time.Since(moved) > s.config.timeout:
			return nil, s.location.Errorf("wait for snapshot %s, of which %d %% are copied: %w", r, last, &impatience{s.config.timeout})
		}
		s.pace.pause(ctx, round, nil)
		if ctx.Err() != nil {
			return nil, s.fail(ctx, fmt.Sprintf("wait for snapshot %s", r), ctx.Err())
		}
	}
}

// usable says that a disk can be made from the snapshot, be it with its source.
func usable(p *armcompute.SnapshotProperties, state snapshot.State) bool {
	instant := value(p.SnapshotAccessState) == armcompute.SnapshotAccessStateInstantAccess && value(p.ProvisioningState) == stateSucceeded
	return state.Ready || instant && state.Failure == ""
}

// describeDisk is a disk like the one that the snapshot was taken of.
func describeDisk(found *armcompute.Snapshot, source resource, r snapshot.VolumeRequest) armcompute.Disk {
	sku, p := armcompute.DiskStorageAccountTypes(r.Type), found.Properties
	disk := armcompute.Disk{
		Location:         found.Location,
		ExtendedLocation: found.ExtendedLocation,
		Tags:             mergeTags(foreign(found.Tags)),
		Properties: &armcompute.DiskProperties{
			CreationData: &armcompute.CreationData{
				CreateOption:     to.Ptr(armcompute.DiskCreateOptionCopy),
				SourceResourceID: to.Ptr(source.id(kindSnapshot)),
			},
			Encryption:          ownKey(p.Encryption),
			NetworkAccessPolicy: p.NetworkAccessPolicy,
			DiskAccessID:        p.DiskAccessID,
			PublicNetworkAccess: p.PublicNetworkAccess,
		},
	}
	if sku != "" {
		disk.SKU = &armcompute.DiskSKU{Name: &sku}
	}
	if zone := zoneOf(r.Zone); zone != "" && !isZoneRedundant(sku) {
		disk.Zones = []*string{&zone}
	}
	parseTraits(tagOf(found.Tags, tagDisk)).apply(disk.Properties, sku, r.IOPS)
	return disk
}

// apply gives a disk the traits that its kind can have.
func (t traits) apply(p *armcompute.DiskProperties, sku armcompute.DiskStorageAccountTypes, iops *int64) {
	if shares := t.number(traitShares); shares != nil {
		p.MaxShares = to.Ptr(int32(*shares))
	}
	switch {
	case isProvisioned(sku):
		// Velero writes 0 for a disk whose IOPS it doesn't know.
		if value(iops) > 0 {
			p.DiskIOPSReadWrite = iops
		}
		p.DiskMBpsReadWrite = t.number(traitThroughput)
		if sector := t.number(traitSector); sector != nil {
			p.CreationData.LogicalSectorSize = to.Ptr(int32(*sector))
		}
	case isPremium(sku):
		if t[traitTier] != "" {
			p.Tier = to.Ptr(t[traitTier])
		}
		if t[traitBursting] == "true" {
			p.BurstingEnabled = to.Ptr(true)
		}
	}
}

// discardDisk removes what a failed attempt has left, unless the disk became whole:
// then it may be in use, or the next attempt takes it.
func (s *snapshotter) discardDisk(ctx context.Context, target resource, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	left, err := s.getDisk(ctx, target)
	switch {
	case errors.Is(err, snapshot.ErrNotExist):
		return failed
	case err == nil:
		if state := value(left.Properties.ProvisioningState); state != stateFailed && state != stateCanceled && state != stateCreating {
			return failed
		}
		err = s.deleteDisk(ctx, target)
	}
	if err != nil {
		return fmt.Errorf("%w; it may be left behind as %s: %w", failed, target.id(kindDisk), err)
	}
	return failed
}

func (s *snapshotter) deleteDisk(ctx context.Context, target resource) error {
	clients, err := s.of(target.subscription)
	if err != nil {
		return err
	}
	_, err = await(ctx, s, func(ctx context.Context) (*runtime.Poller[armcompute.DisksClientDeleteResponse], error) {
		return clients.disks.BeginDelete(ctx, target.group, target.name, nil)
	})
	if err != nil {
		return s.fail(ctx, fmt.Sprintf("delete disk %s", target), err)
	}
	return nil
}
