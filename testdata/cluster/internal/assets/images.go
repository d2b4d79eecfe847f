package assets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/image"
)

// The images that every full cluster has.
const (
	PauseImage   = "registry.k8s.io/pause:3.10"
	BusyboxImage = "testbed.local/busybox:1"
)

// Images lists the archives of the images that were made.
func (b Builder) Images() []string {
	var files []string
	for _, name := range []string{"pause", "busybox"} {
		if file := b.State.Image(name); exists(file) {
			files = append(files, file)
		}
	}
	return files
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func (b Builder) makeImages(ctx context.Context) error {
	return errors.Join(b.makePause(), b.makeBusybox(ctx))
}

// newer reports whether file is there and not older than what it is made of.
func newer(file, source string) bool {
	f, err1 := os.Stat(file)
	s, err2 := os.Stat(source)
	return err1 == nil && err2 == nil && !f.ModTime().Before(s.ModTime())
}

func (b Builder) makePause() error {
	binary, file := b.State.Bin("pause"), b.State.Image("pause")
	if newer(file, binary) {
		return nil
	}
	body, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("make pause image: %w", err)
	}
	return image.Image{
		Reference:  PauseImage,
		Files:      []image.File{{Path: "pause", Mode: 0o755, Body: body}},
		Entrypoint: []string{"/pause"},
		User:       "65535:65535",
	}.Write(file)
}

// makeBusybox makes an image with a shell and the usual small programs, if
// there is a busybox to make it of.
func (b Builder) makeBusybox(ctx context.Context) error {
	binary, file := b.State.Bin("node/busybox"), b.State.Image("busybox")
	if !exists(binary) || newer(file, binary) {
		return nil
	}
	body, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("make busybox image: %w", err)
	}
	list, err := exec.CommandContext(ctx, binary, "--list").Output()
	if err != nil {
		return fmt.Errorf("make busybox image: list its programs: %w", err)
	}
	files := []image.File{
		{Path: "bin/", Mode: 0o755},
		{Path: "tmp/", Mode: 0o1777},
		{Path: "bin/busybox", Mode: 0o755, Body: body},
	}
	for _, name := range strings.Fields(string(list)) {
		if name != "busybox" {
			files = append(files, image.File{Path: "bin/" + name, Mode: 0o777, Link: "/bin/busybox"})
		}
	}
	return image.Image{
		Reference: BusyboxImage,
		Files:     files,
		Command:   []string{"/bin/sh"},
		Env:       []string{"PATH=/bin"},
	}.Write(file)
}
