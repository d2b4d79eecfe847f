package image_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/image"
)

func TestBuild(t *testing.T) {
	t.Parallel()
	img := build(t)
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Entrypoint: []string{"/app", "hello"}, User: "65532", WorkingDir: "/",
		Labels: map[string]string{"org.opencontainers.image.title": "app"},
	}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if file.OS != "linux" || file.Architecture != runtime.GOARCH {
		t.Errorf("platform %s/%s", file.OS, file.Architecture)
	}
	if diff := cmp.Diff([]string{"app 555"}, entries(t, img)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	t.Parallel()
	first, err := build(t).Digest()
	if err != nil {
		t.Fatal(err)
	}
	second, err := build(t).Digest()
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Errorf("two builds differ: %s and %s", first, second)
	}
}

func TestWithLabel(t *testing.T) {
	t.Parallel()
	img := build(t)
	labelled, err := image.WithLabel(img, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	file, err := labelled.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"org.opencontainers.image.title": "app", "a": "b"}
	if diff := cmp.Diff(want, file.Config.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	before, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	after, err := labelled.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if before == after {
		t.Error("the same id")
	}
}

func TestBuildRefusesDynamicBinary(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.Build(image.Options{Binary: shell, Path: "/sh"}); !errors.Is(err, image.ErrNotStatic) {
		t.Errorf("error %v, want %v", err, image.ErrNotStatic)
	}
}

func TestWriteArchive(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "app.tar")
	names := []string{"localhost/app:demo", "registry.example.com/app:1"}
	if err := image.WriteArchive(file, build(t), names...); err != nil {
		t.Fatal(err)
	}
	for _, text := range names {
		tag, err := name.NewTag(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tarball.ImageFromPath(file, &tag); err != nil {
			t.Errorf("image %q: %v", text, err)
		}
	}
}

func TestPush(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	tag := strings.TrimPrefix(server.URL, "http://") + "/app:demo"
	pushed, err := image.Push(t.Context(), build(t), tag)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(pushed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Get(ref); err != nil {
		t.Errorf("pull %q: %v", pushed, err)
	}
}

func TestPushSaysWhere(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := image.Push(ctx, build(t), "localhost:1/app:demo")
	if err == nil || !strings.HasPrefix(err.Error(), `push image "localhost:1/app:demo": `) {
		t.Errorf("error %v", err)
	}
}

func build(t *testing.T) v1.Image {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "app")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "../app")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	img, err := image.Build(image.Options{
		Binary: binary, Path: "/app", Args: []string{"hello"}, User: "65532",
		Architecture: runtime.GOARCH,
		Labels:       map[string]string{"org.opencontainers.image.title": "app"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func entries(t *testing.T, img v1.Image) []string {
	t.Helper()
	body := mutate.Extract(img)
	defer func() { _ = body.Close() }()
	var names []string
	for reader := tar.NewReader(body); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %o", header.Name, header.Mode))
	}
}
