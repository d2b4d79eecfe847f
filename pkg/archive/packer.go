package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
)

const (
	// maxPackers is the number of members compressed at once.
	maxPackers = 4
	// queuedMembers is how many members may wait to be written. With a store
	// that stalls it is all that piles up.
	queuedMembers = 4
	// keptBytes is the size up to which a member's buffer is used again. Larger
	// ones come from single large objects.
	keptBytes = 2 * memberSize
)

// packed is a member on its way: filled, compressed, written.
type packed struct {
	meta  Member
	plain bytes.Buffer
	tar   *tar.Writer // into plain; never closed, so it can go on in the next member
	gz    bytes.Buffer
	done  chan error // told once, when gz is complete
}

// packer compresses members on all cores and writes them in the order in which
// they were added.
type packer struct {
	compress chan *packed
	ordered  chan *packed
	free     chan *packed
	broken   once
	running  sync.WaitGroup
	stopped  sync.Once

	// Of the goroutine that writes, until it has ended.
	written int64
	members []Member
}

func startPacker(w io.Writer) *packer {
	p := &packer{
		compress: make(chan *packed, queuedMembers),
		ordered:  make(chan *packed, queuedMembers),
		free:     make(chan *packed, queuedMembers),
		broken:   once{failed: make(chan struct{})},
	}
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
	select {
	case p.ordered <- m:
	case <-p.broken.failed:
		return p.broken.get()
	}
	select {
	case p.compress <- m:
		return nil
	case <-p.broken.failed:
		return p.broken.get()
	}
}

func (p *packer) fail(err error) { p.broken.set(err) }

// stop waits until everything that was added is written, or nothing more can be.
func (p *packer) stop() error {
	p.stopped.Do(func() {
		close(p.compress)
		close(p.ordered)
	})
	p.running.Wait()
	return p.broken.get()
}

func (p *packer) compressAll() {
	gz := gzip.NewWriter(nil)
	for m := range p.compress {
		gz.Reset(&m.gz)
		_, err := gz.Write(m.plain.Bytes())
		if closeErr := gz.Close(); err == nil {
			err = closeErr
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
		case <-p.broken.failed: // m may never be compressed
		}
		if p.broken.get() != nil {
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
	if m.plain.Cap() > keptBytes {
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

// once keeps the first error.
type once struct {
	mu     sync.Mutex
	err    error
	failed chan struct{}
}

func (o *once) set(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
		close(o.failed)
	}
}

func (o *once) get() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
