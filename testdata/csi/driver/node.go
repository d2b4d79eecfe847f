package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NodeGetInfo implements csi.NodeServer.
func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.options.node}, nil
}

// NodeGetCapabilities implements csi.NodeServer.
func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}

// NodePublishVolume implements csi.NodeServer.
func (d *driver) NodePublishVolume(ctx context.Context, q *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	switch {
	case !validID(q.GetVolumeId()):
		return nil, invalid("volume")
	case q.GetTargetPath() == "":
		return nil, invalid("target path")
	case q.GetVolumeCapability() == nil:
		return nil, invalid("capability")
	}
	if _, err := d.store.load(volumes, q.GetVolumeId()); err != nil {
		return nil, failed(err)
	}
	if mounted(ctx, q.GetTargetPath()) {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := os.MkdirAll(q.GetTargetPath(), 0o750); err != nil {
		return nil, failed(err)
	}
	how := "bind"
	if q.GetReadonly() {
		how = "bind,ro"
	}
	out, err := exec.CommandContext(ctx, "mount", "-o", how, d.store.content(volumes, q.GetVolumeId()), q.GetTargetPath()).CombinedOutput()
	if err != nil {
		return nil, status.Errorf(codes.Internal, "mount volume %q: %v: %s", q.GetVolumeId(), err, out)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume implements csi.NodeServer.
func (d *driver) NodeUnpublishVolume(ctx context.Context, q *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if !validID(q.GetVolumeId()) {
		return nil, invalid("volume")
	}
	if q.GetTargetPath() == "" {
		return nil, invalid("target path")
	}
	if mounted(ctx, q.GetTargetPath()) {
		if out, err := exec.CommandContext(ctx, "umount", q.GetTargetPath()).CombinedOutput(); err != nil {
			return nil, status.Errorf(codes.Internal, "unmount volume %q: %v: %s", q.GetVolumeId(), err, out)
		}
	}
	if err := os.Remove(q.GetTargetPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, failed(err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func mounted(ctx context.Context, path string) bool {
	return exec.CommandContext(ctx, "mountpoint", "-q", path).Run() == nil
}
