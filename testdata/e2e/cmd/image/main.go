// Command image makes the image of the executor that `make build` has built: it
// pushes it to the repository IMAGE_REPO, or writes it to dist/executor.tar
// where none is named, and prints what to do with it.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/artifact"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/image"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	tree, err := workspace.Find()
	if err != nil {
		return err
	}
	img, err := artifact.ExecutorImage(ctx, tree)
	if err != nil {
		return err
	}
	tag := cmp.Or(os.Getenv("IMAGE_TAG"), "dev")
	if repository := os.Getenv("IMAGE_REPO"); repository != "" {
		return push(ctx, out, img, strings.TrimSuffix(repository, "/")+"/executor:"+tag)
	}
	return write(out, img, tree.Path("dist", "executor.tar"), "localhost/kubectl-velero/executor:"+tag)
}

func push(ctx context.Context, out io.Writer, img v1.Image, name string) error {
	pushed, err := image.Push(ctx, img, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "pushed; next: kubectl velero install --image %s\n", pushed)
	return err
}

func write(out io.Writer, img v1.Image, file, name string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := image.WriteArchive(file, img, name); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "wrote %s with image %s; with IMAGE_REPO=registry.example.com/team it is pushed instead\n", file, name)
	return err
}
