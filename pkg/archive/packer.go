package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/semaphore"
)

const (
	// maxPackers is the number of members compressed at once.
	maxPackers = 4
	// queuedMembers is how many members may wait to be written. With a store
	// that stalls it is all that piles up.
	queuedMembers = 4
	// bytesInFlight bounds what is compressed or waits to be written, in
	// uncompressed bytes; a larger member goes alone.
	bytesInFlight = 4 << 20
	// expectedRatio is how many times smaller a member gets at least, as a rule.
	expectedRatio = 4
	// keptBytes is the size up to which a member's buffer is used again. Larger
	// ones come from single large objects.
	keptBytes = 4 << 20
)

// packed is a member on its way: filled, compressed, written.
type packed struct {
	meta  Member
	plain bytes.Buffer
	tar   *tar.Writer // into plain; never closed, so it can go on in the next member
	gz    bytes.Buffer
	// weight is its share of the bytes in flight.
	weight int64
	done   chan error // told once, when gz is complete
}

// packer compresses members on all cores and writes them in the order in which
// they were added.
type packer struct {
	compress chan *packed
	ordered  chan *packed
	free     chan *packed
	room     *semaphore.Weighted // of bytesInFlight
	running  sync.WaitGroup
	stopped  sync.Once

	// alive ends with the first error, as its cause.
	alive context.Context
	fail  context.CancelCauseFunc

	// Of the goroutine that writes, until it has ended.
	written int64
	members []Member
}

func startPacker(w io.Writer) *packer {
	p := &packer{
		compress: make(chan *packed, queuedMembers),
		ordered:  make(chan *packed, queuedMembers),
		free:     make(chan *packed, queuedMembers),
		room:     semaphore.NewWeighted(bytesInFlight),
	}
	p.alive, p.fail = context.WithCancelCause(context.Background())
	for range min(runtime.GOMAXPROCS(0), maxPackers) {
		p.running.Go(p.compressAll)
	}
	p.running.Go(func() { p.writeAll(w) })
	return p
}

// member returns an empty member to fill.
func (p *packer) member() *packed {
	select {
	case m := <-p.free:
		return m
	default:
		m := &packed{done: make(chan error, 1)}
		m.plain.Grow(memberSize + memberSize/8)
		m.tar = tar.NewWriter(&m.plain)
		return m
	}
}

// add hands a member on; it blocks while too many wait.
func (p *packer) add(m *packed) error {
	m.meta.Plain = int64(m.plain.Len())
	m.weight = min(m.meta.Plain, bytesInFlight)
	if p.room.Acquire(p.alive, m.weight) != nil {
		return context.Cause(p.alive)
	}
	select {
	case p.ordered <- m:
	case <-p.alive.Done():
		return context.Cause(p.alive)
	}
	select {
	case p.compress <- m:
		return nil
	case <-p.alive.Done():
		return context.Cause(p.alive)
	}
}

// stop waits until everything that was added is written, or nothing more can be.
func (p *packer) stop() error {
	p.stopped.Do(func() {
		close(p.compress)
		close(p.ordered)
	})
	p.running.Wait()
	return context.Cause(p.alive)
}

func (p *packer) compressAll() {
	gz := gzip.NewWriter(nil)
	for m := range p.compress {
		m.gz.Grow(m.plain.Len() / expectedRatio)
		gz.Reset(&m.gz)
		_, err := gz.Write(m.plain.Bytes())
		if closeErr := gz.Close(); err == nil {
			err = closeErr
		}
		if m.plain.Cap() > keptBytes {
			m.plain = bytes.Buffer{} // of one large object; only gz is needed now
		}
		m.done <- err
	}
}

func (p *packer) writeAll(w io.Writer) {
	for m := range p.ordered {
		select {
		case err := <-m.done:
			if err == nil {
				err = p.write(w, m)
			}
			if err != nil {
				p.fail(fmt.Errorf("write archive: %w", err))
			}
		case <-p.alive.Done(): // m may never be compressed
		}
		if p.alive.Err() != nil {
			return
		}
	}
}

func (p *packer) write(w io.Writer, m *packed) error {
	m.meta.Offset, m.meta.Length = p.written, int64(m.gz.Len())
	n, err := w.Write(m.gz.Bytes())
	p.written += int64(n)
	if err != nil {
		return err
	}
	p.members = append(p.members, m.meta)
	p.recycle(m)
	return nil
}

func (p *packer) recycle(m *packed) {
	p.room.Release(m.weight)
	if m.gz.Cap() > keptBytes {
		return
	}
	m.meta = Member{}
	m.plain.Reset()
	m.gz.Reset()
	select {
	case p.free <- m:
	default:
	}
}
