package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// snapshot is a record as callers see it.
func (d *driver) snapshot(r record) *csi.Snapshot {
	return &csi.Snapshot{
		SnapshotId: r.ID, SourceVolumeId: r.Source, SizeBytes: r.Size, GroupSnapshotId: r.Group,
		CreationTime: timestamppb.New(r.Created), ReadyToUse: d.faults.ready(r),
	}
}

// CreateSnapshot implements csi.ControllerServer.
func (d *driver) CreateSnapshot(ctx context.Context, q *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	if !validID(q.GetName()) {
		return nil, invalid("name")
	}
	if !validID(q.GetSourceVolumeId()) {
		return nil, invalid("source volume")
	}
	r, err := d.cut(ctx, handle(snapshots, q.GetName()), q.GetSourceVolumeId(), "")
	if err != nil {
		return nil, failed(err)
	}
	d.faults.asked(r)
	return &csi.CreateSnapshotResponse{Snapshot: d.snapshot(r)}, nil
}

// cut returns the snapshot of this id, which it makes if need be.
func (d *driver) cut(ctx context.Context, id, volume, group string) (record, error) {
	defer d.store.exclusive(snapshots, id)()
	v, err := d.store.load(volumes, volume)
	if err != nil {
		return record{}, err
	}
	r, err := d.store.load(snapshots, id)
	if err == nil && r.Source != volume {
		return r, status.Errorf(codes.AlreadyExists, "snapshot %q is one of volume %q", id, r.Source)
	}
	if !errors.Is(err, errNotThere) {
		return r, err
	}
	r = record{ID: id, Source: volume, Size: v.Size, Group: group, Created: time.Now()}
	return r, d.store.create(ctx, snapshots, r, d.store.content(volumes, volume))
}

// DeleteSnapshot implements csi.ControllerServer.
func (d *driver) DeleteSnapshot(_ context.Context, q *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if !validID(q.GetSnapshotId()) {
		return nil, invalid("snapshot")
	}
	defer d.store.exclusive(snapshots, q.GetSnapshotId())()
	return &csi.DeleteSnapshotResponse{}, failed(d.store.remove(snapshots, q.GetSnapshotId()))
}

// ListSnapshots implements csi.ControllerServer.
func (d *driver) ListSnapshots(_ context.Context, q *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	all, err := d.store.list(snapshots)
	if err != nil {
		return nil, failed(err)
	}
	var fitting []record
	for _, r := range all {
		if (q.GetSnapshotId() == "" || q.GetSnapshotId() == r.ID) && (q.GetSourceVolumeId() == "" || q.GetSourceVolumeId() == r.Source) {
			fitting = append(fitting, r)
		}
	}
	first, end := 0, len(fitting)
	if q.GetStartingToken() != "" {
		if first, err = strconv.Atoi(q.GetStartingToken()); err != nil || first < 0 || first > end {
			return nil, status.Errorf(codes.Aborted, "token %q is none of this list", q.GetStartingToken())
		}
	}
	response := &csi.ListSnapshotsResponse{}
	if most := int(q.GetMaxEntries()); most > 0 && first+most < end {
		end = first + most
		response.NextToken = strconv.Itoa(end)
	}
	for _, r := range fitting[first:end] {
		d.faults.asked(r)
		response.Entries = append(response.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: d.snapshot(r)})
	}
	return response, nil
}
