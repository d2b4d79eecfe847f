package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// requests are those of one operation. The fields are for reading once the proxy
// has been closed.
type requests struct {
	mu sync.Mutex
	// total counts all, lists the pages of each path, others the rest.
	total  int
	lists  map[string]int
	others map[string]int
	// compressed says that lists were asked for gzipped.
	compressed bool
}

func (r *requests) note(request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total++
	if request.Method == http.MethodGet && request.URL.Query().Has("limit") {
		r.lists[request.URL.Path]++
		r.compressed = r.compressed || strings.Contains(request.Header.Get("Accept-Encoding"), "gzip")
		return
	}
	r.others[request.Method+" "+request.URL.Path]++
}

// paths are the lists, in order.
func (r *requests) paths() []string { return slices.Sorted(maps.Keys(r.lists)) }

func (r *requests) pages() int {
	pages := 0
	for _, n := range r.lists {
		pages += n
	}
	return pages
}

// byKind sums up by method and kind, the most frequent first.
func (r *requests) byKind() []string {
	counts := map[string]int{}
	for path, n := range r.lists {
		counts["LIST "+kindOf(path)] += n
	}
	for request, n := range r.others {
		method, path, _ := strings.Cut(request, " ")
		counts[method+" "+kindOf(path)] += n
	}
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%d %s", counts[kind], kind)
	}
	return kinds
}

// kindOf is the kind in a path of the API, or the path itself.
func kindOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch { // without what stands before the kind
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		return path
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		return parts[2]
	}
	return parts[0]
}

// counter is a proxy before the API server that counts requests. What passes it
// is slower, so the backup that it counts is not timed.
type counter struct {
	requests
	server *http.Server
	url    string
	served chan error
}

// startCounter passes requests on as the account of the kubeconfig: clients send
// no tokens to a server without TLS.
func startCounter(kubeconfig string) (*counter, error) {
	api, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(api.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(api)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{
		requests: requests{lists: map[string]int{}, others: map[string]int{}},
		url:      "http://" + listener.Addr().String(), served: make(chan error, 1),
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ErrorLog = log.New(io.Discard, "", 0) // the client tells
	c.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.note(r)
		proxy.ServeHTTP(w, r)
	})}
	go func() { c.served <- c.server.Serve(listener) }()
	return c, nil
}

func (c *counter) close() error {
	err := c.server.Close()
	if served := <-c.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// count makes a backup through the counting proxy.
func (b *bed) count(ctx context.Context, e *expectation) (_ *requests, _ *contents, err error) {
	c, err := startCounter(b.kubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("count requests: %w", err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	kubeconfig, err := b.writeKubeconfig("counted.kubeconfig", &clientcmdapi.Cluster{Server: c.url}, "")
	if err != nil {
		return nil, nil, err
	}
	backup := b.newBackup("counted")
	if _, err := b.execute(ctx, backup, kubeconfig); err != nil {
		return nil, nil, err
	}
	found, err := b.verify(ctx, backup.Name, e)
	if err != nil {
		return nil, nil, err
	}
	if c.total == 0 || len(c.lists) == 0 {
		return nil, nil, errors.New("count requests: none came by")
	}
	return &c.requests, found, nil
}
