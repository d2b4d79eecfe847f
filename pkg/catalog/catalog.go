// Package catalog knows the backups and restores in a bucket: the names of
// their objects, how each is encoded, who may use a name, and when a backup
// exists. What is in the objects is the business of those who write them. Names
// and encodings are Velero's (backup format 1.1.0).
package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/validation"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// maxJSONBytes bounds the uncompressed size of a side file that is decoded
// whole, since a bucket is not trusted: the resource list of a million objects
// fits.
const maxJSONBytes = 256 << 20

// lookParallel is how many markers are looked for at once.
const lookParallel = 16

// Catalog is the view of one bucket. It is safe for concurrent use.
type Catalog struct {
	bucket store.Bucket
	ledger ledger
}

// New returns the catalog of a bucket.
func New(b store.Bucket) *Catalog { return &Catalog{bucket: b} }

// put stores an object and notes its checksum.
func (c *Catalog) put(ctx context.Context, key string, r io.Reader) error {
	summed := newSummingReader(r)
	if err := c.bucket.Put(ctx, key, summed); err != nil {
		return usedUp(key, err)
	}
	c.ledger.note(key, summed.sum())
	return nil
}

// Backups returns the names of the backups that exist, those with a commit
// marker, in order.
func (c *Catalog) Backups(ctx context.Context) ([]string, error) {
	names, err := c.Names(ctx)
	if err != nil {
		return nil, err
	}
	exists := make([]bool, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookParallel)
	for i, name := range names {
		group.Go(func() (err error) {
			exists[i], err = c.Exists(ctx, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var existing []string
	for i, name := range names {
		if exists[i] {
			existing = append(existing, name)
		}
	}
	return existing, nil
}

// Names returns the names of backups that anything is stored under, in order:
// also of those that run, failed, or are half deleted.
func (c *Catalog) Names(ctx context.Context) ([]string, error) {
	names, err := c.bucket.Prefixes(ctx, "backups/")
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	// Somebody else's folders have other names.
	return slices.DeleteFunc(names, func(name string) bool { return checkName("backup", name) != nil }), nil
}

// Exists reports whether the backup has its commit marker.
func (c *Catalog) Exists(ctx context.Context, backup string) (bool, error) {
	if err := checkName("backup", backup); err != nil {
		return false, err
	}
	_, err := c.bucket.Stat(ctx, markerKey(backup))
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for backup %q: %w", backup, err)
	}
	return true, nil
}

// ReadBackup returns the Backup as the commit marker holds it. A backup without
// marker doesn't exist: store.ErrNotExist.
func (c *Catalog) ReadBackup(ctx context.Context, backup string) (*velerov1.Backup, error) {
	if err := checkName("backup", backup); err != nil {
		return nil, err
	}
	body, err := c.readAll(ctx, markerKey(backup))
	if err != nil {
		return nil, fmt.Errorf("read backup %q: %w", backup, err)
	}
	var b velerov1.Backup
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, fmt.Errorf("read backup %q: decode %s: %w", backup, markerFile, err)
	}
	if b.Kind != "Backup" || b.Name != backup {
		return nil, fmt.Errorf("read backup %q: %s is %s %q", backup, markerFile, b.Kind, b.Name)
	}
	return &b, nil
}

// Commit writes the commit marker, which makes the backup exist. It is written
// once, after everything else. A marker that is there is never replaced: it is a
// *TakenError, or an *AlreadyCommittedError if it is this Backup's; the very
// same marker is success, since the answer to a write can get lost.
func (c *Catalog) Commit(ctx context.Context, b *velerov1.Backup) error {
	if err := checkName("backup", b.Name); err != nil {
		return err
	}
	marker := b.DeepCopy()
	marker.APIVersion, marker.Kind = velerov1.SchemeGroupVersion.String(), "Backup"
	body, err := json.MarshalIndent(marker, "", "  ")
	if err != nil {
		return fmt.Errorf("encode backup %q: %w", b.Name, err)
	}
	err = c.bucket.Create(ctx, markerKey(b.Name), body)
	if errors.Is(err, store.ErrExists) {
		return c.whoseMarker(ctx, b, body)
	}
	if err != nil {
		return fmt.Errorf("commit backup %q: %w", b.Name, usedUp(markerKey(b.Name), err))
	}
	return nil
}

// whoseMarker says what a marker that stands where b's was to be written means.
func (c *Catalog) whoseMarker(ctx context.Context, b *velerov1.Backup, body []byte) error {
	standing, err := c.readAll(ctx, markerKey(b.Name))
	if err != nil {
		return fmt.Errorf("commit backup %q: %w", b.Name, err)
	}
	if bytes.Equal(standing, body) {
		return nil
	}
	return c.checkMarker(ctx, b.Name, string(b.UID))
}

// PutArchive streams the archive of a backup into the bucket. It appears whole
// or not at all.
func (c *Catalog) PutArchive(ctx context.Context, backup string, r io.Reader) error {
	if err := checkName("backup", backup); err != nil {
		return err
	}
	if err := c.put(ctx, archiveKey(backup), r); err != nil {
		return fmt.Errorf("store the archive of backup %q: %w", backup, err)
	}
	return nil
}

// OpenArchive opens the archive of a backup, still compressed; the caller closes
// it.
func (c *Catalog) OpenArchive(ctx context.Context, backup string) (io.ReadCloser, error) {
	if err := checkName("backup", backup); err != nil {
		return nil, err
	}
	r, err := c.bucket.Get(ctx, archiveKey(backup))
	if err != nil {
		return nil, fmt.Errorf("open the archive of backup %q: %w", backup, err)
	}
	return r, nil
}

// OpenArchivePart is OpenArchive for length bytes from offset on.
func (c *Catalog) OpenArchivePart(ctx context.Context, backup string, offset, length int64) (io.ReadCloser, error) {
	if err := checkName("backup", backup); err != nil {
		return nil, err
	}
	r, err := c.bucket.GetRange(ctx, archiveKey(backup), offset, length)
	if err != nil {
		return nil, fmt.Errorf("open a part of the archive of backup %q: %w", backup, err)
	}
	return r, nil
}

// ArchiveSize is the length of the archive of a backup, compressed, in bytes.
func (c *Catalog) ArchiveSize(ctx context.Context, backup string) (int64, error) {
	if err := checkName("backup", backup); err != nil {
		return 0, err
	}
	info, err := c.bucket.Stat(ctx, archiveKey(backup))
	if err != nil {
		return 0, fmt.Errorf("look at the archive of backup %q: %w", backup, err)
	}
	return info.Size, nil
}

// PutJSON stores v as a side file: compact JSON with a newline, <, > and &
// escaped, in one gzip member.
func (c *Catalog) PutJSON(ctx context.Context, f File, v any) error {
	return c.WriteGzip(ctx, f, func(w io.Writer) error { return json.NewEncoder(w).Encode(v) })
}

// WriteGzip stores as a side file what write writes, and compresses it on the
// way. Only the compressed form is held.
func (c *Catalog) WriteGzip(ctx context.Context, f File, write func(io.Writer) error) error {
	var compressed bytes.Buffer
	gz := gzip.NewWriter(&compressed)
	if err := errors.Join(write(gz), gz.Close()); err != nil {
		return fmt.Errorf("encode %s: %w", f.key, err)
	}
	return c.PutCompressed(ctx, f, compressed.Bytes())
}

// PutCompressed stores a side file that is gzipped already.
func (c *Catalog) PutCompressed(ctx context.Context, f File, compressed []byte) error {
	if f.err != nil {
		return f.err
	}
	if err := c.put(ctx, f.key, bytes.NewReader(compressed)); err != nil {
		return fmt.Errorf("store %s: %w", f.key, err)
	}
	return nil
}

// Open opens a side file, uncompressed; the caller closes it. A file that is
// missing is store.ErrNotExist: most of them are optional.
func (c *Catalog) Open(ctx context.Context, f File) (io.ReadCloser, error) {
	if f.err != nil {
		return nil, f.err
	}
	compressed, err := c.bucket.Get(ctx, f.key)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.key, err)
	}
	gz, err := gzip.NewReader(compressed)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", f.key, err), compressed.Close())
	}
	return &gunzipped{Reader: gz, source: compressed}, nil
}

// GetJSON decodes a side file into v, ignoring keys that v lacks; v stays empty
// if the file holds null. A file that is missing is store.ErrNotExist, and for
// most means the same as an empty one.
func (c *Catalog) GetJSON(ctx context.Context, f File, v any) error {
	r, err := c.Open(ctx, f)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := json.NewDecoder(io.LimitReader(r, maxJSONBytes)).Decode(v); err != nil {
		return fmt.Errorf("decode %s: %w", f.key, err)
	}
	return nil
}

// gunzipped closes what it reads from, too.
type gunzipped struct {
	*gzip.Reader
	source io.Closer
}

func (g *gunzipped) Close() error { return errors.Join(g.Reader.Close(), g.source.Close()) }

// readAll reads a small object.
func (c *Catalog) readAll(ctx context.Context, key string) ([]byte, error) {
	r, err := c.bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxJSONBytes))
}

// checkName keeps names that could leave their folder out of keys.
func checkName(kind, name string) error {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return fmt.Errorf("%s name %q: %s", kind, name, problems[0])
	}
	return nil
}
