package catalog

import (
	"context"
	"fmt"
	"slices"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// deleteBatch is how many objects a bucket is told to delete at a time.
const deleteBatch = 500

// DeleteBackup removes everything below a backup's folder: first the marker, so
// that no half deleted backup is ever listed, last the claim, so that nobody
// takes the name in between. What is missing is fine; after an error, call it
// again. If anything of it is locked, that is a *store.LockedError, and the backup
// is still whole: locks are looked for first, and where a bucket tells of them only
// when it refuses, the marker, written last, is locked the longest.
func (c *Catalog) DeleteBackup(ctx context.Context, backup string) error {
	if err := c.DeleteMarker(ctx, backup); err != nil {
		return err
	}
	if err := c.tidyUploads(ctx, backup); err != nil {
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

// DeleteMarker is the beginning of DeleteBackup: nobody takes the backup for whole
// any more, and what its files tell can still be read.
func (c *Catalog) DeleteMarker(ctx context.Context, backup string) error {
	if err := checkName("backup", backup); err != nil {
		return err
	}
	if err := c.checkLocks(ctx, backup); err != nil {
		return fmt.Errorf("delete backup %q: %w", backup, err)
	}
	if err := c.bucket.Delete(ctx, markerKey(backup)); err != nil {
		return fmt.Errorf("delete the marker of backup %q: %w", backup, err)
	}
	return nil
}

// checkLocks looks for locks on everything below a backup's folder.
func (c *Catalog) checkLocks(ctx context.Context, backup string) error {
	checker, ok := c.bucket.(store.LockChecker)
	if !ok {
		return nil
	}
	var keys []string
	for info, err := range c.bucket.List(ctx, backupFolder(backup)) {
		if err != nil {
			return err
		}
		if keys = append(keys, info.Key); len(keys) == deleteBatch {
			if err := checker.CheckLocks(ctx, keys...); err != nil {
				return err
			}
			keys = keys[:0]
		}
	}
	return checker.CheckLocks(ctx, keys...)
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

// AbortUploads removes what killed writers of a backup left behind, where a store
// keeps it, and says how much that was. Nobody may be writing this backup. An
// account that may not list uploads gets store.ErrDenied.
func (c *Catalog) AbortUploads(ctx context.Context, backup string) (int, error) {
	if err := checkName("backup", backup); err != nil {
		return 0, err
	}
	aborter, ok := c.bucket.(store.UploadAborter)
	if !ok {
		return 0, nil
	}
	aborted := 0
	// The archive by name too: some servers list uploads of a key, not of a
	// folder.
	for _, prefix := range []string{backupFolder(backup), archiveKey(backup)} {
		n, err := aborter.AbortUploads(ctx, prefix)
		if aborted += n; err != nil {
			return aborted, fmt.Errorf("remove unfinished uploads of backup %q: %w", backup, err)
		}
	}
	return aborted, nil
}

// tidyUploads is AbortUploads for who only wants them gone: many accounts may not
// list uploads, and some servers can't, so only what may pass is an error.
func (c *Catalog) tidyUploads(ctx context.Context, backup string) error {
	_, err := c.AbortUploads(ctx, backup)
	if err != nil && (store.Temporary(err) || ctx.Err() != nil) {
		return err
	}
	return nil
}

// deleteFolder removes every object below prefix but those to keep.
func (c *Catalog) deleteFolder(ctx context.Context, prefix string, keep ...string) error {
	var keys []string
	for info, err := range c.bucket.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if slices.Contains(keep, info.Key) {
			continue
		}
		if keys = append(keys, info.Key); len(keys) == deleteBatch {
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
