package ebs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/uuid"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// lookTimeout is how long Create looks for what a request has made whose answer was
// lost, also when its caller has given up.
const lookTimeout = 20 * time.Second

// Create implements snapshot.Snapshotter. The API knows no token for snapshots: a
// request whose answer is lost is looked for by a tag of its own before it is sent
// again, so that no snapshot is made that nobody knows of.
func (s *snapshotter) Create(ctx context.Context, r snapshot.CreateRequest) (string, error) {
	v, err := s.takeVolume(ctx, r.VolumeID)
	if err != nil {
		return "", err
	}
	request := uuid.NewString()
	in := &ec2.CreateSnapshotInput{
		VolumeId:          aws.String(r.VolumeID),
		Description:       aws.String(fmt.Sprintf("velero backup %s, persistent volume %s", r.Owner.Backup, r.Volume)),
		TagSpecifications: snapshotTags(r, v, request).of(types.ResourceTypeSnapshot),
	}
	op := fmt.Sprintf("create snapshot of volume %s", r.VolumeID)
	for n := 1; ; n++ {
		out, err := send(ctx, attempt{s: s, op: op, once: true}, s.client.CreateSnapshot, in)
		if err == nil {
			s.noteFresh(aws.ToString(out.SnapshotId))
			return aws.ToString(out.SnapshotId), nil
		}
		if !unclear(err) {
			return "", err
		}
		id, lookErr := s.look(ctx, request)
		if id != "" {
			return id, nil
		}
		if n == failedAttempts || lookErr != nil || ctx.Err() != nil {
			return "", errors.Join(err, lookErr)
		}
	}
}

// look finds the snapshot of a request. It asks several times, since EC2 may not know
// at once what it has made, and goes on when ctx has ended, so that the caller gets
// to know what it has to delete.
func (s *snapshotter) look(ctx context.Context, request string) (string, error) {
	const questions = 3
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	for n := range questions {
		if err := s.wait(ctx, n); err != nil {
			return "", err
		}
		ids, err := s.find(ctx, "look for the snapshot of a lost answer", tagRequest, request)
		if err != nil {
			return "", err
		}
		if len(ids) > 0 {
			return ids[0], nil
		}
	}
	return "", nil
}

// noteFresh remembers a snapshot that EC2 may deny for a while.
func (s *snapshotter) noteFresh(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for old, made := range s.fresh {
		if now.Sub(made) > s.pauses.visible {
			delete(s.fresh, old)
		}
	}
	s.fresh[id] = now
}

func (s *snapshotter) isFresh(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	made, ok := s.fresh[id]
	return ok && time.Since(made) < s.pauses.visible
}

// State implements snapshot.Snapshotter.
func (s *snapshotter) State(ctx context.Context, id string) (snapshot.State, error) {
	sn, err := s.describeSnapshot(ctx, id)
	if errors.Is(err, snapshot.ErrNotExist) && s.isFresh(id) {
		return snapshot.State{}, nil
	}
	if err != nil {
		return snapshot.State{}, err
	}
	return stateOf(sn), nil
}

func stateOf(sn types.Snapshot) snapshot.State {
	// The form is "87%", or empty.
	progress, _ := strconv.Atoi(strings.TrimSuffix(aws.ToString(sn.Progress), "%"))
	state := snapshot.State{Progress: progress}
	switch sn.State {
	case types.SnapshotStateCompleted:
		state.Ready, state.Progress = sn.StorageTier != types.StorageTierArchive, 100
	case types.SnapshotStateError:
		state.Failure = aws.ToString(sn.StateMessage)
		if state.Failure == "" {
			state.Failure = "AWS calls the snapshot failed, and gives no reason"
		}
	case types.SnapshotStateRecoverable:
		state.Failure = "the snapshot is in the recycle bin"
	}
	return state
}

func (s *snapshotter) describeSnapshot(ctx context.Context, id string) (types.Snapshot, error) {
	op := fmt.Sprintf("describe snapshot %s", id)
	out, err := send(ctx, attempt{s: s, op: op}, s.client.DescribeSnapshots, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
	if err != nil {
		return types.Snapshot{}, err
	}
	if len(out.Snapshots) != 1 {
		return types.Snapshot{}, fmt.Errorf("snapshot location %q: %s in AWS %s: the answer has %d snapshots: %w", s.config.Location, op, s.region, len(out.Snapshots), snapshot.ErrNotExist)
	}
	return out.Snapshots[0], nil
}

// Find implements snapshot.Snapshotter.
func (s *snapshotter) Find(ctx context.Context, owner snapshot.Owner) ([]string, error) {
	if owner.UID == "" {
		return nil, s.config.Errorf("find the snapshots of backup %q: its UID isn't known", owner.Backup)
	}
	return s.find(ctx, fmt.Sprintf("find the snapshots of backup %q", owner.Backup), tagUID, owner.UID)
}

// find lists the account's snapshots that have a tag.
func (s *snapshotter) find(ctx context.Context, op, tag, value string) ([]string, error) {
	const pageSize = 1000 // the most that EC2 gives
	in := &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, MaxResults: aws.Int32(pageSize),
		Filters: []types.Filter{{Name: aws.String("tag:" + tag), Values: []string{value}}},
	}
	var ids []string
	for {
		out, err := send(ctx, attempt{s: s, op: op}, s.client.DescribeSnapshots, in)
		if err != nil {
			return nil, err
		}
		for _, sn := range out.Snapshots {
			ids = append(ids, aws.ToString(sn.SnapshotId))
		}
		if aws.ToString(out.NextToken) == "" {
			return ids, nil
		}
		in.NextToken = out.NextToken
	}
}

// Delete implements snapshot.Snapshotter.
func (s *snapshotter) Delete(ctx context.Context, id string) error {
	_, err := send(ctx, attempt{s: s, op: fmt.Sprintf("delete snapshot %s", id)}, s.client.DeleteSnapshot, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
	if errors.Is(err, snapshot.ErrNotExist) {
		return nil
	}
	return err
}
