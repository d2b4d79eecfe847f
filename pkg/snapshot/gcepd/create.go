package gcepd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// States of snapshots and disks.
const (
	statusCreating  = "CREATING"
	statusUploading = "UPLOADING"
	statusDeleting  = "DELETING"
	statusFailed    = "FAILED"
	statusReady     = "READY"
)

const (
	// cutTimeout is how long to wait for a snapshot to be cut, which takes seconds.
	cutTimeout = 10 * time.Minute
	// cleanTimeout is how long to try to remove what came to nothing.
	cleanTimeout = 2 * time.Minute
)

// Create implements snapshot.Snapshotter. The snapshot's name depends on the disk and
// the backup only: a second call finds what the first one made.
func (s *Snapshotter) Create(ctx context.Context, r snapshot.CreateRequest) (string, error) {
	ctx, cancel := timeLimit(ctx, cutTimeout, "the snapshot was not cut")
	defer cancel()
	project, err := s.snapshotProject(ctx)
	if err != nil {
		return "", err
	}
	volumeProject, at, err := s.inVolumeProject(ctx, r.Zone)
	if err != nil {
		return "", err
	}
	disk, err := s.disk(ctx, volumeProject, at, r.VolumeID)
	if err != nil {
		return "", err
	}
	op := fmt.Sprintf("create a snapshot of disk %q in %s of project %q", r.VolumeID, at, volumeProject)
	if isCustomersOwn(disk.DiskEncryptionKey) {
		return "", s.config.Errorf("%s: %w", op, errCustomersOwn)
	}
	want := s.wanted(disk, volumeProject, at, r)
	made, err := s.cut(ctx, project, want, r.Owner)
	if err == nil {
		return want.Name, nil
	}
	err = s.failed(ctx, op, err)
	if made {
		err = s.discard(ctx, project, want.Name, err)
	}
	return "", err
}

// errCustomersOwn is the error about a disk that can only be read with a key that
// Google doesn't keep.
var errCustomersOwn = errors.New("it is encrypted with a key that the customer supplies (CSEK); hint: such disks can't be snapshotted without that key, use one of Cloud KMS")

func isCustomersOwn(key *compute.CustomerEncryptionKey) bool {
	return key != nil && key.Sha256 != "" && key.KmsKeyName == ""
}

// wanted is the snapshot to ask for. It gets the disk's KMS key by itself.
func (s *Snapshotter) wanted(disk *compute.Disk, volumeProject string, at place, r snapshot.CreateRequest) *compute.Snapshot {
	want := &compute.Snapshot{
		Name:         snapshotName(r.Owner.UID, r.VolumeID, volumeProject+"/"+at.path()),
		Description:  describe(disk, r),
		Labels:       disk.Labels,
		SourceDisk:   fmt.Sprintf("projects/%s/%s/disks/%s", volumeProject, at.path(), r.VolumeID),
		SnapshotType: s.config.Settings[keySnapshotType],
	}
	if location := s.config.Settings[keySnapshotLocation]; location != "" {
		want.StorageLocations = []string{location}
	}
	return want
}

// cut asks for a snapshot and waits until it is cut. made says that there may be one,
// whatever the error.
func (s *Snapshotter) cut(ctx context.Context, project string, want *compute.Snapshot, owner snapshot.Owner) (made bool, err error) {
	op, err := s.request(ctx, project, want, owner)
	if err != nil {
		return refusalOf(err) == nil && !errors.Is(err, errForeign), err
	}
	return true, s.await(ctx, project, op, func(ctx context.Context) (look, error) {
		found, err := s.get(ctx, project, want.Name)
		switch {
		case isMissing(err, kindSnapshots, want.Name):
			return lookMissing, nil
		case err != nil:
			return 0, err
		case found.Status == statusFailed, found.Status == statusDeleting:
			return 0, s.reason(ctx, project, op, found.Status)
		case found.Status == statusCreating:
			return lookBusy, nil
		}
		// Uploading has begun: what is written from now on isn't in it.
		return lookDone, nil
	})
}

// reason is why something has a status from which it doesn't recover.
func (s *Snapshotter) reason(ctx context.Context, project string, op *compute.Operation, status string) error {
	if _, err := s.refresh(ctx, project, op); err != nil {
		return err
	}
	return fmt.Errorf("its status is %s", status)
}

// request asks until there is a snapshot. The operation makes it; it is nil for one
// that an earlier attempt has made.
func (s *Snapshotter) request(ctx context.Context, project string, want *compute.Snapshot, owner snapshot.Owner) (*compute.Operation, error) {
	for n := 0; ; n++ {
		op, err := s.insertSnapshot(ctx, project, want)
		if !isKind(err, errExists) {
			return op, err
		}
		if taken, err := s.adopt(ctx, project, want, owner); taken || err != nil {
			return nil, err
		}
		if err := s.poll(ctx, n); err != nil {
			return nil, err
		}
	}
}

// insertSnapshot sends the request, without labels if the account may not set them.
func (s *Snapshotter) insertSnapshot(ctx context.Context, project string, want *compute.Snapshot) (*compute.Operation, error) {
	return labelled(ctx, s, &want.Labels, func(ctx context.Context, id string) (*compute.Operation, error) {
		return s.api.Snapshots.Insert(project, want).RequestId(id).Context(ctx).Do()
	})
}

// errForeign is a snapshot that has the name of ours and isn't.
var errForeign = errors.New("there is a snapshot of that name, which this backup didn't make")

// adopt says whether the snapshot that has the name can be kept. One on its way out
// is left to go; one that failed is deleted.
func (s *Snapshotter) adopt(ctx context.Context, project string, want *compute.Snapshot, owner snapshot.Owner) (bool, error) {
	found, err := s.get(ctx, project, want.Name)
	switch {
	case isMissing(err, kindSnapshots, want.Name):
		return false, nil
	case err != nil:
		return false, err
	case parseTags(found.Description)[ownerKey] != owner.UID, lastPart(found.SourceDisk) != lastPart(want.SourceDisk):
		return false, fmt.Errorf("%w: %q", errForeign, want.Name)
	case found.Status == statusDeleting:
		return false, nil
	case found.Status == statusFailed:
		return false, s.remove(ctx, project, want.Name)
	}
	return true, nil
}

// discard removes what came of a request that failed for the cause.
func (s *Snapshotter) discard(ctx context.Context, project, name string, cause error) error {
	ctx, cancel := timeLimit(context.WithoutCancel(ctx), cleanTimeout, "the snapshot was not deleted")
	defer cancel()
	if err := s.remove(ctx, project, name); err != nil {
		return fmt.Errorf("%w; snapshot %q may be left: %w", cause, name, s.failed(ctx, fmt.Sprintf("delete it from project %q", project), err))
	}
	return cause
}
