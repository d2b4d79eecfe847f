// Package provider finds the cluster that the demo and the end-to-end tests
// work on, and brings images into it: the cluster of KUBECONFIG, else kind where
// a container engine answers, else the local cluster that the test-bed builds.
// It installs nothing in the cluster.
package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

// Image is an image to bring into a cluster.
type Image struct {
	// Name is the reference within this machine, such as localhost/app:demo.
	Name  string
	Image v1.Image
}

// Cluster is a running cluster. Its methods are safe for one goroutine at a time.
type Cluster struct {
	// Kind is local, kind or foreign.
	Kind string
	// Name is what the cluster is called, for people.
	Name string
	// Kubeconfig is the value of KUBECONFIG for the cluster: a file, or more.
	Kubeconfig string
	// HostAddress is where a server on this machine is reached from pods; empty
	// where there is no such address, so that servers must run in the cluster.
	HostAddress string
	// RegistryConfig is the folder where the node looks up how to pull from a
	// registry, in the form of containerd's certs.d; local clusters only.
	RegistryConfig string
	// CSI is the driver of the test-bed, nil where there is none; local clusters
	// only.
	CSI *CSI

	load func(ctx context.Context, image Image) (reference string, err error)
	down func(ctx context.Context) error
}

// CSI says how to use the CSI driver of a local cluster.
type CSI struct {
	Driver string `json:"driver"` // its name
	// Class is the name of its StorageClass and of its VolumeSnapshotClass.
	Class string `json:"class"`
	// Data is its folder on this machine: volumes, snapshots, log of calls.
	Data string `json:"data"`
}

// The kinds of cluster.
const (
	Local   = "local"
	Kind    = "kind"
	Foreign = "foreign"
)

// Load brings an image into the cluster and returns the reference that pods use.
func (c *Cluster) Load(ctx context.Context, image Image) (string, error) {
	reference, err := c.load(ctx, image)
	if err != nil {
		return "", fmt.Errorf("load image %q into %s: %w", image.Name, c.Name, err)
	}
	return reference, nil
}

// Config returns what clients need to talk to the cluster.
func (c *Cluster) Config() (*rest.Config, error) {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules(c.Kubeconfig), nil).ClientConfig()
}

// Down ends the cluster, if it was made here; a foreign one is left alone.
func (c *Cluster) Down(ctx context.Context) error {
	if c.down == nil {
		return nil
	}
	if err := c.down(ctx); err != nil {
		return fmt.Errorf("take down %s: %w", c.Name, err)
	}
	return nil
}

// Options say where to look and how to talk. All but Tree may be empty.
type Options struct {
	Tree workspace.Tree
	// Name is the name of the cluster to make or to reuse; default "default".
	Name string
	// Kind is the only kind of cluster to take; empty takes the first that there
	// is: of KUBECONFIG, kind, local.
	Kind string
	// Kubeconfig is what KUBECONFIG says.
	Kubeconfig string
	// ImageRepo is where images for a foreign cluster are pushed, and pulled
	// from by its nodes.
	ImageRepo string
	// CSI gives a local cluster that is made a CSI driver that can take snapshots.
	CSI bool
	// CSIData is the folder of another local cluster's driver, for that storage to be
	// seen here too; empty is one of its own.
	CSIData string
	// Yes answers the question whether a foreign cluster may be used.
	Yes bool
	// In is the terminal for that question; nil is none, which refuses.
	In io.Reader
	// Out is told what is run, one line each.
	Out io.Writer
}

// FromEnv returns the options that the environment asks for: KUBECONFIG,
// IMAGE_REPO and YES=1.
func FromEnv(tree workspace.Tree) Options {
	return Options{
		Tree:       tree,
		Kubeconfig: os.Getenv("KUBECONFIG"),
		ImageRepo:  os.Getenv("IMAGE_REPO"),
		Yes:        os.Getenv("YES") == "1",
	}
}

// Find returns a running cluster, starting one if it has to.
func Find(ctx context.Context, o Options) (*Cluster, error) {
	o = o.defaults()
	switch kind, engine := o.choose(ctx); kind {
	case Foreign:
		return foreign(o)
	case Kind:
		return kindCluster(o, engine, kindProvider(engine))
	case Local:
		return local(ctx, o)
	default:
		return nil, fmt.Errorf("unknown kind of cluster %q: there are %s, %s and %s", kind, Local, Kind, Foreign)
	}
}

// choose returns the kind of cluster, and for kind the container engine, which
// is docker where none answers but kind is asked for.
func (o Options) choose(ctx context.Context) (kind, engine string) {
	if o.Kind == "" && o.Kubeconfig != "" && !ours(o.Tree, o.Kubeconfig) {
		return Foreign, ""
	}
	if o.Kind != "" && o.Kind != Kind {
		return o.Kind, ""
	}
	switch engine := answering(ctx, run); {
	case engine != "":
		return Kind, engine
	case o.Kind == Kind:
		return Kind, engines[0]
	}
	return Local, ""
}

// Made returns a cluster of the kind that Find has made earlier, for its Down
// only; it starts nothing.
func Made(ctx context.Context, kind string, o Options) (*Cluster, error) {
	o = o.defaults()
	switch kind {
	case Local:
		b := newBed(o)
		return &Cluster{Kind: Local, Name: b.String(), down: b.down}, b.build(ctx)
	case Kind:
		engine := answering(ctx, run)
		if engine == "" {
			return nil, errors.New("take down the kind cluster: no container engine answers any more")
		}
		name, kubeconfig := kindNames(o)
		library := kindProvider(engine)
		return &Cluster{Kind: Kind, Name: "kind cluster " + name, down: func(context.Context) error {
			return library.Delete(name, kubeconfig)
		}}, nil
	}
	return nil, fmt.Errorf("unknown kind of cluster %q", kind)
}

// defaults fills in what is empty.
func (o Options) defaults() Options {
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Name == "" {
		o.Name = "default"
	}
	return o
}

// ours says whether the kubeconfig was written below the state folder, thus
// belongs to a cluster that was made here.
func ours(tree workspace.Tree, kubeconfig string) bool {
	path, err := filepath.Abs(kubeconfig)
	return err == nil && strings.HasPrefix(path, tree.State+string(filepath.Separator))
}
