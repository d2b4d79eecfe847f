// Package testenv gives tests the real thing: an API server with etcd, and an
// S3 server, each started once for a test binary and stopped at its end. It
// builds what is missing of the test-bed, and fails a test rather than skip
// it. A test binary that uses it has
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// StartS3 is for others too: the demo starts its S3 server with it.
package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const modulePath = "github.com/kubectl-velero/kubectl-velero"

// servers are what this test binary has started.
type servers struct {
	mu         sync.Mutex
	s3         *S3Server
	buckets    int
	kubeconfig string
	other      string                  // kubeconfig of the second cluster
	clusters   []string                // their names
	azurite    map[bool]*AzuriteServer // by whether they have TLS
	gcs        *GCSServer
	csi        map[string]*csiControllers // by kubeconfig
	cleanups   []func() error             // run in this order
}

// running is the state that Main cleans up. It is a variable of the package
// since a test binary has one Main, and its tests share the servers.
var running = &servers{azurite: map[bool]*AzuriteServer{}, csi: map[string]*csiControllers{}}

// Main runs the tests, stops the servers and exits.
func Main(m *testing.M) {
	code := m.Run()
	if err := running.stop(); err != nil {
		fmt.Fprintf(os.Stderr, "stop the test's servers: %v\n", err)
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}

func (s *servers) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.s3 != nil {
		errs = append(errs, s.s3.Stop(), os.RemoveAll(filepath.Dir(s.s3.root)))
	}
	for _, controllers := range s.csi {
		errs = append(errs, controllers.stop())
	}
	for _, cleanup := range s.cleanups {
		errs = append(errs, cleanup())
	}
	for _, cluster := range s.clusters {
		errs = append(errs, clusterDown(cluster))
	}
	return errors.Join(errs...)
}

// RepositoryRoot finds the folder of the product's go.mod above the working
// directory, also from within a nested module.
func RepositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		body, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(body), "module "+modulePath+"\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("find the go.mod of %s above the working directory: there is none", modulePath)
		}
		dir = parent
	}
}

// StateFolder is where the test-bed keeps what it builds and runs: TESTBED_STATE,
// or .testbed in the repository. It may not exist yet.
func StateFolder() (string, error) {
	if dir := os.Getenv("TESTBED_STATE"); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".testbed"), nil
}
