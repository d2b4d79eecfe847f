package main

import "github.com/container-storage-interface/spec/lib/go/csi"

// subject is what a call is about: handles, also of what it is to make.
type subject struct {
	Volume   string `json:"volume,omitempty"`
	Snapshot string `json:"snapshot,omitempty"`
	Group    string `json:"group,omitempty"`
}

// handles lists those that the subject has.
func (s subject) handles() []string {
	var all []string
	for _, id := range []string{s.Volume, s.Snapshot, s.Group} {
		if id != "" {
			all = append(all, id)
		}
	}
	return all
}

func subjectOf(request any) subject {
	switch q := request.(type) {
	case *csi.CreateVolumeRequest:
		return subject{Volume: handle(volumes, q.GetName()), Snapshot: q.GetVolumeContentSource().GetSnapshot().GetSnapshotId()}
	case *csi.CreateSnapshotRequest:
		return subject{Volume: q.GetSourceVolumeId(), Snapshot: handle(snapshots, q.GetName())}
	case *csi.CreateVolumeGroupSnapshotRequest:
		return subject{Group: handle(groups, q.GetName())}
	}
	var s subject
	if q, ok := request.(interface{ GetVolumeId() string }); ok {
		s.Volume = q.GetVolumeId()
	}
	if q, ok := request.(interface{ GetSnapshotId() string }); ok {
		s.Snapshot = q.GetSnapshotId()
	}
	if q, ok := request.(interface{ GetGroupSnapshotId() string }); ok {
		s.Group = q.GetGroupSnapshotId()
	}
	return s
}
