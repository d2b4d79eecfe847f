package provider

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: prod, cluster: {server: "https://prod.example.com:6443"}}]
contexts: [{name: prod-admin, context: {cluster: prod, user: admin}}]
users: [{name: admin, user: {}}]
current-context: prod-admin
`

func TestForeign(t *testing.T) {
	t.Parallel()
	const named = `context "prod-admin" (https://prod.example.com:6443)`
	tests := []struct {
		name    string
		options Options
		is      error
		message string
	}{
		{
			name: "no image repository",
			is:   ErrImageRepo,
			message: "IMAGE_REPO is required with a cluster that wasn't made here\n" +
				"hint: IMAGE_REPO=registry.example.com/team, which this machine can push to and the cluster's nodes can pull from",
		},
		{
			name:    "no terminal",
			options: Options{ImageRepo: "r.example.com/x"},
			is:      ErrRefused,
			message: "not allowed to use the cluster of KUBECONFIG: " + named +
				" wasn't made here, and there is no terminal to ask on\nhint: YES=1 says yes",
		},
		{
			name:    "no",
			options: Options{ImageRepo: "r.example.com/x", In: strings.NewReader("n\n")},
			is:      ErrRefused,
			message: `not allowed to use the cluster of KUBECONFIG: the answer was "n"`,
		},
		{
			name:    "end of input",
			options: Options{ImageRepo: "r.example.com/x", In: strings.NewReader("")},
			is:      ErrRefused,
			message: "not allowed to use the cluster of KUBECONFIG: no answer: EOF",
		},
		{
			name:    "no such file",
			options: Options{ImageRepo: "r.example.com/x", Kubeconfig: "/nowhere/config"},
			message: "read KUBECONFIG \"/nowhere/config\": no current context with a cluster\n" +
				"hint: `kubectl config get-contexts` lists the contexts, `unset KUBECONFIG` leaves the choice to the demo",
		},
		{
			name:    "yes",
			options: Options{ImageRepo: "r.example.com/x", In: strings.NewReader("yes\n")},
		},
		{
			name:    "YES=1",
			options: Options{ImageRepo: "r.example.com/x", Yes: true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := tt.options
			o.Tree = workspace.Tree{Root: "/nowhere", State: "/nowhere/.testbed"}
			if o.Kubeconfig == "" {
				file := filepath.Join(t.TempDir(), "config")
				if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
					t.Fatal(err)
				}
				o.Kubeconfig = "/nowhere/first:" + file
			}
			found, err := Find(t.Context(), o)
			if tt.message != "" {
				if err == nil || err.Error() != tt.message || (tt.is != nil && !errors.Is(err, tt.is)) {
					t.Errorf("error %q, want %q", err, tt.message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if config, err := found.Config(); err != nil || config.Host != "https://prod.example.com:6443" {
				t.Errorf("config %v, %v", config, err)
			}
			if found.Kind != Foreign || found.Name != named || found.HostAddress != "" {
				t.Errorf("found %+v", found)
			}
			if err := found.Down(t.Context()); err != nil {
				t.Errorf("down: %v", err)
			}
		})
	}
}

func TestForeignAsksWithTheClustersName(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := ask(Options{In: strings.NewReader("y\n"), Out: &out}, `context "x" (https://x)`); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `context "x" (https://x)`) || !strings.HasSuffix(out.String(), "[y/N] ") {
		t.Errorf("asked %q", out.String())
	}
}

func TestForeignPushes(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	repo := strings.TrimPrefix(server.URL, "http://") + "/team/"
	found, err := foreign(Options{Kubeconfig: file, ImageRepo: repo, Yes: true})
	if err != nil {
		t.Fatal(err)
	}
	reference, err := found.Load(t.Context(), Image{Name: "localhost/kubectl-velero/executor:demo", Image: empty.Image})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(reference, repo+"executor@sha256:") {
		t.Errorf("pods would pull %q", reference)
	}
}

func TestOurs(t *testing.T) {
	t.Parallel()
	tree := workspace.Tree{Root: "/clone", State: "/clone/.testbed"}
	for path, want := range map[string]bool{
		"/clone/.testbed/clusters/default/kubeconfig": true,
		"/clone/.testbed-other/kubeconfig":            false,
		"/home/me/.kube/config":                       false,
	} {
		if got := ours(tree, path); got != want {
			t.Errorf("ours(%q) = %v", path, got)
		}
	}
}

func TestAnswering(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, answers, want string
	}{
		{"none", "", ""},
		{"podman only", "podman", "podman"},
		{"docker first", "docker podman", "docker"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := answering(t.Context(), func(_ context.Context, name string, _ ...string) ([]byte, error) {
				if strings.Contains(tt.answers, name) {
					return nil, nil
				}
				return nil, errors.New("cannot connect to the daemon")
			})
			if got != tt.want {
				t.Errorf("engine %q, want %q", got, tt.want)
			}
		})
	}
}

