package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// MaxObjectBytes is the size of the largest object that a Reader returns. The
// API server refuses objects of more than some 3 MiB; the rest is margin.
const MaxObjectBytes = 64 << 20

// ItemError is about one entry: the reader can go on with the next.
type ItemError struct {
	// Path is the entry's name in the archive.
	Path string
	Err  error
}

func (e *ItemError) Error() string { return fmt.Sprintf("archive entry %q: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *ItemError) Unwrap() error { return e.Err }

// Reader reads the objects of an archive in one pass. The archive is not
// trusted: nothing is written to disk, names are checked against the grammar of
// the format, sizes are bounded. A Reader is not safe for concurrent use.
type Reader struct {
	gz      *gzip.Reader
	tar     *tar.Reader
	ignored int
}

// NewReader begins to read the archive r, as written by Velero or by a Writer.
func NewReader(r io.Reader) (*Reader, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	return &Reader{gz: gz, tar: tar.NewReader(gz)}, nil
}

// Next returns the next object that is stored at a path without version, which
// is each object once, in the version preferred by the source cluster. After
// the last it returns io.EOF. An *ItemError concerns a single entry; any other
// error is the end.
func (r *Reader) Next() (Item, error) {
	for {
		item, err := r.NextVersioned()
		if err != nil || item.Version == "" {
			return item, err
		}
	}
}

// NextVersioned returns every object entry, those below version folders too;
// their body is read as well.
func (r *Reader) NextVersioned() (Item, error) {
	for {
		header, err := r.tar.Next()
		if errors.Is(err, io.EOF) {
			return Item{}, r.end()
		}
		if err != nil {
			return Item{}, fmt.Errorf("read archive: %w", err)
		}
		if header.Name == VersionPath || header.Typeflag == tar.TypeDir {
			continue
		}
		item, ok, err := parseHeader(header)
		if err != nil {
			return Item{}, &ItemError{Path: header.Name, Err: err}
		}
		if !ok {
			r.ignored++
			continue
		}
		item.Body, err = io.ReadAll(io.LimitReader(r.tar, MaxObjectBytes))
		if err != nil {
			return Item{}, fmt.Errorf("read archive entry %q: %w", header.Name, err)
		}
		return item, nil
	}
}

// maxPadding is how many bytes may follow the last entry: tar programs pad to
// blocks of 10 KiB.
const maxPadding = 1 << 20

// end reads what follows the last entry, so that the checksum at the end of the
// compressed stream is looked at: a cut archive must not pass as a whole one.
func (r *Reader) end() error {
	n, err := io.Copy(io.Discard, io.LimitReader(r.gz, maxPadding))
	if err != nil {
		return fmt.Errorf("read end of archive: %w", err)
	}
	if n == maxPadding {
		return fmt.Errorf("read end of archive: more than %d bytes follow the last entry", maxPadding)
	}
	return io.EOF
}

func parseHeader(header *tar.Header) (Item, bool, error) {
	if header.Typeflag != tar.TypeReg {
		return Item{}, false, fmt.Errorf("type %q is neither file nor folder", header.Typeflag)
	}
	item, ok, err := ParsePath(header.Name)
	if err == nil && ok && header.Size > MaxObjectBytes {
		err = fmt.Errorf("%d bytes are more than an object may have (%d)", header.Size, MaxObjectBytes)
	}
	return item, ok, err
}

// Ignored is the number of entries so far that belong to no part of the format
// this version knows.
func (r *Reader) Ignored() int { return r.ignored }
