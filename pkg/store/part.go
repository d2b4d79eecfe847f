package store

import "io"

// chunkSize is how much memory a part takes at a time: a small object needs
// little, and a part that is used again needs nothing new.
const chunkSize = 256 << 10

// part is a piece of an upload in memory, kept whole so that a request can be
// repeated. The zero value is empty.
type part struct {
	size   int64 // bytes filled
	chunks [][]byte
}

// fill replaces the content by up to limit bytes from r; last says that r is
// at its end.
func (p *part) fill(r io.Reader, limit int64) (last bool, err error) {
	p.size = 0
	for p.size < limit {
		chunk := p.chunkAt(p.size)
		n, err := readFull(r, chunk[:min(int64(len(chunk)), limit-p.size)])
		p.size += int64(n)
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// readFull is not io.ReadFull, which says io.ErrUnexpectedEOF where a stream
// ends: a stream that says so itself is a broken one.
func readFull(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	if n == len(b) && err == io.EOF {
		// Read says so again.
		err = nil
	}
	return n, err
}

// chunkAt returns the memory for a multiple of chunkSize.
func (p *part) chunkAt(offset int64) []byte {
	i := int(offset / chunkSize)
	if i == len(p.chunks) {
		p.chunks = append(p.chunks, make([]byte, chunkSize))
	}
	return p.chunks[i]
}

// reader reads the content from its beginning; it can seek.
func (p *part) reader() *io.SectionReader {
	return io.NewSectionReader(p, 0, p.size)
}

// ReadAt implements io.ReaderAt.
func (p *part) ReadAt(b []byte, offset int64) (n int, err error) {
	for n < len(b) && offset < p.size {
		chunk := p.chunks[offset/chunkSize]
		from := offset % chunkSize
		to := min(chunkSize, from+p.size-offset)
		c := copy(b[n:], chunk[from:to])
		n += c
		offset += int64(c)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
