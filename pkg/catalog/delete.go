package catalog

import (
	"context"
	"fmt"
	"slices"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// DeleteBackup removes everything below a backup's folder: first the marker, so
// that no half deleted backup is ever listed, last the claim, so that nobody
// takes the name in between. What is missing is fine; after an error, call it
// again.
func (c *Catalog) DeleteBackup(ctx context.Context, backup string) error {
	if err := checkName("backup", backup); err != nil {
		return err
	}
	if err := c.bucket.Delete(ctx, markerKey(backup)); err != nil {
		return fmt.Errorf("delete the marker of backup %q: %w", backup, err)
	}
	if err := c.abortUploads(ctx, backup); err != nil {
		return err
	}
	if err := c.deleteFolder(ctx, backupFolder(backup), claimKey(backup)); err != nil {
		return fmt.Errorf("delete backup %q: %w", backup, err)
	}
	if err := c.bucket.Delete(ctx, claimKey(backup)); err != nil {
		return fmt.Errorf("delete the claim of backup %q: %w", backup, err)
	}
	return nil
}

// DeleteRestore removes everything below a restore's folder.
func (c *Catalog) DeleteRestore(ctx context.Context, restore string) error {
	if err := checkName("restore", restore); err != nil {
		return err
	}
	if err := c.deleteFolder(ctx, restoreFolder(restore)); err != nil {
		return fmt.Errorf("delete restore %q: %w", restore, err)
	}
	return nil
}

// abortUploads removes what killed writers of a backup left behind, where a
// store keeps it. Many accounts may not list uploads, and some servers can't:
// only what may pass is an error.
func (c *Catalog) abortUploads(ctx context.Context, backup string) error {
	aborter, ok := c.bucket.(store.UploadAborter)
	if !ok {
		return nil
	}
	// The archive by name too: some servers list uploads of a key, not of a
	// folder.
	for _, prefix := range []string{backupFolder(backup), archiveKey(backup)} {
		_, err := aborter.AbortUploads(ctx, prefix)
		if err != nil && (store.Temporary(err) || ctx.Err() != nil) {
			return fmt.Errorf("remove unfinished uploads of backup %q: %w", backup, err)
		}
	}
	return nil
}

// deleteFolder removes every object below prefix but those to keep.
func (c *Catalog) deleteFolder(ctx context.Context, prefix string, keep ...string) error {
	const batch = 500
	var keys []string
	for info, err := range c.bucket.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if slices.Contains(keep, info.Key) {
			continue
		}
		if keys = append(keys, info.Key); len(keys) == batch {
			if err := c.bucket.Delete(ctx, keys...); err != nil {
				return err
			}
			keys = keys[:0]
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return c.bucket.Delete(ctx, keys...)
}
