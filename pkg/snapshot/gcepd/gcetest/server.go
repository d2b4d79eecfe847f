// Package gcetest is a server for tests that speaks the part of the REST API of
// Compute Engine, version 1, that snapshots of disks need: disks and regional disks,
// snapshots, and the operations that make them, with the shapes and texts that the
// API documents. Nothing takes time in it: what is slow takes a number of looks.
package gcetest

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// Project is the project of the credentials.
const Project = "test-project"

// root is where the API is.
const root = "/compute/v1/"

// Server is the server. All projects are one account's. It is safe for concurrent use.
type Server struct {
	// URL is for snapshot.Config's Endpoint.
	URL string
	// CredentialsFile is the key file of a service account, whose tokens the server
	// gives out, too.
	CredentialsFile string

	key *rsa.PublicKey

	mu         sync.Mutex // guards everything below
	zones      []string
	disks      map[string]*disk     // by path: projects/P/zones/Z/disks/NAME
	snapshots  map[string]*cut      // by path: projects/P/global/snapshots/NAME
	operations map[string]*progress // by name
	byRequest  map[string]*progress // by requestId
	slow       Slow
	faults     []*Fault
	rights     []string // none: all
	quota      int      // of snapshots; 0: none
	pageSize   int
	requests   []Request
	inFlight   int
	mostAtOnce int
	lastID     uint64
}

// Slow is how often something must be looked at until it gets on: by a GET, a list, or
// a GET of its operation. -1 means for ever.
type Slow struct {
	// Creating is for a snapshot to be cut, Uploading then to be ready, Deleting to
	// be gone.
	Creating, Uploading, Deleting int
	// Disk is for a disk to be ready.
	Disk int
}

// Request is one that the server has had. It needs no answer to be here.
type Request struct {
	// Method is the API's name for it, such as "snapshots.insert".
	Method string
	// Name is that of the resource; empty for lists.
	Name string
	// Query is the URL's.
	Query string
	// Status is that of the answer; 0 when there was none.
	Status int
}

// Start starts a server, which ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{
		zones: []string{"europe-west1-b", "europe-west1-c", "us-central1-a"},
		disks: map[string]*disk{}, snapshots: map[string]*cut{},
		operations: map[string]*progress{}, byRequest: map[string]*progress{},
	}
	server := httptest.NewServer(s.routes())
	tb.Cleanup(server.Close)
	s.URL = server.URL
	s.makeCredentials(tb)
	return s
}

// Config is the configuration of a location at this server. The settings may be nil.
func (s *Server) Config(settings map[string]string) snapshot.Config {
	return snapshot.Config{Location: "default", Settings: settings, CredentialsFile: s.CredentialsFile, Endpoint: s.URL}
}

// SetSlow says how slow things are that begin from now on.
func (s *Server) SetSlow(slow Slow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = slow
}

// SetQuota allows so many snapshots in all.
func (s *Server) SetQuota(snapshots int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota = snapshots
}

// SetPageSize makes the pages of lists smaller.
func (s *Server) SetPageSize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pageSize = n
}

// SetRights allows these rights of IAM only; none are all.
func (s *Server) SetRights(rights ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rights = slices.Clone(rights)
}

// Requests are those that the server has had, in their order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count is how many requests of a method the server has had.
func (s *Server) Count(method string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method == method {
			n++
		}
	}
	return n
}

// MostAtOnce is how many requests were under way at the same time, at most.
func (s *Server) MostAtOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mostAtOnce
}

// request is a request as handlers see it.
type request struct {
	method  string // of the API
	path    string // of the resource: projects/P/...
	project string
	scope   string // "zones/Z", "regions/R" or "global"
	name    string
	http    *http.Request
	body    []byte
}

// in is the path of another resource at the same place.
func (r *request) in(kind, name string) string {
	return fmt.Sprintf("projects/%s/%s/%s/%s", r.project, r.scope, kind, name)
}

type handler func(*request) (any, *refusal)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	route := func(pattern, method string, h handler) {
		verb, path, _ := strings.Cut(pattern, " ")
		mux.Handle(verb+" "+root+"projects/{project}/"+path, s.serve(method, h))
	}
	route("GET zones/{zone}/disks/{name}", "disks.get", s.getDisk)
	route("POST zones/{zone}/disks", "disks.insert", s.insertDisk)
	route("GET regions/{region}/disks/{name}", "regionDisks.get", s.getDisk)
	route("POST regions/{region}/disks", "regionDisks.insert", s.insertDisk)
	route("GET global/snapshots/{name}", "snapshots.get", s.getSnapshot)
	route("GET global/snapshots", "snapshots.list", s.listSnapshots)
	route("POST global/snapshots", "snapshots.insert", s.insertSnapshot)
	route("DELETE global/snapshots/{name}", "snapshots.delete", s.deleteSnapshot)
	route("GET zones/{zone}/operations/{name}", "zoneOperations.get", s.getOperation)
	route("GET regions/{region}/operations/{name}", "regionOperations.get", s.getOperation)
	route("GET global/operations/{name}", "globalOperations.get", s.getOperation)
	return mux
}

// newID gives out the ids of resources. The lock is held.
func (s *Server) newID() uint64 {
	s.lastID++
	return s.lastID
}

// decode reads a request's body; what the SDK doesn't know can't be in it.
func decode(r *request, into any) *refusal {
	if err := json.Unmarshal(r.body, into); err != nil {
		return invalid("Invalid JSON payload received: %v", err)
	}
	return nil
}

// operationFor begins an operation. The lock is held.
func (s *Server) operationFor(r *request, kind, target string, state func() (done bool)) *progress {
	id := s.newID()
	p := &progress{state: state, op: compute.Operation{
		Kind: "compute#operation", Id: id, Name: fmt.Sprintf("operation-%d", id), OperationType: kind,
		Status: "PENDING", TargetLink: s.URL + root + target, ClientOperationId: r.http.URL.Query().Get("requestId"),
	}}
	place := fmt.Sprintf("%s%sprojects/%s/%s", s.URL, root, r.project, r.scope)
	p.op.SelfLink = place + "/operations/" + p.op.Name
	switch {
	case strings.HasPrefix(r.scope, "zones/"):
		p.op.Zone = place
	case strings.HasPrefix(r.scope, "regions/"):
		p.op.Region = place
	}
	s.operations[p.op.Name] = p
	if p.op.ClientOperationId != "" {
		s.byRequest[p.op.ClientOperationId] = p
	}
	return p
}

// progress is an operation.
type progress struct {
	op compute.Operation
	// state moves what it works on by one step.
	state func() (done bool)
}

// begun is what the request is told that begins it: not yet how it ends.
func (p *progress) begun() compute.Operation {
	op := p.op
	if op.Status != "DONE" {
		op.Error, op.HttpErrorStatusCode, op.HttpErrorMessage = nil, 0, ""
	}
	return op
}

func (s *Server) getOperation(r *request) (any, *refusal) {
	p := s.operations[r.name]
	if p == nil {
		return nil, notFound(r.path)
	}
	switch {
	case p.op.Status == "DONE":
	case p.op.Error != nil, p.state():
		p.op.Status, p.op.Progress = "DONE", 100
	default:
		p.op.Status = "RUNNING"
	}
	return p.op, nil
}
