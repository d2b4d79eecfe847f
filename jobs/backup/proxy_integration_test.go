//go:build integration

package backup_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// fault handles a request in the place of what stands behind a proxy, or passes
// it on.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// clusterThrough makes the executor reach the API server through a proxy. The
// test itself goes on to talk to it directly.
func (f *fixture) clusterThrough(act fault) {
	f.t.Helper()
	transport, err := rest.TransportFor(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	address := proxy(f.t, f.config.Host, transport, act)
	f.kubeconfig = filepath.Join(f.t.TempDir(), "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["proxy"] = &clientcmdapi.Cluster{Server: address}
	config.AuthInfos["proxy"] = &clientcmdapi.AuthInfo{}
	config.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy", AuthInfo: "proxy"}
	config.CurrentContext = "proxy"
	if err := clientcmd.WriteToFile(*config, f.kubeconfig); err != nil {
		f.t.Fatal(err)
	}
}

// storeThrough adds the location "proxied", the bucket behind a proxy.
func (f *fixture) storeThrough(act fault) velerov1.BackupSpec {
	f.t.Helper()
	return f.storeAt("proxied", act)
}

// storeAt is storeThrough for a location of another name.
func (f *fixture) storeAt(name string, act fault) velerov1.BackupSpec {
	f.t.Helper()
	config := map[string]string{}
	for key, value := range f.location.Config {
		config[key] = value
	}
	config["partSizeMiB"] = "5" // so that a small archive has several parts
	config["s3Url"] = proxy(f.t, f.location.Config["s3Url"], http.DefaultTransport, act)
	f.addLocation(name, f.location.Bucket, config)
	return velerov1.BackupSpec{StorageLocation: name, IncludedNamespaces: []string{f.app}}
}

func proxy(t *testing.T, target string, transport http.RoundTripper, act fault) string {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	next := &httputil.ReverseProxy{
		// Host stays the proxy's: S3 requests are signed with it.
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host },
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { act(w, r, next) }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// isList says whether the request is a list.
func isList(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Query().Get("limit") != ""
}

// perPath counts requests by path.
type perPath struct {
	mu    sync.Mutex
	count map[string]int
}

// next is which request of its path this is, from 1.
func (p *perPath) next(r *http.Request) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count == nil {
		p.count = map[string]int{}
	}
	p.count[r.URL.Path]++
	return p.count[r.URL.Path]
}

// cutting ends the connection after some bytes of the answer.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if c.left < len(p) {
		_, _ = c.ResponseWriter.Write(p[:c.left]) // the end comes anyhow
		c.Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func (c *cutting) Flush() {
	if flusher, ok := c.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}

// refuse answers as an API server does.
func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
}
