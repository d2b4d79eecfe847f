package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/distribution/reference"
)

// FullName writes a reference out as container engines do: registry, folder
// and tag are filled in where they are left out.
func FullName(name string) (string, error) {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return "", fmt.Errorf("image reference %q: %w", name, err)
	}
	return named.String(), nil
}

// Names lists the full references that an image archive (of `docker save`, or
// an OCI layout) gives its images.
func Names(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read image archive: %w", err)
	}
	defer f.Close()
	names, err := readNames(f)
	if err != nil {
		return nil, fmt.Errorf("read image archive %s: %w", file, err)
	}
	for i, name := range names {
		if names[i], err = FullName(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func readNames(r io.Reader) ([]string, error) {
	var fromIndex []string
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch path.Clean(header.Name) {
		case "manifest.json":
			return namesInManifest(archive)
		case "index.json":
			if fromIndex, err = namesInIndex(archive); err != nil {
				return nil, err
			}
		}
	}
	if len(fromIndex) == 0 {
		return nil, errors.New("it names no image")
	}
	return fromIndex, nil
}

func namesInManifest(r io.Reader) ([]string, error) {
	var images []archiveManifest
	if err := json.NewDecoder(r).Decode(&images); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	var names []string
	for _, i := range images {
		names = append(names, i.RepoTags...)
	}
	if len(names) == 0 {
		return nil, errors.New("manifest.json has no RepoTags")
	}
	return names, nil
}

func namesInIndex(r io.Reader) ([]string, error) {
	var index struct {
		Manifests []struct{ Annotations map[string]string }
	}
	if err := json.NewDecoder(r).Decode(&index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	var names []string
	for _, m := range index.Manifests {
		if name := m.Annotations["io.containerd.image.name"]; name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}
