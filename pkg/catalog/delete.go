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
// again. What is locked is a *store.LockedError; since the marker, written last,
// is locked the longest where a bucket locks everything for the same time, the
// backup is still whole then.
func (c *Catalog) DeleteBackup(ctx context.Context, backup string) error {
	if err := checkName("backup", backup); err != nil {
		return err
	}
	if err := c.bucket.Delete(ctx, markerKey(backup)); err != nil {
		return fmt.Errorf("delete the marker of backup %q: %w", backup, err)
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
