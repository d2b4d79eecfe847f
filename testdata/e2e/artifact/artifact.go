// Package artifact builds what the demo and the end-to-end tests run: the
// plugin, the executor and its image, and the image of the sample application.
// Binaries go to bin/ of the clone (the plugin and the executor, which are the
// product) or to the state folder.
package artifact

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/image"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

// Names of the images, as they are known to a cluster that was made here.
const (
	ExecutorName = "localhost/kubectl-velero/executor:demo"
	AppName      = "localhost/kubectl-velero/app:demo"
	StoreName    = "localhost/kubectl-velero/versitygw:demo"
)

// executorUser is the user of the executor's image, as in DESIGN: Pod Security
// "restricted" wants a number that isn't 0.
const executorUser = "65532"

// Build is one go build.
type Build struct {
	// Module is the folder of the module, relative to the root.
	Module string
	// Package is an import path or ./path within the module.
	Package string
	// Output is absolute.
	Output string
}

// String is the command as a person would type it in the root of the clone.
func (b Build) String() string {
	in := ""
	if b.Module != "." {
		in = " -C " + b.Module
	}
	args := workspace.BuildArgs(b.Package, b.Output)
	for i, arg := range args {
		if strings.Contains(arg, " ") {
			args[i] = "'" + arg + "'"
		}
	}
	return "CGO_ENABLED=0 go" + in + " " + strings.Join(args, " ")
}

// Run builds. A second run without changes takes about a second.
func (b Build) Run(ctx context.Context, tree workspace.Tree) error {
	return tree.Build(ctx, tree.Path(b.Module), b.Package, b.Output)
}

// Plugin is the build of bin/kubectl-velero.
func Plugin(tree workspace.Tree) Build {
	return Build{Module: ".", Package: "./cmd/kubectl-velero", Output: tree.Path("bin", "kubectl-velero")}
}

// Executor is the build of bin/executor.
func Executor(tree workspace.Tree) Build {
	return Build{Module: ".", Package: "./cmd/executor", Output: tree.Path("bin", "executor")}
}

// App is the build of the sample application's program.
func App(tree workspace.Tree) Build {
	return Build{Module: filepath.Join("testdata", "e2e"), Package: "./app", Output: filepath.Join(tree.Bin(), "app")}
}

// Store is the build of the S3 server that testdata/stores pins.
func Store(tree workspace.Tree) Build {
	return Build{
		Module: filepath.Join("testdata", "stores"), Package: "github.com/versity/versitygw/cmd/versitygw",
		Output: filepath.Join(tree.Bin(), "versitygw"),
	}
}

// ExecutorImage makes the product's image of a built executor.
func ExecutorImage(ctx context.Context, tree workspace.Tree) (v1.Image, error) {
	return image.Build(image.Options{
		Binary: Executor(tree).Output, Path: "/executor", User: executorUser,
		Architecture: runtime.GOARCH, Labels: labels(ctx, tree, "kubectl-velero executor"),
	})
}

// AppImage makes the image of the built sample application, which stays up
// unless it is told otherwise.
func AppImage(ctx context.Context, tree workspace.Tree) (v1.Image, error) {
	return appImage(ctx, tree)
}

// HelloImage makes an image of the sample application that says hello and ends.
func HelloImage(ctx context.Context, tree workspace.Tree) (v1.Image, error) {
	return appImage(ctx, tree, "hello")
}

func appImage(ctx context.Context, tree workspace.Tree, args ...string) (v1.Image, error) {
	return image.Build(image.Options{
		Binary: App(tree).Output, Path: "/app", Args: args,
		Architecture: runtime.GOARCH, Labels: labels(ctx, tree, "kubectl-velero sample application"),
	})
}

// StoreImage makes the image of the built S3 server, for clusters whose pods
// can't reach this machine.
func StoreImage(ctx context.Context, tree workspace.Tree) (v1.Image, error) {
	return image.Build(image.Options{
		Binary: Store(tree).Output, Path: "/versitygw", User: executorUser,
		Architecture: runtime.GOARCH, Labels: labels(ctx, tree, "versitygw"),
	})
}

// labels are those of https://github.com/opencontainers/image-spec/blob/main/annotations.md
// that are known. The revision is left out where git can't tell.
func labels(ctx context.Context, tree workspace.Tree, title string) map[string]string {
	set := map[string]string{
		"org.opencontainers.image.title":    title,
		"org.opencontainers.image.source":   "https://github.com/kubectl-velero/kubectl-velero",
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
	cmd := exec.CommandContext(ctx, "git", "rev-parse", "HEAD")
	cmd.Dir = tree.Root
	if revision, err := cmd.Output(); err == nil {
		set["org.opencontainers.image.revision"] = strings.TrimSpace(string(revision))
	}
	return set
}

// Size returns the bytes that the image's layers take in a registry.
func Size(img v1.Image) (int64, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return 0, fmt.Errorf("size of image: %w", err)
	}
	size := manifest.Config.Size
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	return size, nil
}
