// Package armtest is Azure's resource manager for tests, as far as snapshots of
// managed disks need it, and the part of Microsoft Entra that gives tokens: an HTTPS
// server that speaks the documented protocol, with operations that take their time,
// pages, rights, limits and errors.
//
// https://learn.microsoft.com/rest/api/compute/snapshots and /disks
package armtest

import (
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// What the server knows, and what the credentials of Config name.
const (
	Tenant       = "ab1f708d-50f6-404c-a006-d71b2ac7a606"
	Client       = "f997392c-e15a-4ad8-af9e-cd6966caba7f"
	Secret       = "geheim~1"
	Subscription = "11111111-1111-4111-8111-111111111111"
	// OtherSubscription is one that the credentials don't name.
	OtherSubscription = "22222222-2222-4222-8222-222222222222"
	// Group is where the cluster's disks are.
	Group = "MC_group_cluster_westeurope"
	// OtherGroup is there in both subscriptions.
	OtherGroup = "backups"
	// Region is where everything is; it has the zones 1 to 3.
	Region = "westeurope"
)

// Server is the resource manager. It may be used concurrently.
type Server struct {
	// URL is where it listens.
	URL string

	server *httptest.Server

	mu         sync.Mutex
	disks      map[string]*Resource // by id in lower case
	snapshots  map[string]*Resource
	operations map[string]*operation
	tokens     map[string]bool
	faults     []*Fault
	calls      []Call
	rights     []string // nil: all
	polls      int
	copying    int
	pageSize   int
	serial     int
	running    int
	busiest    int
}

// Call is a request to the resource manager that was answered.
type Call struct {
	Method, Path string
	Status       int
}

// Start starts a server that ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{
		disks:      map[string]*Resource{},
		snapshots:  map[string]*Resource{},
		operations: map[string]*operation{},
		tokens:     map[string]bool{},
		polls:      1,
		pageSize:   2,
	}
	s.server = httptest.NewUnstartedServer(s.handler())
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are refused on purpose
	s.server.StartTLS()
	s.URL = s.server.URL
	tb.Cleanup(s.server.Close)
	return s
}

// CA is the PEM of the server's certificate.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
}

// Config is a location that leads to this server, with these settings.
func (s *Server) Config(tb testing.TB, settings map[string]string) snapshot.Config {
	tb.Helper()
	return s.ConfigWith(tb, settings, Credentials())
}

// ConfigWith is Config with these lines as the credentials file.
func (s *Server) ConfigWith(tb testing.TB, settings map[string]string, credentials []string) snapshot.Config {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "cloud")
	if err := os.WriteFile(file, []byte(strings.Join(credentials, "\n")), 0o600); err != nil {
		tb.Fatal(err)
	}
	config := map[string]string{"activeDirectoryAuthorityURI": s.URL}
	maps.Copy(config, settings)
	return snapshot.Config{
		Location:        "azure",
		Settings:        config,
		CredentialsFile: file,
		Endpoint:        s.URL,
		CACert:          s.CA(),
	}
}

// Credentials are the lines of a credentials file that the server accepts.
func Credentials() []string {
	return []string{
		"AZURE_SUBSCRIPTION_ID=" + Subscription,
		"AZURE_RESOURCE_GROUP=" + Group,
		"AZURE_TENANT_ID=" + Tenant,
		"AZURE_CLIENT_ID=" + Client,
		"AZURE_CLIENT_SECRET=" + Secret,
	}
}

// Slow makes each operation take so many questions about it, 1 at first; -1 means
// for ever.
func (s *Server) Slow(polls int) { s.set(func() { s.polls = polls }) }

// Copying makes the copy in the background of the snapshots of Ultra disks and
// Premium SSDs v2 take so many looks at the snapshot, none at first; -1 means for ever.
func (s *Server) Copying(looks int) { s.set(func() { s.copying = looks }) }

// Allow makes the identity have these rights only, such as
// "Microsoft.Compute/snapshots/read".
func (s *Server) Allow(actions ...string) {
	s.set(func() { s.rights = append([]string{}, actions...) })
}

func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Calls are the requests so far, without those for tokens.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Busiest is the largest number of requests that there were at a time.
func (s *Server) Busiest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busiest
}

// handler leads requests for tokens and those for resources to their places.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/"+Tenant+"/", s.serveToken)
	mux.HandleFunc("/", s.serveManager)
	return mux
}
