package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// CreateVolumeGroupSnapshot implements csi.GroupControllerServer.
func (d *driver) CreateVolumeGroupSnapshot(ctx context.Context, q *csi.CreateVolumeGroupSnapshotRequest) (*csi.CreateVolumeGroupSnapshotResponse, error) {
	if !validID(q.GetName()) {
		return nil, invalid("name")
	}
	sources := slices.Sorted(slices.Values(q.GetSourceVolumeIds()))
	if len(sources) == 0 || !validID(sources[0]) {
		return nil, invalid("source volumes")
	}
	id := handle(groups, q.GetName())
	defer d.store.exclusive(groups, id)()
	g, err := d.store.load(groups, id)
	if errors.Is(err, errNotThere) {
		g, err = d.cutGroup(ctx, id, sources)
	}
	if err != nil {
		return nil, failed(err)
	}
	answer, cutOf, err := d.group(g)
	if err == nil && !slices.Equal(cutOf, sources) {
		err = status.Errorf(codes.AlreadyExists, "group %q is one of volumes %q", id, cutOf)
	}
	return &csi.CreateVolumeGroupSnapshotResponse{GroupSnapshot: answer}, failed(err)
}

// cutGroup cuts all volumes of a group, or none.
func (d *driver) cutGroup(ctx context.Context, id string, sources []string) (record, error) {
	g := record{ID: id, Created: time.Now()}
	for _, volume := range sources {
		r, err := d.cut(ctx, memberID(id, volume), volume, id)
		if err != nil {
			for _, done := range g.Snapshots {
				err = errors.Join(err, d.store.remove(snapshots, done))
			}
			return g, err
		}
		g.Snapshots = append(g.Snapshots, r.ID)
	}
	return g, d.store.save(groups, g)
}

// memberID is the id of a volume's snapshot in a group.
func memberID(group, volume string) string {
	return handle(snapshots, fmt.Sprintf("%s-%.6x", group, sha256.Sum256([]byte(volume))))
}

// group is a record as callers see it, with the volumes it is of, sorted. Members
// that were deleted one by one are left out.
func (d *driver) group(g record) (*csi.VolumeGroupSnapshot, []string, error) {
	answer := &csi.VolumeGroupSnapshot{GroupSnapshotId: g.ID, CreationTime: timestamppb.New(g.Created), ReadyToUse: true}
	var sources []string
	for _, id := range g.Snapshots {
		r, err := d.store.load(snapshots, id)
		if errors.Is(err, errNotThere) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		d.faults.asked(r)
		member := d.snapshot(r)
		answer.ReadyToUse = answer.ReadyToUse && member.GetReadyToUse()
		answer.Snapshots = append(answer.Snapshots, member)
		sources = append(sources, r.Source)
	}
	slices.Sort(sources)
	return answer, sources, nil
}

// DeleteVolumeGroupSnapshot implements csi.GroupControllerServer.
func (d *driver) DeleteVolumeGroupSnapshot(_ context.Context, q *csi.DeleteVolumeGroupSnapshotRequest) (*csi.DeleteVolumeGroupSnapshotResponse, error) {
	if !validID(q.GetGroupSnapshotId()) {
		return nil, invalid("group")
	}
	defer d.store.exclusive(groups, q.GetGroupSnapshotId())()
	g, err := d.store.load(groups, q.GetGroupSnapshotId())
	if errors.Is(err, errNotThere) {
		return &csi.DeleteVolumeGroupSnapshotResponse{}, nil
	}
	if err != nil {
		return nil, failed(err)
	}
	for _, id := range q.GetSnapshotIds() {
		if !slices.Contains(g.Snapshots, id) {
			return nil, status.Errorf(codes.InvalidArgument, "snapshot %q is not in group %q", id, g.ID)
		}
	}
	for _, id := range g.Snapshots {
		if err := d.store.remove(snapshots, id); err != nil {
			return nil, failed(err)
		}
	}
	return &csi.DeleteVolumeGroupSnapshotResponse{}, failed(d.store.remove(groups, g.ID))
}

// GetVolumeGroupSnapshot implements csi.GroupControllerServer.
func (d *driver) GetVolumeGroupSnapshot(_ context.Context, q *csi.GetVolumeGroupSnapshotRequest) (*csi.GetVolumeGroupSnapshotResponse, error) {
	if !validID(q.GetGroupSnapshotId()) {
		return nil, invalid("group")
	}
	g, err := d.store.load(groups, q.GetGroupSnapshotId())
	if err != nil {
		return nil, failed(err)
	}
	answer, _, err := d.group(g)
	return &csi.GetVolumeGroupSnapshotResponse{GroupSnapshot: answer}, failed(err)
}
