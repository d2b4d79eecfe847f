// Package image writes and reads image archives in the form of `docker save`,
// which needs no registry and no container engine.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// File is one entry of an image's only layer. Its path has no leading slash; a
// path that ends in a slash is a folder.
type File struct {
	Path string
	Mode int64
	Link string // a symbolic link to this, if not empty
	Body []byte
}

// Image is an image of one layer. The same content gives the same archive.
type Image struct {
	Reference  string // full, such as registry.k8s.io/pause:3.10
	Files      []File // folders before what is in them
	Entrypoint []string
	Command    []string
	Env        []string
	User       string // empty is root
}

// Write writes the archive to path in one step.
func (i Image) Write(path string) error {
	archive, err := i.archive()
	if err != nil {
		return fmt.Errorf("write image %s: %w", i.Reference, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write image %s: %w", i.Reference, err)
	}
	if err := os.WriteFile(path+".new", archive, 0o644); err != nil {
		return fmt.Errorf("write image %s: %w", i.Reference, err)
	}
	return os.Rename(path+".new", path)
}

func (i Image) archive() ([]byte, error) {
	layer, err := pack(i.Files)
	if err != nil {
		return nil, err
	}
	config, err := i.config(digest(layer))
	if err != nil {
		return nil, err
	}
	configName := digest(config) + ".json"
	manifest, err := json.Marshal([]archiveManifest{{
		Config: configName, RepoTags: []string{i.Reference}, Layers: []string{"layer.tar"},
	}})
	if err != nil {
		return nil, err
	}
	return pack([]File{
		{Path: "manifest.json", Mode: 0o644, Body: manifest},
		{Path: configName, Mode: 0o644, Body: config},
		{Path: "layer.tar", Mode: 0o644, Body: layer},
	})
}

// archiveManifest is an entry of manifest.json.
type archiveManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (i Image) config(layerDigest string) ([]byte, error) {
	type runConfig struct {
		Entrypoint []string `json:",omitempty"`
		Cmd        []string `json:",omitempty"`
		Env        []string `json:",omitempty"`
		User       string   `json:",omitempty"`
	}
	return json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       runConfig{i.Entrypoint, i.Command, i.Env, i.User},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layerDigest}},
	})
}

func pack(files []File) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.Path, Mode: f.Mode, Size: int64(len(f.Body)), Typeflag: tar.TypeReg}
		switch {
		case f.Link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
		case f.Path[len(f.Path)-1] == '/':
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Body); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
