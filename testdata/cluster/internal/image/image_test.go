package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testImage() Image {
	return Image{
		Reference: "testbed.local/x:1",
		Files: []File{
			{Path: "bin/", Mode: 0o755},
			{Path: "bin/x", Mode: 0o755, Body: []byte("binary")},
			{Path: "bin/y", Mode: 0o777, Link: "/bin/x"},
		},
		Entrypoint: []string{"/bin/x"},
	}
}

func TestWriteAndNames(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "images", "x.tar")
	if err := testImage().Write(file); err != nil {
		t.Fatal(err)
	}
	names, err := Names(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"testbed.local/x:1"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := testImage().archive()
	if err != nil {
		t.Fatal(err)
	}
	if first, err := os.ReadFile(file); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the same image makes different archives (%v)", err)
	}
}

func TestLayer(t *testing.T) {
	t.Parallel()
	layer, err := pack(testImage().Files)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(h.Typeflag)+h.Name+h.Linkname)
	}
	if diff := cmp.Diff([]string{"5bin/", "0bin/x", "2bin/y/bin/x"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNamesOfOthers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files []File
		want  []string
		fails string
	}{
		"docker save": {[]File{{Path: "manifest.json", Body: []byte(`[{"RepoTags":["busybox:1"]}]`)}}, []string{"docker.io/library/busybox:1"}, ""},
		"OCI layout": {[]File{{Path: "./index.json", Body: []byte(
			`{"manifests":[{"annotations":{"io.containerd.image.name":"ghcr.io/a/b:2"}}]}`)}}, []string{"ghcr.io/a/b:2"}, ""},
		"both":        {[]File{{Path: "index.json", Body: []byte(`{}`)}, {Path: "manifest.json", Body: []byte(`[{"RepoTags":["a/b:1"]}]`)}}, []string{"docker.io/a/b:1"}, ""},
		"no name":     {[]File{{Path: "manifest.json", Body: []byte(`[{}]`)}}, nil, "no RepoTags"},
		"no image":    {[]File{{Path: "readme", Body: []byte("x")}}, nil, "names no image"},
		"broken JSON": {[]File{{Path: "manifest.json", Body: []byte(`[`)}}, nil, "manifest.json"},
		"bad name":    {[]File{{Path: "manifest.json", Body: []byte(`[{"RepoTags":["A B"]}]`)}}, nil, `image reference "A B"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			archive, err := pack(test.files)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "x.tar")
			if err := os.WriteFile(file, archive, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Names(file)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got %v, %v, want an error with %q", got, err, test.fails)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestFullName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"busybox":                   "docker.io/library/busybox:latest",
		"a/b:1":                     "docker.io/a/b:1",
		"registry.k8s.io/pause:3.1": "registry.k8s.io/pause:3.1",
		"localhost:5000/x":          "localhost:5000/x:latest",
	} {
		if got, err := FullName(in); err != nil || got != want {
			t.Errorf("FullName(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}
