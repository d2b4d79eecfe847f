package csi

import (
	"context"
	"errors"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
)

// Keep makes the drivers keep the data when the objects go. A backup calls it before
// it commits: from then on the snapshots belong to the backup, not to a namespace.
// An error means that the data of some are not safe, or are lost already.
func (t *Taker) Keep(ctx context.Context) error {
	t.mu.Lock()
	entries := slices.Clone(t.taken)
	t.mu.Unlock()
	var contents []string
	for _, e := range entries {
		if e.group == nil && e.Err == nil {
			contents = append(contents, e.Content)
		}
	}
	groups := slices.DeleteFunc(groupsOf(entries), (*group).isDoomed)
	for _, g := range groups {
		contents = append(contents, g.contents()...)
	}
	errs := make([]error, len(contents)+len(groups))
	t.client.each(len(errs), func(i int) {
		if i < len(contents) {
			errs[i] = t.client.keep(ctx, contents[i])
		} else {
			errs[i] = t.keepGroup(ctx, groups[i-len(contents)])
		}
	})
	return errors.Join(errs...)
}

// keepPatch makes a driver keep the data of a content, and says that it is a backup's.
// The policy alone doesn't: it is set as soon as there is a content.
func keepPatch() []byte {
	return mustEncode(map[string]any{
		"metadata": map[string]any{"labels": map[string]string{kept: isKept}},
		"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentRetain},
	})
}

// keep makes a driver keep the snapshot of a content.
func (c *Client) keep(ctx context.Context, name string) error {
	content, err := c.patchContent(ctx, name, keepPatch())
	if err == nil && content.DeletionTimestamp != nil {
		err = errDeleted
	}
	if err != nil {
		return fmt.Errorf("keep volume snapshot content %q: %w", name, err)
	}
	return nil
}

// keepGroup makes a driver keep a group snapshot.
func (t *Taker) keepGroup(ctx context.Context, g *group) error {
	err := retry(ctx, func() error {
		content, err := t.groupAPI.patchContent(ctx, t.client, g.content, keepPatch())
		if err == nil && content.DeletionTimestamp != nil {
			return errDeleted
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("keep volume group snapshot content %q: %w", g.content, err)
	}
	return nil
}

// Release removes the objects of what was kept; the data stays. It comes after the
// commit.
func (t *Taker) Release(ctx context.Context) error {
	_, err := t.client.Forget(ctx, t.backup.Name, string(t.backup.UID))
	return err
}

// Discard deletes all that was taken, with its data: of a backup that failed.
func (t *Taker) Discard(ctx context.Context) error {
	_, err := t.client.Leftovers(ctx, t.backup.Name, string(t.backup.UID))
	return err
}
