//go:build e2e

package tests

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

// TestForeignDemo runs the demo on the local cluster as if someone else had made
// it: images go through a registry, the S3 server runs in the cluster.
func TestForeignDemo(t *testing.T) {
	s := alone(t)
	if s.cluster.Kind != provider.Local {
		t.Skip("needs a registry on this machine that the node pulls from: the local cluster")
	}
	text, err := os.ReadFile(s.cluster.Kubeconfig)
	s.check(err)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	s.check(os.WriteFile(kubeconfig, text, 0o600))
	demo := filepath.Join(s.tree.Bin(), "demo")
	s.check(s.tree.Build(t.Context(), s.tree.Path("testdata", "e2e"), "./cmd/demo", demo))
	s.c.Env = append(s.c.Env, "KUBECONFIG="+kubeconfig, "YES=", "IMAGE_REPO=")
	const name = "foreign"

	result := s.try(demo, "--name", name)
	if want := "IMAGE_REPO is required with a cluster that wasn't made here"; result.Code != 1 || !strings.Contains(result.Stderr, want) {
		t.Errorf("exit status %d without IMAGE_REPO, and no %q", result.Code, want)
	}
	s.c.Env = append(s.c.Env, "IMAGE_REPO="+s.registry()+"/kubectl-velero")
	result = s.try(demo, "--name", name)
	if want := "there is no terminal to ask on"; result.Code != 1 || !strings.Contains(result.Stderr, want) {
		t.Errorf("exit status %d without a terminal, and no %q", result.Code, want)
	}
	s.c.Env = append(s.c.Env, "YES=1")
	s.must("kubectl", "velero", "uninstall", "--force", "--wait")
	out := s.must(demo, "--name", name)
	if want := "objects are what they were"; !strings.Contains(out, want) {
		t.Errorf("the demo doesn't say %q", want)
	}
	s.must(demo, "--name", name, "clean")
	for _, object := range s.everything() {
		if s.cluster.CSI != nil && strings.HasSuffix(object, "/"+s.cluster.CSI.Driver) {
			continue // the test-bed's own
		}
		if strings.Contains(object, "velero") || strings.Contains(object, "shop") {
			t.Errorf("left by the demo: %s", object)
		}
	}
}

// registry serves one where the node reaches it, over plain HTTP, and tells the
// node so, until the test ends.
func (s *session) registry() (hostPort string) {
	s.t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(s.cluster.HostAddress, "0"))
	s.check(err)
	hostPort = listener.Addr().String()
	server := &http.Server{Handler: registry.New()}
	go func() { _ = server.Serve(listener) }()
	s.t.Cleanup(func() { _ = server.Close() })
	folder := filepath.Join(s.cluster.RegistryConfig, hostPort)
	s.check(os.MkdirAll(folder, 0o755))
	s.t.Cleanup(func() { _ = os.RemoveAll(folder) })
	hosts := fmt.Sprintf("server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\ncapabilities = [\"pull\", \"resolve\"]\n", hostPort)
	s.check(os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(hosts), 0o644))
	return hostPort
}
