package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// memberSize is the number of uncompressed bytes after which a new gzip member
// begins: small enough to read one object without much else, large enough to
// compress as well as one member.
const memberSize = 1 << 20

// Writer writes an archive as a stream: nothing is held back but what the
// compressor needs. The gzip members are concatenated, which every reader takes
// as one stream, and each can be read by itself. A Writer is not safe for
// concurrent use. After an error it stays failed.
type Writer struct {
	out   *countingWriter
	gz    *gzip.Writer
	tar   *tar.Writer
	plain *countingWriter // bytes of the current member, uncompressed
	last  schema.GroupResource
	now   func() time.Time
	err   error
}

// NewWriter begins an archive on w. Close ends it; it doesn't close w.
func NewWriter(w io.Writer) (*Writer, error) {
	out := &countingWriter{w: w}
	gz := gzip.NewWriter(out)
	plain := &countingWriter{w: gz}
	writer := &Writer{out: out, gz: gz, plain: plain, tar: tar.NewWriter(plain), now: time.Now}
	if err := writer.entry(versionPath, []byte(FormatVersion+"\n")); err != nil {
		return nil, err
	}
	return writer, nil
}

// Write adds one object. The caller may reuse item.Body afterwards.
func (w *Writer) Write(item Item) error {
	if w.err != nil {
		return w.err
	}
	if item.Resource != w.last || w.plain.n >= memberSize {
		w.last = item.Resource
		if err := w.nextMember(); err != nil {
			return err
		}
	}
	for _, name := range item.paths() {
		if _, ok, err := parsePath(name); err != nil || !ok {
			return fmt.Errorf("store %q: %w", name, errors.Join(err, errPath))
		}
		if err := w.entry(name, item.Body); err != nil {
			return err
		}
	}
	return nil
}

var errPath = errors.New("not a path of the backup format")

// entry writes one file. The mode is 0755 because Velero creates the folders
// above a file with the file's own mode.
func (w *Writer) entry(name string, body []byte) error {
	header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(body)), ModTime: w.now().Truncate(time.Second)}
	err := w.tar.WriteHeader(header)
	if err == nil {
		_, err = w.tar.Write(body)
	}
	return w.fail("write "+name, err)
}

// nextMember ends the current gzip member at an entry's border.
func (w *Writer) nextMember() error {
	if err := w.fail("write archive", w.tar.Flush()); err != nil {
		return err
	}
	if err := w.fail("write archive", w.gz.Close()); err != nil {
		return err
	}
	w.gz.Reset(w.out)
	w.plain.n = 0
	return nil
}

// Close writes the end of the archive. Its error must be looked at: without the
// end the archive is torn.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	if err := w.fail("end archive", w.tar.Close()); err != nil {
		return err
	}
	err := w.fail("end archive", w.gz.Close())
	if err == nil {
		w.err = errors.New("archive is closed")
	}
	return err
}

// Bytes is the number of compressed bytes written so far.
func (w *Writer) Bytes() int64 { return w.out.n }

func (w *Writer) fail(what string, err error) error {
	if err != nil {
		w.err = fmt.Errorf("%s: %w", what, err)
	}
	return w.err
}

// countingWriter counts what passes to w.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
