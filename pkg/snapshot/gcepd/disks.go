package gcepd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// diskTimeout is how long to wait for a disk to be made.
const diskTimeout = 30 * time.Minute

// Disk implements snapshot.Snapshotter. The type is the full URL, as Velero keeps it.
func (s *Snapshotter) Disk(ctx context.Context, id, zone string) (snapshot.Disk, error) {
	project, at, err := s.inVolumeProject(ctx, zone)
	if err != nil {
		return snapshot.Disk{}, err
	}
	disk, err := s.disk(ctx, project, at, id)
	if err != nil {
		return snapshot.Disk{}, err
	}
	d := snapshot.Disk{Type: disk.Type}
	if disk.ProvisionedIops > 0 {
		d.IOPS = &disk.ProvisionedIops
	}
	return d, nil
}

// disk reads a disk.
func (s *Snapshotter) disk(ctx context.Context, project string, at place, name string) (*compute.Disk, error) {
	disk, err := s.getDisk(ctx, project, at, name)
	if err == nil {
		return disk, nil
	}
	op := fmt.Sprintf("get disk %q in %s of project %q", name, at, project)
	missing := isMissing(err, kindDisks, name)
	err = s.failed(ctx, op, err)
	if missing {
		return nil, fmt.Errorf("%w; hint: if it is in another project, set the config key %q of the location", err, keyVolumeProject)
	}
	return nil, err
}

func (s *Snapshotter) getDisk(ctx context.Context, project string, at place, name string) (*compute.Disk, error) {
	return call(ctx, s, func(ctx context.Context) (*compute.Disk, error) {
		if at.isRegional() {
			return s.api.RegionDisks.Get(project, at.region, name).Context(ctx).Do()
		}
		return s.api.Disks.Get(project, at.zone, name).Context(ctx).Do()
	})
}

// CreateVolume implements snapshot.Snapshotter.
func (s *Snapshotter) CreateVolume(ctx context.Context, r snapshot.VolumeRequest) (string, error) {
	ctx, cancel := timeLimit(ctx, diskTimeout, "the disk was not made")
	defer cancel()
	project, at, err := s.inVolumeProject(ctx, r.Zone)
	if err != nil {
		return "", err
	}
	source, err := s.source(ctx, r.SnapshotID)
	if err != nil {
		return "", err
	}
	want := restoredDisk(source, project, at, r)
	if err := s.make(ctx, project, at, want); err != nil {
		return "", s.failed(ctx, fmt.Sprintf("create disk %q in %s of project %q from snapshot %q", want.Name, at, project, r.SnapshotID), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made[want.Name] = at
	return want.Name, nil
}

// source reads the snapshot that a disk is to be made from. It waits for one that is
// still being uploaded.
func (s *Snapshotter) source(ctx context.Context, id string) (*compute.Snapshot, error) {
	project, err := s.snapshotProject(ctx)
	if err != nil {
		return nil, err
	}
	op := fmt.Sprintf("get snapshot %q of project %q", id, project)
	for n := 0; ; n++ {
		found, err := s.get(ctx, project, id)
		switch {
		case err != nil:
			return nil, s.failed(ctx, op, err)
		case isCustomersOwn(found.SnapshotEncryptionKey):
			return nil, s.config.Errorf("%s: %w", op, errCustomersOwn)
		case found.Status == statusReady:
			return found, nil
		case found.Status != statusCreating && found.Status != statusUploading:
			return nil, s.config.Errorf("%s: no disk can be made from it, its status is %s", op, found.Status)
		}
		if err := s.poll(ctx, n); err != nil {
			return nil, s.config.Errorf("%s: no disk can be made from it yet, its status is %s: %w", op, found.Status, err)
		}
	}
}

// restoredDisk is the disk to ask for: one like that which the snapshot was cut of.
func restoredDisk(source *compute.Snapshot, project string, at place, r snapshot.VolumeRequest) *compute.Disk {
	tags := parseTags(source.Description)
	want := &compute.Disk{
		Name:                      restoredName(r.Token),
		Description:               source.Description,
		Labels:                    source.Labels,
		SourceSnapshot:            source.SelfLink,
		Type:                      at.diskType(project, r.Type),
		AccessMode:                tags[accessModeKey],
		EnableConfidentialCompute: source.EnableConfidentialCompute,
		ReplicaZones:              at.replicaZones(project),
	}
	if r.IOPS != nil {
		want.ProvisionedIops = *r.IOPS // Velero writes 0 for none
	}
	if throughput, err := strconv.ParseInt(tags[throughputKey], 10, 64); err == nil {
		want.ProvisionedThroughput = throughput
	}
	if key := source.SnapshotEncryptionKey; key != nil && key.KmsKeyName != "" {
		want.DiskEncryptionKey = &compute.CustomerEncryptionKey{
			KmsKeyName:           withoutVersion(key.KmsKeyName),
			KmsKeyServiceAccount: key.KmsKeyServiceAccount,
		}
	}
	if tags != nil {
		want.Description = encodeTags(withoutOwn(tags))
	}
	return want
}

// withoutVersion is the name of a KMS key: the API tells that of its version.
func withoutVersion(key string) string {
	name, _, _ := strings.Cut(key, "/cryptoKeyVersions/")
	return name
}

// make asks for a disk and waits until it can be attached.
func (s *Snapshotter) make(ctx context.Context, project string, at place, want *compute.Disk) error {
	op, err := s.insertDisk(ctx, project, at, want)
	// One that an earlier attempt has made is as good, or will be.
	if err != nil && !isKind(err, errExists) {
		return err
	}
	return s.await(ctx, project, op, func(ctx context.Context) (look, error) {
		found, err := s.getDisk(ctx, project, at, want.Name)
		switch {
		case isMissing(err, kindDisks, want.Name):
			return lookMissing, nil
		case err != nil:
			return 0, err
		case lastPart(found.SourceSnapshot) != lastPart(want.SourceSnapshot):
			return 0, errOtherSource
		case found.Status == statusReady:
			return lookDone, nil
		case found.Status == statusFailed, found.Status == statusDeleting:
			return 0, s.reason(ctx, project, op, found.Status)
		}
		return lookBusy, nil
	})
}

// errOtherSource is a disk that has the name of the one to make.
var errOtherSource = errors.New("there is a disk of that name, which was made from something else")

// insertDisk sends the request, without labels if the account may not set them.
func (s *Snapshotter) insertDisk(ctx context.Context, project string, at place, want *compute.Disk) (*compute.Operation, error) {
	return labelled(ctx, s, &want.Labels, func(ctx context.Context, id string) (*compute.Operation, error) {
		if at.isRegional() {
			return s.api.RegionDisks.Insert(project, at.region, want).RequestId(id).Context(ctx).Do()
		}
		return s.api.Disks.Insert(project, at.zone, want).RequestId(id).Context(ctx).Do()
	})
}
