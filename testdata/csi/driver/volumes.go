package main

import (
	"context"
	"errors"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// failed is the answer for an error of the store.
func failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNotThere):
		return status.Error(codes.NotFound, err.Error())
	case status.Code(err) != codes.Unknown:
		return err
	}
	return status.Error(codes.Internal, err.Error())
}

func invalid(what string) error {
	return status.Errorf(codes.InvalidArgument, "the call has no valid %s", what)
}

// CreateVolume implements csi.ControllerServer.
func (d *driver) CreateVolume(ctx context.Context, q *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if !validID(q.GetName()) {
		return nil, invalid("name")
	}
	if len(q.GetVolumeCapabilities()) == 0 {
		return nil, invalid("capability")
	}
	r := record{ID: handle(volumes, q.GetName()), Size: q.GetCapacityRange().GetRequiredBytes(), Created: time.Now()}
	defer d.store.exclusive(volumes, r.ID)()
	old, err := d.store.load(volumes, r.ID)
	switch {
	case err == nil && old.Size < r.Size:
		return nil, status.Errorf(codes.AlreadyExists, "volume %q has another size", r.ID)
	case err == nil:
		r = old
	case !errors.Is(err, errNotThere):
		return nil, failed(err)
	default:
		source, err := d.source(q.GetVolumeContentSource(), &r)
		if err == nil {
			err = d.store.create(ctx, volumes, r, source)
		}
		if err != nil {
			return nil, failed(err)
		}
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: r.ID, CapacityBytes: r.Size, ContentSource: q.GetVolumeContentSource(),
	}}, nil
}

// source returns the folder that a volume is made of, empty for none. The volume
// is at least as large as its source.
func (d *driver) source(from *csi.VolumeContentSource, r *record) (string, error) {
	k, id := snapshots, from.GetSnapshot().GetSnapshotId()
	if from.GetSnapshot() == nil {
		if from.GetVolume() == nil {
			return "", nil
		}
		k, id = volumes, from.GetVolume().GetVolumeId()
	}
	if !validID(id) {
		return "", invalid("source")
	}
	origin, err := d.store.load(k, id)
	if err != nil {
		return "", err
	}
	if k == snapshots && !d.faults.ready(origin) {
		return "", status.Errorf(codes.Unavailable, "snapshot %q isn't ready", id)
	}
	r.Size = max(r.Size, origin.Size)
	return d.store.content(k, id), nil
}

// DeleteVolume implements csi.ControllerServer.
func (d *driver) DeleteVolume(_ context.Context, q *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if !validID(q.GetVolumeId()) {
		return nil, invalid("volume")
	}
	defer d.store.exclusive(volumes, q.GetVolumeId())()
	return &csi.DeleteVolumeResponse{}, failed(d.store.remove(volumes, q.GetVolumeId()))
}

// ValidateVolumeCapabilities implements csi.ControllerServer.
func (d *driver) ValidateVolumeCapabilities(_ context.Context, q *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if !validID(q.GetVolumeId()) {
		return nil, invalid("volume")
	}
	if len(q.GetVolumeCapabilities()) == 0 {
		return nil, invalid("capability")
	}
	if _, err := d.store.load(volumes, q.GetVolumeId()); err != nil {
		return nil, failed(err)
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: q.GetVolumeCapabilities()},
	}, nil
}
