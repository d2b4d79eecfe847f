package ebs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// CreateVolume implements snapshot.Snapshotter. It waits for a snapshot that isn't
// complete yet, and for the volume.
func (s *snapshotter) CreateVolume(ctx context.Context, r snapshot.VolumeRequest) (string, error) {
	sn, err := s.completed(ctx, r.SnapshotID)
	if err != nil {
		return "", err
	}
	in, err := s.volumeInput(r, sn)
	if err != nil {
		return "", err
	}
	out, err := send(ctx, attempt{s: s, op: fmt.Sprintf("create volume from snapshot %s", r.SnapshotID)}, s.client.CreateVolume, in)
	if errors.Is(err, snapshot.ErrNoZone) {
		return "", s.withZones(ctx, err)
	}
	if err != nil {
		return "", err
	}
	id := aws.ToString(out.VolumeId)
	if err := s.available(ctx, id, r.SnapshotID); err != nil {
		return "", err
	}
	return id, nil
}

// completed waits until a volume can be made from a snapshot.
func (s *snapshotter) completed(ctx context.Context, id string) (types.Snapshot, error) {
	for n := 0; ; n++ {
		sn, err := s.describeSnapshot(ctx, id)
		if err != nil {
			return sn, err
		}
		switch state := stateOf(sn); {
		case state.Ready:
			return sn, nil
		case sn.StorageTier == types.StorageTierArchive:
			return sn, s.config.Errorf("create volume from snapshot %s: it is in the archive tier; hint: aws ec2 restore-snapshot-tier --snapshot-id %[2]s", id)
		case state.Failure != "":
			return sn, s.config.Errorf("create volume from snapshot %s: %s", id, state.Failure)
		}
		if err := s.wait(ctx, n); err != nil {
			return sn, s.config.Errorf("wait for snapshot %s: it is complete to %s: %w", id, cmp.Or(aws.ToString(sn.Progress), "0%"), err)
		}
	}
}

// volumeInput is a volume like the one that the snapshot is of.
func (s *snapshotter) volumeInput(r snapshot.VolumeRequest, sn types.Snapshot) (*ec2.CreateVolumeInput, error) {
	known := parseFacts(tagMap(sn.Tags)[tagDisk])
	zone := cmp.Or(r.Zone, known.zone)
	if zone == "" {
		return nil, fmt.Errorf("snapshot location %q: create volume from snapshot %s: nothing says in which zone the volume was: %w; "+
			"hint: label the persistent volume %s before it is backed up", s.config.Location, r.SnapshotID, snapshot.ErrNoZone, "topology.kubernetes.io/zone")
	}
	in := &ec2.CreateVolumeInput{
		SnapshotId: aws.String(r.SnapshotID), AvailabilityZone: aws.String(zone), VolumeType: types.VolumeType(r.Type),
		TagSpecifications: volumeTags(sn.Tags, s.cluster).of(types.ResourceTypeVolume),
	}
	if r.Token != "" {
		in.ClientToken = aws.String(r.Token)
	}
	// Velero records 0 for what has none.
	if iops := aws.ToInt64(r.IOPS); iops > 0 && iops <= math.MaxInt32 && hasIOPS(in.VolumeType) {
		in.Iops = aws.Int32(int32(iops))
	}
	if in.VolumeType == types.VolumeTypeGp3 && known.throughput > 0 {
		in.Throughput = aws.Int32(known.throughput)
	}
	if known.multiAttach && (in.VolumeType == types.VolumeTypeIo1 || in.VolumeType == types.VolumeTypeIo2) {
		in.MultiAttachEnabled = aws.Bool(true)
	}
	switch {
	case s.kmsKey != "":
		in.Encrypted, in.KmsKeyId = aws.Bool(true), aws.String(s.kmsKey)
	case aws.ToBool(sn.Encrypted):
		in.Encrypted = aws.Bool(true) // with the snapshot's key
	}
	return in, nil
}

// withZones adds to an error which zones there are, if EC2 says it.
func (s *snapshotter) withZones(ctx context.Context, err error) error {
	out, zonesErr := send(ctx, attempt{s: s, op: "list zones"}, s.client.DescribeAvailabilityZones, &ec2.DescribeAvailabilityZonesInput{})
	if zonesErr != nil {
		return err // which says enough
	}
	var names []string
	for _, zone := range out.AvailabilityZones {
		names = append(names, aws.ToString(zone.ZoneName))
	}
	return fmt.Errorf("%w; region %s has the zones %s", err, s.region, strings.Join(names, ", "))
}

// available waits until a new volume can be attached.
func (s *snapshotter) available(ctx context.Context, id, from string) error {
	op := fmt.Sprintf("wait for volume %s, made from snapshot %s", id, from)
	made, seen := time.Now(), false
	for n := 0; ; n++ {
		v, err := s.describeVolume(ctx, id)
		switch {
		case errors.Is(err, snapshot.ErrNotExist):
			// EC2 may not know it yet; but it also drops a volume whose key it may not
			// use.
			if seen || time.Since(made) > s.pauses.visible {
				return s.config.Errorf("%s: AWS has dropped it; hint: %s", op, hintKey)
			}
		case err != nil:
			return err
		case v.State == types.VolumeStateAvailable, v.State == types.VolumeStateInUse:
			return nil
		case v.State == types.VolumeStateCreating:
			seen = true
		default:
			return s.config.Errorf("%s: its state is %q; hint: delete it, and restore again; %s", op, v.State, hintKey)
		}
		if err := s.wait(ctx, n); err != nil {
			return s.config.Errorf("%s: %w", op, err)
		}
	}
}
