package api

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/pki"
)

// newServer starts an API server that only answers with its own certificate,
// and only those who have one of the same authority; it returns a client of it.
func newServer(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	ca, err := pki.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	serving, err := ca.Issue(pki.Request{CommonName: "server", Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := ca.Issue(pki.Request{CommonName: "admin", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, pair := range map[string]pki.Pair{"ca": ca.Pair, "admin": admin} {
		if err := pair.Write(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := tls.X509KeyPair(serving.Cert, serving.Key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	client, err := New(server.URL, dir)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestClient(t *testing.T) {
	t.Parallel()
	var seen []string
	client := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, strings.Join([]string{r.Method, r.URL.String(), r.Header.Get("Content-Type"), string(body)}, " "))
		if r.URL.Path == "/api/none" {
			http.Error(w, "no such thing", http.StatusNotFound)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"kind": "Thing"}) //nolint:errcheck // a test's server
	})
	var thing struct{ Kind string }
	if err := client.Get(t.Context(), "/api/thing", &thing); err != nil || thing.Kind != "Thing" {
		t.Errorf("get: %+v, %v", thing, err)
	}
	if err := client.Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
	if err := client.Apply(t.Context(), "/api/thing", map[string]int{"a": 1}); err != nil {
		t.Errorf("apply: %v", err)
	}
	if err := client.PatchStatus(t.Context(), "/api/thing", map[string]int{"b": 2}); err != nil {
		t.Errorf("patch status: %v", err)
	}
	err := client.Get(t.Context(), "/api/none", &thing)
	if want := "GET /api/none: 404 Not Found: no such thing"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	want := []string{
		"GET /api/thing  ",
		"GET /readyz  ",
		`PATCH /api/thing?fieldManager=testbed&force=true application/apply-patch+yaml {"a":1}`,
		`PATCH /api/thing/status application/strategic-merge-patch+json {"b":2}`,
		"GET /api/none  ",
	}
	if got := strings.Join(seen, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("requests:\n%s", got)
	}
}

func TestStranger(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	known := newServer(t, func(http.ResponseWriter, *http.Request) {})
	known.server = server.URL
	if err := known.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server of another authority: got %v", err)
	}
}
