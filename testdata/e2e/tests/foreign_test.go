//go:build e2e

package tests

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

// TestForeignDemo runs the demo on a local cluster as if someone else had made it:
// images go through a registry, the S3 server runs in the cluster.
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

	result := s.try(demo, "--name", "foreign")
	if want := "IMAGE_REPO is required with a cluster that wasn't made here"; result.Code != 1 || !strings.Contains(result.Stderr, want) {
		t.Errorf("exit status %d without IMAGE_REPO, and no %q", result.Code, want)
	}
	s.c.Env = append(s.c.Env, "IMAGE_REPO="+s.registry()+"/kubectl-velero")
	result = s.try(demo, "--name", "foreign")
	if want := "there is no terminal to ask on"; result.Code != 1 || !strings.Contains(result.Stderr, want) {
		t.Errorf("exit status %d without a terminal, and no %q", result.Code, want)
	}
	s.c.Env = append(s.c.Env, "YES=1")
	s.must("kubectl", "velero", "uninstall", "--force", "--wait")
	t.Run("volumes that can be snapshotted", func(t *testing.T) {
		out := s.sub(t).demo(demo, "made from the snapshot, with what was written before the backup")
		s.snapshotGone(t, out)
	})
	t.Run("volumes that can't", func(t *testing.T) {
		s := s.sub(t)
		s.withoutClass()
		s.demo(demo, "No CSI driver here can take snapshots")
	})
}

// demo runs it to its end, and wants it to say this, and to leave nothing when it is
// cleaned up.
func (s *session) demo(program, want string) (out string) {
	s.t.Helper()
	out = s.must(program, "--name", "foreign")
	for _, want := range []string{want, "objects are what they were"} {
		if !strings.Contains(out, want) {
			s.t.Errorf("the demo doesn't say %q", want)
		}
	}
	s.must(program, "--name", "foreign", "clean")
	for _, object := range s.everything() {
		if s.cluster.CSI != nil && strings.HasSuffix(object, "/"+s.cluster.CSI.Driver) {
			continue // the test-bed's own
		}
		if strings.Contains(object, "velero") || strings.Contains(object, "shop") {
			s.t.Errorf("left by the demo: %s", object)
		}
	}
	return out
}

var volumeSnapshotClasses = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotclasses"}

// snapshotHandle is one of the test-bed's driver.
var snapshotHandle = regexp.MustCompile(`snap-snapshot-[0-9a-f-]+`)

// snapshotGone wants the storage to have no snapshot that the demo has named.
func (s *session) snapshotGone(t *testing.T, said string) {
	t.Helper()
	if s.cluster.CSI == nil {
		return
	}
	handle := snapshotHandle.FindString(said)
	if handle == "" {
		t.Fatal("the demo names no snapshot")
	}
	if _, err := os.Stat(filepath.Join(s.cluster.CSI.Data, "snapshots", handle+".json")); !os.IsNotExist(err) {
		t.Errorf("the demo left snapshot %s: %v", handle, err)
	}
}

// withoutClass takes the class for snapshots away until the test ends.
func (s *session) withoutClass() {
	s.t.Helper()
	classes := s.dynamic.Resource(volumeSnapshotClasses)
	class, err := classes.Get(s.t.Context(), s.cluster.CSI.Class, metav1.GetOptions{})
	s.check(err)
	s.check(classes.Delete(s.t.Context(), class.GetName(), metav1.DeleteOptions{}))
	class.SetResourceVersion("")
	s.t.Cleanup(func() {
		if _, err := classes.Create(context.WithoutCancel(s.t.Context()), class, metav1.CreateOptions{}); err != nil {
			s.t.Error(err)
		}
	})
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
