package catalog

import (
	"context"
	"fmt"
	"slices"
)

// topLevel are the folders that Velero knows directly below a location's prefix.
var topLevel = []string{"backups", "kopia", "metadata", "plugins", "restic", "restores"}

// ForeignFolders returns the folders directly below the location's prefix that
// aren't Velero's, in order. A Velero server calls a location that has some
// unavailable.
func (c *Catalog) ForeignFolders(ctx context.Context) ([]string, error) {
	folders, err := c.bucket.Prefixes(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("list the folders of the location: %w", err)
	}
	return slices.DeleteFunc(folders, func(name string) bool { return slices.Contains(topLevel, name) }), nil
}
