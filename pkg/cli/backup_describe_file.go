package cli

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/describe"
)

// describeArchive describes an archive on disk. No cluster is asked, so this
// works where none is left.
func (f *Factory) describeArchive(ctx context.Context, path string, o *describeFlags) error {
	if err := checkDescribeFormat(o.format); err != nil {
		return err
	}
	source, err := f.openArchiveFile(path)
	if err != nil {
		return err
	}
	defer source.Close(ctx)
	d := describe.Archive{File: path}
	if d.Bytes, d.FormatVersion, err = peek(path); err != nil {
		return fmt.Errorf("read %s: %w", source.what, err)
	}
	if err := countObjects(ctx, source, &d, o.details); err != nil {
		return err
	}
	if o.format == "json" {
		return d.WriteJSON(f.Out)
	}
	return d.Write(f.Out)
}

// peek reads the size of an archive and the version of the format, which its
// first entry holds.
func peek(path string) (bytes int64, version string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return 0, "", err
	}
	plain, err := gzip.NewReader(file)
	if err != nil {
		return 0, "", fmt.Errorf("unpack: %w; hint: an archive is a .tar.gz, as `backup download` writes it", err)
	}
	entries := tar.NewReader(plain)
	first, err := entries.Next()
	if errors.Is(err, io.EOF) || err == nil && first.Name != "metadata/version" {
		return info.Size(), "", nil
	}
	if err != nil {
		return 0, "", err
	}
	const maxVersion = 64
	text, err := io.ReadAll(io.LimitReader(entries, maxVersion))
	return info.Size(), strings.TrimSpace(string(text)), err
}

// countObjects goes through the whole archive once.
func countObjects(ctx context.Context, source *archiveSource, d *describe.Archive, names bool) error {
	type version struct{ resource, apiVersion string }
	kinds := map[version]*describe.ArchiveKind{}
	if names {
		d.ResourceList = map[string][]string{}
	}
	err := source.each(ctx, objectQuery{}, func(item archive.Item, id identity) error {
		key := version{item.Resource.String(), id.APIVersion}
		if kinds[key] == nil {
			kinds[key] = &describe.ArchiveKind{Resource: key.resource, APIVersion: key.apiVersion}
		}
		kinds[key].Objects++
		kinds[key].Bytes += int64(len(item.Body))
		if names {
			listed := id.APIVersion + "/" + id.Kind
			d.ResourceList[listed] = append(d.ResourceList[listed], place(item))
		}
		return nil
	})
	for _, k := range kinds {
		d.Kinds = append(d.Kinds, *k)
	}
	for _, list := range d.ResourceList {
		slices.Sort(list)
	}
	return err
}

// place is how a resource list names an object.
func place(item archive.Item) string {
	if item.Namespace == "" {
		return item.Name
	}
	return item.Namespace + "/" + item.Name
}
