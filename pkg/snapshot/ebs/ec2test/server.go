// Package ec2test is a server for tests that speaks as much of the query protocol of
// Amazon EC2 as disks and snapshots need: form-encoded requests with signatures,
// answers in XML, pages, eventual consistency, slow states and errors, as
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/ documents them.
package ec2test

import (
	"crypto/rand"
	"encoding/hex"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// The account that the server belongs to.
const (
	Account   = "123456789012"
	Region    = "eu-central-1"
	AccessKey = "AKIDEC2TEST"
	SecretKey = "ec2test-geheim"
)

// Server is one region of EC2. It is safe for concurrent use.
type Server struct {
	// URL is where it listens.
	URL string

	mu        sync.Mutex
	zones     []string          // guarded by mu, as all below
	disks     []*diskRecord     // in the order in which they were made
	snapshots []*snapshotRecord // likewise
	faults    []*Fault
	requests  []Request
	allowed   []string // nil for everything
	slow      int
	hidden    int
	pageSize  int
	onRequest func(action string)
	busy      int
	busiest   int
}

// Start starts a server with the zones eu-central-1a, b and c and nothing in them,
// which ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{zones: []string{Region + "a", Region + "b", Region + "c"}, pageSize: maxPage}
	server := httptest.NewServer(s)
	tb.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Config is that of a VolumeSnapshotLocation "aws" on this server, with a file of
// valid credentials.
func (s *Server) Config(tb testing.TB) snapshot.Config {
	tb.Helper()
	return snapshot.Config{
		Location: "aws", Settings: map[string]string{"region": Region},
		CredentialsFile: CredentialsFile(tb, SecretKey), Endpoint: s.URL,
	}
}

// CredentialsFile writes credentials with the account's access key and this secret
// key.
func CredentialsFile(tb testing.TB, secretKey string) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "credentials")
	text := "[default]\naws_access_key_id = " + AccessKey + "\naws_secret_access_key = " + secretKey + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// Slow sets how often a snapshot or disk that is made from now on is described as
// "pending" or "creating" before it is done: at first never. math.MaxInt stands for
// ever.
func (s *Server) Slow(describes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = describes
}

// Hide sets how often a snapshot that is made from now on isn't found when it is
// asked for: EC2 is consistent only eventually.
func (s *Server) Hide(describes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = describes
}

// PageSize sets how much one answer has at most.
func (s *Server) PageSize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pageSize = n
}

// Allow takes all rights but these away, such as "ec2:CreateSnapshot".
func (s *Server) Allow(actions ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = append([]string{}, actions...)
}

// OnRequest has f called when a request has been carried out, before it is answered.
func (s *Server) OnRequest(f func(action string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onRequest = f
}

// MostAtATime is how many requests there have been at the same time.
func (s *Server) MostAtATime() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busiest
}

// enter counts a request, leave ends that.
func (s *Server) enter() (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy++
	s.busiest = max(s.busiest, s.busy)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy--
	}
}

// Request is one that the server has answered.
type Request struct {
	Time   time.Time
	Action string
	// ID is the disk or snapshot that it names first.
	ID string
	// Code is that of the error, empty for none.
	Code string
	// Params are all of its parameters, of which the first value counts.
	Params map[string][]string
}

// Requests returns those since the start, with this action; "" for all.
func (s *Server) Requests(action string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(r Request) bool { return action != "" && r.Action != action })
}

// newID makes one as EC2's.
func newID(prefix string) string {
	const bytes = 9 // 17 digits are used
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return prefix + hex.EncodeToString(b)[:17]
}
