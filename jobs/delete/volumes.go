package delete

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// volumeRecord has the fields of the three side files about volumes that tell
// whether data is kept outside of the backup's folder. The names in the files
// differ, so one type reads all.
type volumeRecord struct {
	Method  string `json:"backupMethod"`
	Skipped bool   `json:"skipped"`
	Status  struct {
		ProviderSnapshotID string `json:"providerSnapshotID"`
		SnapshotID         string `json:"snapshotID"`
	} `json:"status"`
}

// kept reports whether the record is about data that still exists.
func (v volumeRecord) kept() bool {
	return v.Method != "" && !v.Skipped || v.Status.ProviderSnapshotID != "" || v.Status.SnapshotID != ""
}

// checkVolumes refuses a backup with volume data: this version can't delete
// snapshots, and the files that would go are the only list of them.
func (o *operation) checkVolumes(ctx context.Context) error {
	var kept []string
	for _, source := range []struct {
		file catalog.File
		what string
	}{
		{catalog.BackupFile(o.Backup, catalog.VolumeInfo), "volumes with saved data"},
		{catalog.BackupFile(o.Backup, catalog.VolumeSnapshots), "disk snapshots"},
		{catalog.BackupFile(o.Backup, catalog.PodVolumeBackups), "file-system backups"},
	} {
		n, err := o.countKept(ctx, source.file)
		switch {
		case err != nil && o.Force:
			o.warn(err)
		case err != nil:
			return err
		case n > 0:
			kept = append(kept, fmt.Sprintf("%s: %d", source.what, n))
		}
	}
	if len(kept) == 0 {
		return nil
	}
	reason := fmt.Sprintf("backup %q has data that this version can't delete (%s)", o.Backup, strings.Join(kept, ", "))
	if o.Force {
		o.warn(errors.New(reason + "; it stays behind"))
		return nil
	}
	return refuse(reason, "delete it with Velero, or use --force to leave it behind")
}

// countKept counts the records of a side file that are about existing data; a
// missing file has none.
func (o *operation) countKept(ctx context.Context, file catalog.File) (int, error) {
	var records []volumeRecord
	err := o.catalog.GetJSON(ctx, file, &records)
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		return 0, fmt.Errorf("look for volume data: storage location %q: %w", o.location.Name, err)
	}
	n := 0
	for _, record := range records {
		if record.kept() {
			n++
		}
	}
	return n, nil
}
