package verify

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// member is where one gzip member of an archive is.
type member struct {
	offset, length int64 // compressed
	plain          int64 // uncompressed bytes
}

// memberReader unpacks gzip members one after the other, each to its checksum,
// and says where one ends.
type memberReader struct {
	packed   *countingReader
	buffered *bufio.Reader
	gz       *gzip.Reader
	ended    func(member) // called at the end of each

	plain        int64 // uncompressed bytes so far
	start, begun int64 // where the current member starts, compressed and not
	err          error
}

func newMemberReader(r io.Reader, ended func(member)) (*memberReader, error) {
	counting := &countingReader{r: r}
	m := &memberReader{packed: counting, buffered: bufio.NewReaderSize(counting, 64<<10), ended: ended}
	gz, err := gzip.NewReader(m.buffered)
	if err != nil {
		return nil, fmt.Errorf("it isn't gzipped: %w", noEOF(err))
	}
	gz.Multistream(false)
	m.gz = gz
	return m, nil
}

// Read returns io.EOF only behind the last member.
func (m *memberReader) Read(p []byte) (int, error) {
	for m.err == nil {
		n, err := m.gz.Read(p)
		m.plain += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			m.err = m.next()
		case err != nil:
			m.err = fmt.Errorf("the gzip member at byte %d doesn't unpack: %w", m.start, noEOF(err))
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, m.err
}

// next goes to the next member, if there is one.
func (m *memberReader) next() error {
	end := m.consumed()
	m.ended(member{offset: m.start, length: end - m.start, plain: m.plain - m.begun})
	m.start, m.begun = end, m.plain
	if _, err := m.buffered.Peek(1); err != nil {
		return err
	}
	if err := m.gz.Reset(m.buffered); err != nil {
		return fmt.Errorf("what follows byte %d isn't gzip: %w", end, noEOF(err))
	}
	m.gz.Multistream(false)
	return nil
}

// consumed is how many compressed bytes were used.
func (m *memberReader) consumed() int64 { return m.packed.n - int64(m.buffered.Buffered()) }

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