func TestKindCluster(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		existing []string
		want     []string
	}{
		{"new", []string{"other"}, []string{"create kubectl-velero-demo", "delete kubectl-velero-demo"}},
		{"reused", []string{"kubectl-velero-demo"}, []string{"export kubectl-velero-demo", "delete kubectl-velero-demo"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kind := &fakeKind{clusters: tt.existing}
			options := Options{Tree: workspace.Tree{State: t.TempDir()}, Name: "demo", Out: io.Discard}
			found, err := kindCluster(options, "docker", kind)
			if err != nil {
				t.Fatal(err)
			}
			if found.Kind != Kind || found.Name != "kind cluster kubectl-velero-demo" {
				t.Errorf("found %+v", found)
			}
			if err := found.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, kind.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKindClusterTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	kind := &fakeKind{err: errors.New("no space")}
	_, err := kindCluster(Options{Tree: workspace.Tree{State: t.TempDir()}, Name: "demo", Out: io.Discard}, "docker", kind)
	want := "start kind cluster \"kubectl-velero-demo\": no space\n" +
		"hint: remove what is left of it with `kind delete cluster --name kubectl-velero-demo`"
	if err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestLoadKind(t *testing.T) {
	t.Parallel()
	kind := &fakeKind{nodes: []nodes.Node{fakeNode{name: "a"}, fakeNode{name: "b"}}}
	var loaded []string
	load := func(node nodes.Node, archive io.Reader) error {
		if n, err := io.Copy(io.Discard, archive); err != nil || n == 0 {
			t.Errorf("archive of %d bytes, %v", n, err)
		}
		loaded = append(loaded, node.String())
		return nil
	}
	if err := loadKind(kind, "demo", Image{Name: "localhost/app:demo", Image: empty.Image}, load); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(loaded, []string{"a", "b"}) {
		t.Errorf("loaded on %v", loaded)
	}
	failing := func(nodes.Node, io.Reader) error { return errors.New("disk full") }
	err := loadKind(kind, "demo", Image{Name: "localhost/app:demo", Image: empty.Image}, failing)
	if err == nil || err.Error() != "node a: disk full" {
		t.Errorf("error %v", err)
	}
}

type fakeKind struct {
	clusters []string
	nodes    []nodes.Node
	calls    []string
	err      error
}

func (f *fakeKind) List() ([]string, error) { return f.clusters, nil }

func (f *fakeKind) Create(name string, _ ...cluster.CreateOption) error {
	f.calls = append(f.calls, "create "+name)
	return f.err
}

func (f *fakeKind) Delete(name, _ string) error {
	f.calls = append(f.calls, "delete "+name)
	return nil
}

func (f *fakeKind) ExportKubeConfig(name, _ string, _ bool) error {
	f.calls = append(f.calls, "export "+name)
	return nil
}

func (f *fakeKind) ListInternalNodes(string) ([]nodes.Node, error) { return f.nodes, nil }

// fakeNode has a name only; any other call is a nil dereference.
type fakeNode struct {
	nodes.Node
	name string
}

func (n fakeNode) String() string { return n.name }
