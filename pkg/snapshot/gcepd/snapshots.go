package gcepd

import (
	"context"
	"fmt"

	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// Kinds of resources as their URLs have them.
const (
	kindSnapshots = "snapshots"
	kindDisks     = "disks"
)

// get reads a snapshot.
func (s *Snapshotter) get(ctx context.Context, project, name string) (*compute.Snapshot, error) {
	return call(ctx, s, func(ctx context.Context) (*compute.Snapshot, error) {
		return s.api.Snapshots.Get(project, name).Context(ctx).Do()
	})
}

// State implements snapshot.Snapshotter. Compute Engine tells no progress.
func (s *Snapshotter) State(ctx context.Context, id string) (snapshot.State, error) {
	project, err := s.snapshotProject(ctx)
	if err != nil {
		return snapshot.State{}, err
	}
	found, err := s.get(ctx, project, id)
	if err != nil {
		return snapshot.State{}, s.failed(ctx, fmt.Sprintf("get snapshot %q of project %q", id, project), err)
	}
	switch found.Status {
	case statusReady:
		return snapshot.State{Ready: true, Progress: 100}, nil
	case statusFailed:
		return snapshot.State{Failure: "Compute Engine says that it failed"}, nil
	case statusDeleting:
		return snapshot.State{Failure: "it is being deleted"}, nil
	}
	return snapshot.State{}, nil
}

// Find implements snapshot.Snapshotter. Those that are being deleted are left out.
func (s *Snapshotter) Find(ctx context.Context, owner snapshot.Owner) ([]string, error) {
	project, err := s.snapshotProject(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for token := ""; ; {
		page, err := call(ctx, s, func(ctx context.Context) (*compute.SnapshotList, error) {
			return s.api.Snapshots.List(project).Filter(ownedBy(owner.UID)).PageToken(token).Context(ctx).Do()
		})
		if err != nil {
			return nil, s.failed(ctx, fmt.Sprintf("list the snapshots of backup %q in project %q", owner.Backup, project), err)
		}
		for _, found := range page.Items {
			if parseTags(found.Description)[ownerKey] == owner.UID && found.Status != statusDeleting {
				ids = append(ids, found.Name)
			}
		}
		if token = page.NextPageToken; token == "" {
			return ids, nil
		}
	}
}

// Delete implements snapshot.Snapshotter.
func (s *Snapshotter) Delete(ctx context.Context, id string) error {
	project, err := s.snapshotProject(ctx)
	if err != nil {
		return err
	}
	if err := s.remove(ctx, project, id); err != nil {
		return s.failed(ctx, fmt.Sprintf("delete snapshot %q of project %q", id, project), err)
	}
	return nil
}

// remove deletes a snapshot and waits until that has begun for good.
func (s *Snapshotter) remove(ctx context.Context, project, name string) error {
	op, err := change(ctx, s, func(ctx context.Context, id string) (*compute.Operation, error) {
		return s.api.Snapshots.Delete(project, name).RequestId(id).Context(ctx).Do()
	})
	if isMissing(err, kindSnapshots, name) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.await(ctx, project, op, func(ctx context.Context) (look, error) {
		found, err := s.get(ctx, project, name)
		switch {
		case isMissing(err, kindSnapshots, name), err == nil && found.Status == statusDeleting:
			return lookDone, nil
		}
		return lookBusy, err
	})
}
