package archive

import (
	"archive/tar"
	"bytes"
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
	plain   *tail
	tar     *tar.Reader
	part    bool
	ignored int
}

// NewReader begins to read the whole archive r, as written by Velero or by a
// Writer. One that doesn't end as a tar ends is torn, which is an error.
func NewReader(r io.Reader) (*Reader, error) { return newReader(r, false) }

// NewPartReader begins to read some members of an archive, one or several that
// an Index names. They need not hold the archive's end.
func NewPartReader(r io.Reader) (*Reader, error) { return newReader(r, true) }

func newReader(r io.Reader, part bool) (*Reader, error) {
	gz, err := gzip.NewReader(r)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // else a loop could take it for the end
	}
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	plain := &tail{r: gz}
	return &Reader{plain: plain, tar: tar.NewReader(plain), part: part}, nil
}

// Next returns the next object that is stored at a path without version, which
// is each object once, in the version preferred by the source cluster. After
// the last it returns io.EOF. An *ItemError concerns a single entry; any other
// error is the end.
func (r *Reader) Next() (Item, error) {
	return r.NextWhere(func(item Item) bool { return item.Version == "" })
}

// NextVersioned returns every object entry, those below version folders too.
func (r *Reader) NextVersioned() (Item, error) {
	return r.NextWhere(func(Item) bool { return true })
}

// NextWhere returns the next entry that want, which sees it without its body,
// chooses; the others are passed over unread.
func (r *Reader) NextWhere(want func(Item) bool) (Item, error) {
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
		if !want(item) {
			continue
		}
		if item.Body, err = r.body(header.Size); err != nil {
			return Item{}, fmt.Errorf("read archive entry %q: %w", header.Name, err)
		}
		return item, nil
	}
}

// trustedBytes is how much room an entry gets because it says so; more only as
// it proves to be there.
const trustedBytes = 256 << 10

func (r *Reader) body(size int64) ([]byte, error) {
	var body bytes.Buffer
	body.Grow(int(min(size, trustedBytes)) + bytes.MinRead) // ReadFrom grows when less than MinRead is free
	_, err := body.ReadFrom(io.LimitReader(r.tar, MaxObjectBytes))
	return body.Bytes(), err
}

// maxPadding is how many bytes may follow the last entry: tar programs pad to
// blocks of 10 KiB.
const maxPadding = 1 << 20

// end reads what follows the last entry, so that the checksum at the end of the
// compressed stream is looked at: a cut archive must not pass as a whole one.
func (r *Reader) end() error {
	// A cut between two members leaves sound gzip, and a tar that only lacks its end.
	if !r.part && r.plain.zeros < blockSize {
		return fmt.Errorf("read end of archive: %w: it was cut between two entries", io.ErrUnexpectedEOF)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r.plain, maxPadding))
	if err != nil {
		return fmt.Errorf("read end of archive: %w", err)
	}
	if n == maxPadding {
		return fmt.Errorf("read end of archive: more than %d bytes follow the last entry", maxPadding)
	}
	return io.EOF
}

// blockSize is that of a tar, which ends with blocks of zeros. The padding of an
// entry is shorter than a block.
const blockSize = 512

// tail counts the zeros at the end of what was read.
type tail struct {
	r     io.Reader
	zeros int64
}

func (t *tail) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if last := len(bytes.TrimRight(p[:n], "\x00")); last > 0 {
		t.zeros = int64(n - last)
	} else {
		t.zeros += int64(n)
	}
	return n, err
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
