package saved

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// contents are the VolumeSnapshotContents of an archive, which have the handles.
var contents = schema.GroupResource{Group: snapshotv1.GroupName, Resource: "volumesnapshotcontents"}

// addContent notes the snapshot of a content; one without a handle has none.
func (r *reader) addContent(content *snapshotv1.VolumeSnapshotContent) error {
	if content.Status == nil || content.Status.SnapshotHandle == nil || *content.Status.SnapshotHandle == "" {
		return nil
	}
	handle, err := csi.HandleOf(content)
	if err != nil {
		return fmt.Errorf("look for volume data: %w", err)
	}
	r.add(CSI{Handle: handle, Content: content.Name})
	return nil
}

// readContentsFile reads what Velero up to 1.16 wrote beside the archive.
func (r *reader) readContentsFile(ctx context.Context) error {
	var list []snapshotv1.VolumeSnapshotContent
	if _, err := r.decode(ctx, catalog.CSISnapshotContents, &list); err != nil {
		return err
	}
	for i := range list {
		if err := r.addContent(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// readArchive reads the contents in the archive that are labelled as this backup's.
// Where the resource list says that there are none, it isn't opened.
func (r *reader) readArchive(ctx context.Context) error {
	listed, known, err := r.listedContents(ctx)
	if err != nil || known && len(listed) == 0 {
		return err
	}
	parts, err := r.parts(ctx)
	for i := 0; err == nil && i < len(parts); i++ {
		err = r.readPart(ctx, parts[i])
	}
	if errors.Is(err, store.ErrNotExist) {
		r.missing = listed
		return nil
	}
	return err
}

// listedContents are the names of the contents in the archive by its resource list;
// known is false when there is none.
func (r *reader) listedContents(ctx context.Context) (names []string, known bool, err error) {
	var list map[string][]string
	if known, err = r.decode(ctx, catalog.ResourceList, &list); err != nil {
		return nil, false, err
	}
	for kind, objects := range list {
		if strings.HasPrefix(kind, snapshotv1.GroupName+"/") && strings.HasSuffix(kind, "/VolumeSnapshotContent") {
			names = append(names, objects...)
		}
	}
	slices.Sort(names)
	return names, known, nil
}

// whole is the range of an archive without an index.
var whole = archive.Range{Length: -1}

// parts are the parts of the archive that hold contents.
func (r *reader) parts(ctx context.Context) ([]archive.Range, error) {
	body, err := r.catalog.Open(ctx, catalog.BackupFile(r.backup, catalog.Index))
	if errors.Is(err, store.ErrNotExist) {
		return []archive.Range{whole}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for volume data: %w", err)
	}
	defer body.Close()
	index, err := archive.ReadIndex(body)
	if err != nil {
		return nil, fmt.Errorf("look for volume data: %w", err)
	}
	return index.Select(func(m archive.Member) bool { return m.Preferred && m.Resource == contents.String() }), nil
}

func (r *reader) readPart(ctx context.Context, part archive.Range) error {
	open, read := r.catalog.OpenArchive, archive.NewReader
	if part != whole {
		read = archive.NewPartReader
		open = func(ctx context.Context, backup string) (io.ReadCloser, error) {
			return r.catalog.OpenArchivePart(ctx, backup, part.Offset, part.Length)
		}
	}
	body, err := open(ctx, r.backup)
	if err != nil {
		return fmt.Errorf("look for volume data: %w", err)
	}
	defer body.Close()
	items, err := read(body)
	if err == nil {
		err = r.readItems(items)
	}
	if err != nil {
		return fmt.Errorf("look for volume data in the archive of backup %q: %w", r.backup, err)
	}
	return nil
}

// readItems reads the contents among the objects of an archive. What can't be an
// entry of an archive isn't a content.
func (r *reader) readItems(items *archive.Reader) error {
	for {
		item, err := items.NextWhere(func(item archive.Item) bool { return item.Resource == contents && item.Version == "" })
		var odd *archive.ItemError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &odd):
			continue
		case err != nil:
			return err
		}
		var content snapshotv1.VolumeSnapshotContent
		if err := json.Unmarshal(item.Body, &content); err != nil {
			return fmt.Errorf("decode VolumeSnapshotContent %q: %w", item.Name, err)
		}
		if content.Labels[velerov1.BackupNameLabel] != velerov1.ValidName(r.backup) {
			continue
		}
		if err := r.addContent(&content); err != nil {
			return err
		}
	}
}
