// Package assets brings what a cluster runs: binaries built from Go modules,
// programs from the distribution's packages, and images made of both. Nothing
// is installed; everything goes below the state folder.
package assets

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

// Builder brings assets. Progress goes to Out.
type Builder struct {
	State state.Folder
	Out   io.Writer
}

// Parts are what a cluster has beside etcd and the API server.
type Parts struct {
	Node bool // what pods need to run
	CSI  bool // a CSI driver, its sidecars and the definitions of the snapshot API
}

// Build brings all that a cluster with these parts needs. What is up to date is
// left alone, which takes well under a second.
func (b Builder) Build(ctx context.Context, parts Parts) error {
	unlock, err := state.Lock(ctx, filepath.Join(b.State.Root, "build.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	for _, t := range b.targets(parts) {
		if err := b.buildTarget(ctx, t); err != nil {
			return err
		}
	}
	if err := b.linkComponents(); err != nil {
		return err
	}
	if parts.CSI {
		if err := b.bringDefinitions(ctx); err != nil {
			return err
		}
	}
	if !parts.Node {
		return nil
	}
	if err := b.bringPrograms(ctx); err != nil {
		return err
	}
	return b.makeImages(ctx)
}

func (b Builder) say(format string, args ...any) {
	fmt.Fprintf(b.Out, format+"\n", args...)
}
