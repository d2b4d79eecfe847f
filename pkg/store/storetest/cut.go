package storetest

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// testCutUpload cuts a connection in the middle of a part, twice.
func (p Provider) testCutUpload(t *testing.T) {
	cutter := &Cutter{}
	b := p.Through(t, func(address string) string { return cutter.Listen(t, address) })
	for _, size := range []int{p.PartSize / 2, 4*p.PartSize + 7} {
		want := Content(size)
		cutter.Requests(p.PartSize/3, 2)
		if err := b.Put(t.Context(), "k", io.MultiReader(bytes.NewReader(want))); err != nil {
			t.Error(err)
			continue
		}
		CheckContent(t, b, "k", want)
		if left := cutter.left.Load(); left > 0 {
			t.Errorf("size %d: %d connections were not cut", size, left)
		}
	}
	if a, ok := b.(store.UploadAborter); ok {
		if n, err := a.AbortUploads(t.Context(), ""); n != 0 || err != nil {
			t.Errorf("%d uploads were left, %v", n, err)
		}
	}
}

// testCutDownload cuts a connection in the middle of an answer, twice.
func (p Provider) testCutDownload(t *testing.T) {
	cutter := &Cutter{}
	b := p.Through(t, func(address string) string { return cutter.Listen(t, address) })
	want := Content(2 * p.PartSize)
	Put(t, b, "k", want)
	cutter.Answers(p.PartSize/2, 2)
	CheckContent(t, b, "k", want)
	if left := cutter.left.Load(); left > 0 {
		t.Errorf("%d connections were not cut", left)
	}
}

// Cutter hands TCP connections on to a server and cuts some of them. The zero value
// cuts none. It may be used concurrently.
type Cutter struct {
	answers atomic.Bool
	after   atomic.Int64
	left    atomic.Int64
}

// Requests makes it cut the next times connections that have sent after bytes to
// the server from now on.
func (c *Cutter) Requests(after, times int) { c.set(false, after, times) }

// Answers makes it cut the next times connections on which the server has sent
// after bytes from now on.
func (c *Cutter) Answers(after, times int) { c.set(true, after, times) }

func (c *Cutter) set(answers bool, after, times int) {
	c.answers.Store(answers)
	c.after.Store(int64(after))
	c.left.Store(int64(times))
}

// Listen starts to hand connections on to the server at address, until the test
// ends, and returns where, as host:port.
func (c *Cutter) Listen(t *testing.T, address string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	ended := make(chan struct{})
	t.Cleanup(func() {
		close(ended)
		_ = listener.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			group.Go(func() { c.serve(client, address, ended) })
		}
	})
	return listener.Addr().String()
}

// serve hands one connection on until either side, or the test, ends.
func (c *Cutter) serve(client net.Conn, address string, ended <-chan struct{}) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		_ = client.Close()
		return
	}
	var group sync.WaitGroup
	copied := make(chan struct{}, 2)
	group.Go(func() { c.copy(server, client, false); copied <- struct{}{} })
	group.Go(func() { c.copy(client, server, true); copied <- struct{}{} })
	select {
	case <-copied: // nobody here closes half a connection
	case <-ended:
	}
	_, _ = client.Close(), server.Close()
	group.Wait()
}

// copy hands bytes on until an end, or until it is time to cut.
func (c *Cutter) copy(to, from net.Conn, answers bool) {
	buffer := make([]byte, 16<<10)
	var sent int64
	for {
		n, err := from.Read(buffer)
		if c.left.Load() > 0 && c.answers.Load() == answers {
			if sent += int64(n); sent > c.after.Load() && c.left.Add(-1) >= 0 {
				return
			}
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
