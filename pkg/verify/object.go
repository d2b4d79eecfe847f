package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/klauspost/compress/gzip"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

const (
	markerName      = "velero-backup.json"
	checksumsSuffix = "-checksums.json"
)

// Bounds of what is decoded whole, in bytes after unpacking.
const (
	maxMarkerBytes = 16 << 20
	maxJSONBytes   = 128 << 20
)

// sum is what an object was when it was written.
type sum struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// source counts and sums what is read of an object, and remembers whether the
// reading itself failed, which is no finding.
type source struct {
	check *check
	ended func() error // why to stop, such as a context's end
	r     io.Reader
	hash  hash.Hash
	size  int64
	err   error
}

func (s *source) Read(p []byte) (int, error) {
	if err := errors.Join(s.ended(), s.check.failed); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.r.Read(p)
	s.size += int64(n)
	s.hash.Write(p[:n])
	s.check.progress(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (s *source) sum() sum { return sum{s.size, hex.EncodeToString(s.hash.Sum(nil))} }

// read reads one object to its end: parse looks at its content and tells what it
// finds, the rest is summed, and the sum is compared.
func (c *check) read(ctx context.Context, name string, body io.ReadCloser, parse func(io.Reader)) (err error) {
	_, err = c.readSum(ctx, name, body, parse)
	return err
}

func (c *check) readSum(ctx context.Context, name string, body io.ReadCloser, parse func(io.Reader)) (got sum, err error) {
	c.object = name
	c.summary.Objects++
	s := &source{check: c, ended: ctx.Err, r: body, hash: sha256.New()}
	parse(s)
	if s.err == nil {
		_, _ = io.Copy(io.Discard, s) // its error is s.err
	}
	if err := errors.Join(s.err, body.Close()); err != nil {
		return sum{}, fmt.Errorf("read %s: %w", name, err)
	}
	got = s.sum()
	if want, ok := c.sums[name]; ok && want != got {
		c.find(Broken, "", "it has %d bytes with SHA-256 %s; written were %d with %s", got.Size, got.SHA256, want.Size, want.SHA256)
	}
	return got, nil
}

// readNamed is read for an object that is in the bucket; without it nothing is
// done.
func (c *check) readNamed(ctx context.Context, name string, parse func(io.Reader)) error {
	if !c.has(name) {
		return nil
	}
	body, err := c.open(ctx, name)
	if body == nil {
		return err
	}
	return c.read(ctx, name, body, parse)
}

// plainJSON decodes one JSON value and nothing behind it.
func plainJSON(r io.Reader, limit int64, v any) error {
	limited := &io.LimitedReader{R: r, N: limit}
	decoder := json.NewDecoder(limited)
	if err := decoder.Decode(v); err != nil {
		if limited.N <= 0 {
			return fmt.Errorf("it has more than %d bytes", limit)
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("it doesn't decode: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its JSON")
	}
	return nil
}

// gzipJSON is plainJSON of what is gzipped.
func gzipJSON(r io.Reader, limit int64, v any) error {
	plain, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("it isn't gzipped: %w", err)
	}
	return plainJSON(plain, limit, v)
}

// readMarker reads the commit marker.
func (c *check) readMarker(ctx context.Context) error {
	return c.readNamed(ctx, markerName, func(r io.Reader) {
		b := &velerov1.Backup{}
		if err := plainJSON(r, maxMarkerBytes, b); err != nil {
			c.find(Broken, "", "%v", err)
			return
		}
		c.marker = b
		if b.Kind != "Backup" || b.APIVersion != velerov1.SchemeGroupVersion.String() || b.Name != c.backup {
			c.find(Broken, "", "it holds %s %s %q, not the Backup %q", b.APIVersion, b.Kind, b.Name, c.backup)
		}
		switch b.Status.Phase {
		case velerov1.BackupPhaseCompleted, velerov1.BackupPhasePartiallyFailed:
		default:
			c.find(Broken, "", "its phase is %q: the backup didn't end", b.Status.Phase)
		}
	})
}

// readChecksums reads what every other object should be.
func (c *check) readChecksums(ctx context.Context) error {
	name := c.name(checksumsSuffix)
	want := ""
	if c.marker != nil {
		want = c.marker.Annotations[velerov1.ChecksumsAnnotation]
	}
	if !c.has(name) {
		c.object = name
		if want != "" {
			c.find(Broken, "", "it is missing, though the commit marker names its SHA-256")
			return nil
		}
		c.find(Unchecked, "", "there are no checksums, as in backups that Velero wrote: whether the objects are what was written can't be told")
		return nil
	}
	body, err := c.open(ctx, name)
	if body == nil {
		return err
	}
	var sums struct {
		Objects map[string]sum `json:"objects"`
	}
	got, err := c.readSum(ctx, name, body, func(r io.Reader) {
		if err := plainJSON(r, maxJSONBytes, &sums); err != nil {
			c.find(Broken, "", "%v", err)
		}
	})
	if err != nil {
		return err
	}
	if want != got.SHA256 {
		c.find(Broken, "", "its SHA-256 is %s; the commit marker says %q", got.SHA256, want)
	}
	if c.sums = sums.Objects; c.sums == nil {
		c.sums = map[string]sum{}
	}
	return nil
}

// compareNames compares which objects there are with those that were written.
func (c *check) compareNames(context.Context) error {
	if c.sums == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.sums)) {
		if !c.has(name) {
			c.object = name
			c.find(Broken, "", "it is missing")
		}
	}
	for _, name := range c.names {
		if _, known := c.sums[name]; !known && name != markerName && name != c.name(checksumsSuffix) {
			c.object = name
			c.find(Broken, "", "it has no checksum: it didn't belong to the backup when that was written")
		}
	}
	return nil
}

// discard is what reads an object whose content says nothing.
func discard(io.Reader) {}
