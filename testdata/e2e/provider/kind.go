package provider

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/image"
)

// engines are in the order in which kind looks for them.
var engines = []string{"docker", "nerdctl", "podman"}

// runner runs a command to its end and returns its output.
type runner func(ctx context.Context, name string, args ...string) ([]byte, error)

func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return exec.CommandContext(ctx, name, args...).Output()
}

// answering returns the first container engine whose daemon answers, or "". A
// client on the PATH isn't enough, which is where kind's own detection stops.
func answering(ctx context.Context, run runner) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, engine := range engines {
		if _, err := run(ctx, engine, "info"); err == nil {
			return engine
		}
	}
	return ""
}

// Engine returns the container engine that answers on this machine, or "".
func Engine(ctx context.Context) string { return answering(ctx, run) }

// kindLibrary is the part of kind's cluster.Provider that is used.
type kindLibrary interface {
	List() ([]string, error)
	Create(name string, options ...cluster.CreateOption) error
	Delete(name, explicitKubeconfigPath string) error
	ExportKubeConfig(name, explicitPath string, internal bool) error
	ListInternalNodes(name string) ([]nodes.Node, error)
}

func kindProvider(engine string) kindLibrary {
	option := map[string]cluster.ProviderOption{
		"docker":  cluster.ProviderWithDocker(),
		"nerdctl": cluster.ProviderWithNerdctl("nerdctl"),
		"podman":  cluster.ProviderWithPodman(),
	}[engine]
	return cluster.NewProvider(option)
}

// kindNames are the name of a cluster and the file of its kubeconfig.
func kindNames(o Options) (name, kubeconfig string) {
	name = "kubectl-velero-" + o.Name
	return name, filepath.Join(o.Tree.State, "kind", name+".kubeconfig")
}

// kindCluster reuses the cluster of the name, or creates it.
func kindCluster(o Options, engine string, kind kindLibrary) (*Cluster, error) {
	name, kubeconfig := kindNames(o)
	if err := os.MkdirAll(filepath.Dir(kubeconfig), 0o755); err != nil {
		return nil, err
	}
	existing, err := kind.List()
	if err != nil {
		return nil, fmt.Errorf("list kind clusters: %w", err)
	}
	if slices.Contains(existing, name) {
		err = kind.ExportKubeConfig(name, kubeconfig, false)
	} else {
		fmt.Fprintf(o.Out, "$ kind create cluster --name %s   # through its Go library, with %s\n", name, engine)
		err = kind.Create(name, cluster.CreateWithKubeconfigPath(kubeconfig),
			cluster.CreateWithWaitForReady(3*time.Minute), cluster.CreateWithDisplayUsage(false))
	}
	if err != nil {
		return nil, fmt.Errorf("start kind cluster %q: %w\nhint: remove what is left of it with `kind delete cluster --name %s`", name, err, name)
	}
	return &Cluster{
		Kind: Kind, Name: "kind cluster " + name, Kubeconfig: kubeconfig,
		load: func(_ context.Context, i Image) (string, error) {
			return i.Name, loadKind(kind, name, i, nodeutils.LoadImageArchive)
		},
		down: func(context.Context) error { return kind.Delete(name, kubeconfig) },
	}, nil
}

// loadKind imports the image on every node.
func loadKind(kind kindLibrary, name string, i Image, load func(nodes.Node, io.Reader) error) (err error) {
	list, err := kind.ListInternalNodes(name)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "kubectl-velero-image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	archive := filepath.Join(folder, "image.tar")
	if err := image.WriteArchive(archive, i.Image, i.Name); err != nil {
		return err
	}
	for _, node := range list {
		if err := loadNode(node, archive, load); err != nil {
			return fmt.Errorf("node %s: %w", node, err)
		}
	}
	return nil
}

func loadNode(node nodes.Node, archive string, load func(nodes.Node, io.Reader) error) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	return load(node, file)
}
