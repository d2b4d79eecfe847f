package store

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"
)

// partsInFlight is how many parts of one upload are in memory: one is filled
// while the other travels, or both travel.
const partsInFlight = 2

// uploadAttempts is how often a request of an upload under way is sent.
const uploadAttempts = 6

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

// parts cuts a stream into the parts of one upload.
type parts struct {
	body io.Reader
	size int64      // bytes of a part
	most int        // parts that the store allows
	free chan *part // parts to fill
}

func newParts(r io.Reader, size int64, most int) *parts {
	p := &parts{body: r, size: size, most: most, free: make(chan *part, partsInFlight)}
	for range partsInFlight {
		p.free <- &part{}
	}
	return p
}

// errTooManyParts is a stream that is too long for its part size.
var errTooManyParts = errors.New("object too large")

// readError is trouble with the stream, not with the store.
type readError struct{ err error }

func (e *readError) Error() string { return "read what is to be written: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// next fills a free part, waiting for one. last says that the stream is at its
// end; a part that the end just fills is told from others by the empty one that
// follows. An error is ctx's cause or a *readError.
func (s *parts) next(ctx context.Context) (p *part, last bool, err error) {
	select {
	case p = <-s.free:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	last, err = p.fill(s.body, s.size)
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	if err != nil {
		return nil, false, &readError{err}
	}
	return p, last, nil
}

// sendAll sends first and what follows it in the stream as parts 1, 2 …, two at a
// time and so in any order. It returns when nothing is under way any more;
// errTooManyParts is a stream that goes on after the last part there may be.
func (s *parts) sendAll(ctx context.Context, first *part, send func(ctx context.Context, number int, p *part) error) error {
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { release(s.body, context.Cause(ctx)) })
	readErr := s.readAndSend(ctx, first, func(number int, p *part) {
		group.Go(func() error {
			if err := send(ctx, number, p); err != nil {
				return err
			}
			s.free <- p
			return nil
		})
	})
	if readErr == nil {
		// From here on the stream is at its end, and not to be disturbed.
		stop()
	}
	if readErr != nil && ctx.Err() == nil {
		// The stream broke: what is under way is of no use.
		group.Go(func() error { return readErr })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return readErr
}

func (s *parts) readAndSend(ctx context.Context, first *part, send func(number int, p *part)) error {
	send(1, first)
	for number := 2; ; number++ {
		p, last, err := s.next(ctx)
		switch {
		case err != nil:
			return err
		case p.size == 0:
			return nil
		case number > s.most:
			return errTooManyParts
		}
		send(number, p)
		if last {
			return nil
		}
	}
}

// release frees whoever writes into the other end of a pipe, and a Read of ours
// that waits for it.
func release(r io.Reader, err error) {
	if pipe, ok := r.(interface{ CloseWithError(error) error }); ok {
		_ = pipe.CloseWithError(err) // always nil for *io.PipeReader
	}
}
