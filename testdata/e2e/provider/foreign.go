package provider

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/image"
)

// ErrImageRepo is returned for a foreign cluster without a registry.
var ErrImageRepo = errors.New("IMAGE_REPO is required with a cluster that wasn't made here\n" +
	"hint: IMAGE_REPO=registry.example.com/team, which this machine can push to and the cluster's nodes can pull from")

// ErrRefused is returned when a foreign cluster may not be used.
var ErrRefused = errors.New("not allowed to use the cluster of KUBECONFIG")

// foreign takes the cluster of KUBECONFIG, after asking.
func foreign(o Options) (*Cluster, error) {
	if o.ImageRepo == "" {
		return nil, ErrImageRepo
	}
	config, err := rules(o.Kubeconfig).Load()
	if err != nil {
		return nil, fmt.Errorf("read KUBECONFIG: %w", err)
	}
	current := config.Contexts[config.CurrentContext]
	if current == nil || config.Clusters[current.Cluster] == nil {
		return nil, fmt.Errorf("read KUBECONFIG %q: no current context with a cluster\nhint: `kubectl config get-contexts` lists the contexts, `unset KUBECONFIG` leaves the choice to the demo", o.Kubeconfig)
	}
	name := fmt.Sprintf("context %q (%s)", config.CurrentContext, config.Clusters[current.Cluster].Server)
	if err := ask(o, name); err != nil {
		return nil, err
	}
	return &Cluster{
		Kind: Foreign, Name: name, Kubeconfig: o.Kubeconfig,
		load: func(ctx context.Context, i Image) (string, error) { return push(ctx, o.ImageRepo, i) },
	}, nil
}

// rules read KUBECONFIG as kubectl does: a list of files.
func rules(kubeconfig string) *clientcmd.ClientConfigLoadingRules {
	return &clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(kubeconfig)}
}

// push sends the image to the repository, under an id of its own: a kubelet that
// has pulled an image asks the registry for each other name that it has, also
// for one that was loaded into the node
// (https://kubernetes.io/docs/concepts/containers/images/#ensureimagepullcredentialverification).
func push(ctx context.Context, repository string, i Image) (string, error) {
	name := strings.TrimSuffix(repository, "/") + "/" + path.Base(i.Name)
	own, err := image.WithLabel(i.Image, "org.opencontainers.image.ref.name", name)
	if err != nil {
		return "", err
	}
	return image.Push(ctx, own, name)
}

// ask wants a yes before anything is done to a cluster that wasn't made here.
func ask(o Options, name string) error {
	if o.Yes {
		return nil
	}
	if o.In == nil {
		return fmt.Errorf("%w: %s wasn't made here, and there is no terminal to ask on\nhint: YES=1 says yes", ErrRefused, name)
	}
	fmt.Fprintf(o.Out, "KUBECONFIG names a cluster that wasn't made here: %s.\n"+
		"Velero, an S3 server and a sample application will be installed there. Go on? [y/N] ", name)
	answer, err := bufio.NewReader(o.In).ReadString('\n')
	if err != nil && answer == "" {
		return fmt.Errorf("%w: no answer: %w", ErrRefused, err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("%w: the answer was %q", ErrRefused, strings.TrimSpace(answer))
}
