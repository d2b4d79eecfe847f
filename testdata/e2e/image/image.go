// Package image builds container images from scratch, without a container
// engine or a base image: one static binary, nothing else. The same binary
// gives the same bytes. What runs the image (loading into a cluster, pods) is
// left to others.
package image

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Options say what the image of one binary looks like.
type Options struct {
	// Binary is the file on this machine; it must be a static Linux program.
	Binary string
	// Path is where the image has it, absolute; it is the entrypoint too.
	Path string
	// Args follow Path in the entrypoint.
	Args []string
	// User is the numeric user of the config; empty leaves it to the runtime (root).
	User string
	// Architecture is in Go's words, such as "amd64".
	Architecture string
	// Labels become the config's labels, such as org.opencontainers.image.title.
	Labels map[string]string
}

// ErrNotStatic is returned for a binary that asks for a dynamic linker, which an
// image from scratch doesn't have.
var ErrNotStatic = errors.New("binary is not static")

// epoch is the time of everything in an image, so that it depends on content only.
var epoch = time.Unix(0, 0).UTC()

// Build makes the image. It reads the binary once and holds it in memory.
func Build(o Options) (v1.Image, error) {
	if err := checkStatic(o.Binary); err != nil {
		return nil, fmt.Errorf("image of %q: %w", o.Binary, err)
	}
	layer, err := binaryLayer(o.Binary, o.Path)
	if err != nil {
		return nil, fmt.Errorf("image of %q: %w", o.Binary, err)
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "kubectl-velero image " + o.Path},
	})
	if err != nil {
		return nil, fmt.Errorf("image of %q: %w", o.Binary, err)
	}
	return configure(img, o)
}

func configure(img v1.Image, o Options) (v1.Image, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("image of %q: %w", o.Binary, err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", o.Architecture
	file.Created = v1.Time{Time: epoch}
	file.Config = v1.Config{
		Entrypoint: append([]string{o.Path}, o.Args...),
		User:       o.User,
		WorkingDir: "/",
		Labels:     o.Labels,
	}
	return mutate.ConfigFile(img, file)
}

// WithLabel returns the image with one more label in its config, thus another id.
func WithLabel(img v1.Image, key, value string) (v1.Image, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("label image: %w", err)
	}
	file = file.DeepCopy()
	if file.Config.Labels == nil {
		file.Config.Labels = map[string]string{}
	}
	file.Config.Labels[key] = value
	return mutate.ConfigFile(img, file)
}

// checkStatic refuses a binary with an interpreter segment.
func checkStatic(binary string) error {
	file, err := elf.Open(binary)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return ErrNotStatic
		}
	}
	return nil
}

func binaryLayer(binary, target string) (v1.Layer, error) {
	body, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: path.Clean(target)[1:], Size: int64(len(body)),
		Mode: 0o555, ModTime: epoch, Format: tar.FormatUSTAR,
	}
	if err := archive.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := archive.Write(body); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil
	})
}

// WriteArchive writes the image under all the names to one docker-archive file,
// which `cluster load-image`, kind and containerd import.
func WriteArchive(file string, img v1.Image, names ...string) error {
	images := make(map[name.Reference]v1.Image, len(names))
	for _, text := range names {
		tag, err := name.NewTag(text)
		if err != nil {
			return fmt.Errorf("image name %q: %w", text, err)
		}
		images[tag] = img
	}
	if err := tarball.MultiRefWriteToFile(file, images); err != nil {
		return fmt.Errorf("write image archive %q: %w", file, err)
	}
	return nil
}

// Push sends the image to a registry under the name, with the credentials of
// the user's docker configuration, and returns the name with the digest.
func Push(ctx context.Context, img v1.Image, text string) (string, error) {
	tag, err := name.NewTag(text)
	if err != nil {
		return "", fmt.Errorf("image name %q: %w", text, err)
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("push image %q: %w", text, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("digest of image %q: %w", text, err)
	}
	return tag.Context().Digest(digest.String()).String(), nil
}
