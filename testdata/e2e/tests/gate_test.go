//go:build e2e

package tests

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// gate stands between the pods and the S3 server, and holds up the first
// request that it is told to look for, so that a test can act in the middle of
// an operation.
type gate struct {
	URL string

	mu      sync.Mutex
	suffix  string
	reads   bool
	reached chan struct{} // closed when a request is held up
	opened  chan struct{} // closed to let it go
}

// newGate listens where pods reach this machine until the test ends.
func (s *session) newGate() *gate {
	s.t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(s.cluster.HostAddress, "0"))
	s.check(err)
	target, err := url.Parse(s.s3.HostEndpoint)
	s.check(err)
	g := &gate{URL: "http://" + listener.Addr().String()}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.pass(r) {
			return // the client has gone while it was held up
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }()
	s.t.Cleanup(func() { _ = server.Close() })
	return g
}

// hold makes the gate hold up requests to write a key with this suffix, from
// now until open is called. reached is closed when there is one.
func (g *gate) hold(suffix string) (reached <-chan struct{}, open func()) {
	return g.holdUp(suffix, false)
}

// holdReads does the same with requests to read it.
func (g *gate) holdReads(suffix string) (reached <-chan struct{}, open func()) {
	return g.holdUp(suffix, true)
}

func (g *gate) holdUp(suffix string, reads bool) (reached <-chan struct{}, open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reads = reads
	g.suffix, g.reached, g.opened = suffix, make(chan struct{}), make(chan struct{})
	opened := g.opened
	return g.reached, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.suffix = ""
		close(opened)
	}
}

func (g *gate) pass(r *http.Request) bool {
	g.mu.Lock()
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	held := g.suffix != "" && reads == g.reads && strings.HasSuffix(r.URL.Path, g.suffix)
	opened := g.opened
	if held && !closed(g.reached) {
		close(g.reached)
	}
	g.mu.Unlock()
	if !held {
		return true
	}
	select {
	case <-opened:
		return true
	case <-r.Context().Done():
		return false
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
