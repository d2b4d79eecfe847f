package azuredisk

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// The states of a resource that need words of their own.
const (
	stateSucceeded = "Succeeded"
	stateUpdating  = "Updating" // its tags, for example
	stateCreating  = "Creating"
	stateFailed    = "Failed"
	stateCanceled  = "Canceled"
	stateDeleting  = "Deleting"
)

// State implements snapshot.Snapshotter.
func (s *snapshotter) State(ctx context.Context, id string) (snapshot.State, error) {
	r, err := s.snapshotOf(id)
	if err != nil {
		return snapshot.State{}, err
	}
	found, err := s.getSnapshot(ctx, r)
	if err != nil {
		return snapshot.State{}, err
	}
	return stateOf(found.Properties), nil
}

func (s *snapshotter) getSnapshot(ctx context.Context, r resource) (*armcompute.Snapshot, error) {
	clients, err := s.of(r.subscription)
	if err != nil {
		return nil, err
	}
	op := fmt.Sprintf("get snapshot %s", r)
	answer, err := patiently(ctx, s, func(ctx context.Context) (armcompute.SnapshotsClientGetResponse, error) {
		return clients.snapshots.Get(ctx, r.group, r.name, nil)
	})
	if err != nil {
		return nil, s.failMissing(ctx, op, err)
	}
	if answer.Properties == nil || answer.Location == nil {
		return nil, s.location.Errorf("%s: the answer has no properties", op)
	}
	return &answer.Snapshot, nil
}

// stateOf joins what Azure says of making the snapshot with what it says of copying
// it in the background, which only some are.
func stateOf(p *armcompute.SnapshotProperties) snapshot.State {
	provisioning := value(p.ProvisioningState)
	switch {
	case p.CopyCompletionError != nil:
		return snapshot.State{Failure: fmt.Sprintf("copying it failed: %s: %s", value(p.CopyCompletionError.ErrorCode), value(p.CopyCompletionError.ErrorMessage))}
	case provisioning == stateFailed, provisioning == stateCanceled:
		return snapshot.State{Failure: "Azure calls it " + provisioning}
	case provisioning == stateDeleting:
		return snapshot.State{Failure: "it is being deleted"}
	}
	s := snapshot.State{Progress: 100}
	if p.CompletionPercent != nil {
		s.Progress = int(*p.CompletionPercent)
	} else if provisioning != stateSucceeded && provisioning != stateUpdating {
		s.Progress = 0
	}
	s.Ready = (provisioning == stateSucceeded || provisioning == stateUpdating) && s.Progress >= 100 && independent(p.SnapshotAccessState)
	return s
}

// independent says that a snapshot can be used, and without its disk.
func independent(access *armcompute.SnapshotAccessState) bool {
	switch value(access) {
	case armcompute.SnapshotAccessStatePending, armcompute.SnapshotAccessStateInstantAccess:
		return false
	}
	return true
}

// value is what the pointer points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// Find implements snapshot.Snapshotter. It looks into the location's resource group.
func (s *snapshotter) Find(ctx context.Context, owner snapshot.Owner) ([]string, error) {
	clients, err := s.of(s.snapshots.subscription)
	if err != nil {
		return nil, err
	}
	var ids []string
	pages := clients.snapshots.NewListByResourceGroupPager(s.snapshots.group, nil)
	for pages.More() {
		page, err := patiently(ctx, s, pages.NextPage)
		if err != nil {
			return nil, s.fail(ctx, fmt.Sprintf("list the snapshots in resource group %q", s.snapshots.group), err)
		}
		for _, found := range page.Value {
			if found.Name != nil && tagOf(found.Tags, tagOwner) == owner.UID {
				ids = append(ids, resource{s.snapshots, *found.Name}.id(kindSnapshot))
			}
		}
	}
	return ids, nil
}

// Delete implements snapshot.Snapshotter.
func (s *snapshotter) Delete(ctx context.Context, id string) error {
	r, err := s.snapshotOf(id)
	if err != nil {
		return err
	}
	clients, err := s.of(r.subscription)
	if err != nil {
		return err
	}
	_, err = await(ctx, s, func(ctx context.Context) (*runtime.Poller[armcompute.SnapshotsClientDeleteResponse], error) {
		return clients.snapshots.BeginDelete(ctx, r.group, r.name, nil)
	})
	if err == nil {
		return nil
	}
	return s.failDelete(ctx, r, err)
}

// failDelete knows what a refusal to delete means.
func (s *snapshotter) failDelete(ctx context.Context, r resource, err error) error {
	op := fmt.Sprintf("delete snapshot %s", r)
	var refusal *azcore.ResponseError
	if ctx.Err() != nil || !errors.As(err, &refusal) {
		return s.fail(ctx, op, err)
	}
	if isMissing(refusal) {
		return nil
	}
	hint, kind := s.classify(refusal)
	if kind == nil && (refusal.StatusCode == http.StatusConflict || refusal.ErrorCode == "OperationNotAllowed" || refusal.ErrorCode == "Conflict") {
		kind, hint = snapshot.ErrInUse, "wait until what reads the snapshot is done, or end its export (`az snapshot revoke-access`), and try again"
	}
	return s.report(op, kind, hint, refusal)
}
