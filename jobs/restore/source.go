package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// source is a backup in its bucket.
type source struct {
	catalog *catalog.Catalog
	// backup is the marker in the bucket; its name is the object's.
	backup *velerov1.Backup
	// listed is the backup's resource list; nil when there is none.
	listed map[string][]string
	// saved is how volumes were backed up.
	saved saved
	// index says where in the archive what is; nil when there is none.
	index *archive.Index
	// readOnly says that the location is not meant to be written to.
	readOnly bool
}

// openSource opens the backup's location and reads what stands beside the
// archive. A backup without marker isn't complete and not restored.
func (o *operation) openSource(ctx context.Context) error {
	backup := o.backup
	location, err := o.location(ctx)
	if err != nil {
		return err
	}
	bucket, err := o.OpenStore(ctx, location)
	if err != nil {
		return fmt.Errorf("storage location %q: %w", location.Name, err)
	}
	o.source = &source{catalog: catalog.New(bucket)}
	o.source.backup, err = o.source.catalog.ReadBackup(ctx, backup.Name)
	if o.preview == nil {
		o.noteLocation(ctx, location, err)
	}
	if errors.Is(err, store.ErrNotExist) {
		return fmt.Errorf("backup %q is not in storage location %q, or was never completed: %w", backup.Name, location.Name, err)
	}
	if err != nil {
		return err
	}
	o.source.backup.Name = backup.Name
	o.source.readOnly = location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly
	if err := o.source.readSideFiles(ctx); err != nil {
		return err
	}
	o.Log.Info("backup opened", "backup", backup.Name, "location", location.Name, "index", o.source.index != nil)
	return nil
}

// noteLocation keeps the status of the location true. That the backup isn't there
// says that the bucket could be asked.
func (o *operation) noteLocation(ctx context.Context, location *velerov1.BackupStorageLocation, err error) {
	if errors.Is(err, store.ErrNotExist) {
		err = nil
	}
	o.NoteLocation(ctx, location, err)
}

// readSideFiles reads what a backup may or may not have beside its archive.
func (s *source) readSideFiles(ctx context.Context) error {
	if err := s.read(ctx, catalog.ResourceList, &s.listed); err != nil {
		return err
	}
	if err := s.readIndex(ctx); err != nil {
		return err
	}
	return s.readVolumes(ctx)
}

// read decodes a file beside the archive; one that isn't there leaves into as
// it is.
func (s *source) read(ctx context.Context, file catalog.BackupFileKind, into any) error {
	err := s.catalog.GetJSON(ctx, catalog.BackupFile(s.backup.Name, file), into)
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}

// readIndex reads the index, which backups of Velero don't have, and checks that
// it is about this archive.
func (s *source) readIndex(ctx context.Context) error {
	body, err := s.catalog.Open(ctx, catalog.BackupFile(s.backup.Name, catalog.Index))
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	index, err := archive.ReadIndex(body)
	if err != nil {
		return fmt.Errorf("backup %q: %w", s.backup.Name, err)
	}
	size, err := s.catalog.ArchiveSize(ctx, s.backup.Name)
	if err != nil {
		return err
	}
	if size != index.Size {
		return fmt.Errorf("the archive of backup %q has %d bytes, its index is about one of %d: one of them is damaged or was replaced; hint: kubectl velero backup verify %s",
			s.backup.Name, size, index.Size, s.backup.Name)
	}
	s.index = index
	return nil
}

// maxGap is how many bytes are read for nothing rather than with a request of
// their own.
const maxGap = 32 << 10

// parts are the parts of the archive that hold the members that match, each not
// much longer than limit bytes: one, the whole, when there is no index.
func (s *source) parts(match func(archive.Member) bool, limit int64) []archive.Range {
	if s.index == nil {
		return []archive.Range{{Offset: 0, Length: -1}}
	}
	var parts []archive.Range
	for _, m := range s.index.Members {
		if !match(m) {
			continue
		}
		if n := len(parts); n > 0 && parts[n-1].Length < limit && m.Offset-(parts[n-1].Offset+parts[n-1].Length) <= maxGap {
			parts[n-1].Length = m.Offset + m.Length - parts[n-1].Offset
			continue
		}
		parts = append(parts, archive.Range{Offset: m.Offset, Length: m.Length})
	}
	return parts
}

// whole reports whether a part is the whole archive.
func (s *source) whole(part archive.Range) bool {
	return part.Length < 0 || s.index != nil && part.Length == s.index.Size
}

// open opens a part of the archive.
func (s *source) open(ctx context.Context, part archive.Range) (io.ReadCloser, error) {
	if part.Length < 0 {
		return s.catalog.OpenArchive(ctx, s.backup.Name)
	}
	return s.catalog.OpenArchivePart(ctx, s.backup.Name, part.Offset, part.Length)
}

// locationSecrets are the names of the Secrets that locations of the target
// cluster get their credentials from.
func (o *operation) locationSecrets(ctx context.Context) ([]string, error) {
	secrets := []string{"cloud-credentials"}
	locations, err := o.Client.BackupStorageLocations(o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list storage locations: %w", err)
	}
	for _, location := range locations.Items {
		mounts := launch.MountsOf(&location)
		for _, secret := range []*corev1.SecretKeySelector{mounts.Credential, mounts.EncryptionKey, mounts.CACert} {
			if secret != nil {
				secrets = append(secrets, secret.Name)
			}
		}
	}
	snapshots, err := o.Client.VolumeSnapshotLocations(o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list snapshot locations: %w", err)
	}
	for _, location := range snapshots.Items {
		if location.Spec.Credential != nil {
			secrets = append(secrets, location.Spec.Credential.Name)
		}
	}
	slices.Sort(secrets)
	return slices.Compact(secrets), nil
}
