package azuredisk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/google/uuid"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// maxName is the longest name of a snapshot:
// https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
const maxName = 80

// cleanupTime bounds the removal of what a failed attempt has left.
const cleanupTime = 30 * time.Second

// Disk implements snapshot.Snapshotter.
func (s *snapshotter) Disk(ctx context.Context, id, _ string) (snapshot.Disk, error) {
	source, err := s.diskOf(id)
	if err != nil {
		return snapshot.Disk{}, err
	}
	disk, err := s.getDisk(ctx, source)
	if err != nil {
		return snapshot.Disk{}, err
	}
	described := snapshot.Disk{Type: string(skuOf(disk))}
	if isProvisioned(skuOf(disk)) {
		described.IOPS = disk.Properties.DiskIOPSReadWrite
	}
	return described, nil
}

func (s *snapshotter) getDisk(ctx context.Context, r resource) (*armcompute.Disk, error) {
	clients, err := s.of(r.subscription)
	if err != nil {
		return nil, err
	}
	op := fmt.Sprintf("get disk %s", r)
	answer, err := patiently(ctx, s, func(ctx context.Context) (armcompute.DisksClientGetResponse, error) {
		return clients.disks.Get(ctx, r.group, r.name, nil)
	})
	if err != nil {
		return nil, s.failMissing(ctx, op, err)
	}
	if answer.Properties == nil || answer.Location == nil {
		return nil, s.location.Errorf("%s: the answer has no properties", op)
	}
	return &answer.Disk, nil
}

// Create implements snapshot.Snapshotter. It returns when Azure calls the snapshot
// created, which is when its point in time is fixed; Ultra disks and Premium SSDs v2
// go on to be copied.
func (s *snapshotter) Create(ctx context.Context, r snapshot.CreateRequest) (string, error) {
	source, err := s.diskOf(r.VolumeID)
	if err != nil {
		return "", err
	}
	disk, err := s.getDisk(ctx, source)
	if err != nil {
		return "", err
	}
	incremental := s.config.incremental || isProvisioned(skuOf(disk))
	if incremental && !strings.EqualFold(s.snapshots.subscription, source.subscription) {
		return "", s.location.Errorf("create snapshot of disk %s: Azure has incremental snapshots only in the subscription of the disk; hint: leave the config key \"subscriptionId\" out; for disks other than Ultra and Premium SSD v2 \"incremental\" may be \"false\" instead", source)
	}
	target := resource{s.snapshots, snapshotName(source, r.Owner)}
	op := fmt.Sprintf("create snapshot %s of disk %s", target, source)
	begun, err := s.put(ctx, target, s.describeSnapshot(disk, source, r, incremental))
	switch {
	case err == nil:
		return target.id(kindSnapshot), nil
	case begun:
		return "", s.discard(ctx, target, s.fail(ctx, op, err))
	}
	return "", s.fail(ctx, op, err)
}

// put makes a snapshot. It also says whether Azure may have begun to.
func (s *snapshotter) put(ctx context.Context, target resource, body armcompute.Snapshot) (begun bool, err error) {
	clients, err := s.of(target.subscription)
	if err != nil {
		return false, err
	}
	_, err = await(ctx, s, func(ctx context.Context) (*runtime.Poller[armcompute.SnapshotsClientCreateOrUpdateResponse], error) {
		poller, err := clients.snapshots.BeginCreateOrUpdate(ctx, target.group, target.name, body, nil)
		begun = !refused(err)
		return poller, err
	})
	return begun, err
}

// snapshotName is the same whenever this backup takes a snapshot of this disk.
func snapshotName(source resource, owner snapshot.Owner) string {
	token := uuid.NewSHA1(uuid.NameSpaceURL, []byte(owner.UID+strings.ToLower(source.id(kindDisk)))).String()
	return strings.TrimRight(cut(source.name, maxName-len(token)-1), "-.") + "-" + token
}

func (s *snapshotter) describeSnapshot(disk *armcompute.Disk, source resource, r snapshot.CreateRequest, incremental bool) armcompute.Snapshot {
	own := map[string]string{tagOwner: r.Owner.UID}
	if t := traitsOf(disk); len(t) > 0 {
		own[tagDisk] = t.String()
	}
	p := disk.Properties
	return armcompute.Snapshot{
		Location:         disk.Location,
		ExtendedLocation: disk.ExtendedLocation,
		Tags:             mergeTags(own, s.config.tags, r.Tags, foreign(disk.Tags)),
		Properties: &armcompute.SnapshotProperties{
			CreationData: &armcompute.CreationData{
				CreateOption:     to.Ptr(armcompute.DiskCreateOptionCopy),
				SourceResourceID: to.Ptr(source.id(kindDisk)),
			},
			Incremental:         to.Ptr(incremental),
			Encryption:          ownKey(p.Encryption),
			NetworkAccessPolicy: p.NetworkAccessPolicy,
			DiskAccessID:        p.DiskAccessID,
			PublicNetworkAccess: p.PublicNetworkAccess,
		},
	}
}

// ownKey is the encryption if it is with a customer's key. What is copied must be
// encrypted with the same one.
func ownKey(e *armcompute.Encryption) *armcompute.Encryption {
	if e == nil || e.DiskEncryptionSetID == nil || *e.DiskEncryptionSetID == "" {
		return nil
	}
	return e
}

// refused says that Azure took nothing upon it, and not that an answer got lost.
func refused(err error) bool {
	var refusal *azcore.ResponseError
	if !errors.As(err, &refusal) {
		return false
	}
	return refusal.StatusCode >= http.StatusBadRequest && refusal.StatusCode < http.StatusInternalServerError &&
		refusal.StatusCode != http.StatusRequestTimeout
}

// discard removes the snapshot of an attempt that failed, even one that was
// cancelled. It returns the error, with what can't be removed.
func (s *snapshotter) discard(ctx context.Context, target resource, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if err := s.Delete(ctx, target.id(kindSnapshot)); err != nil {
		return fmt.Errorf("%w; it may be left behind as %s: %w", failed, target.id(kindSnapshot), err)
	}
	return failed
}
