package backup

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
)

// upload streams the archive into the bucket. When either side fails the other
// is stopped, and no archive is left.
func (o *operation) upload(ctx context.Context) error {
	reader, writer := io.Pipe()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := o.catalog.PutArchive(ctx, o.backup.Name, reader)
		reader.CloseWithError(err) // lets a blocked writer go
		return err
	})
	group.Go(func() error {
		err := o.writeArchive(ctx, writer)
		writer.CloseWithError(err) // nil is the regular end
		return err
	})
	return group.Wait()
}

func (o *operation) writeArchive(ctx context.Context, out io.Writer) error {
	w, err := archive.NewWriter(out, o.backup.Status.StartTimestamp.Time)
	if err != nil {
		return err
	}
	c := &collector{operation: o, plan: o.planned, archive: w, needs: newNeeds()}
	if err := c.collect(ctx); err != nil {
		w.Abort()
		return err
	}
	if o.index, err = w.Close(); err != nil {
		return err
	}
	o.Log.Info("archive written", "items", o.report.Items(), "bytes", o.index.Size)
	return nil
}

// sideFiles are the objects beside the archive, in the form that Velero reads;
// it wants each of its own to be there even when it is empty.
func (o *operation) sideFiles() map[catalog.BackupFileKind]any {
	return map[catalog.BackupFileKind]any{
		catalog.Results:          o.report.Results(),
		catalog.VolumeInfo:       o.volumes.infos(),
		catalog.ItemOperations:   o.itemOperations(),
		catalog.VolumeSnapshots:  o.volumes.disks(),
		catalog.PodVolumeBackups: nil,
		catalog.Index:            o.index,
		catalog.Coverage:         coverage(o.planned.kinds),
	}
}

// putSideFiles stores all of them at once.
func (o *operation) putSideFiles(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for kind, content := range o.sideFiles() {
		group.Go(func() error {
			if err := o.catalog.PutJSON(ctx, catalog.BackupFile(o.backup.Name, kind), content); err != nil {
				return fmt.Errorf("store %s: %w", kind, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		err := o.catalog.WriteGzip(ctx, catalog.BackupFile(o.backup.Name, catalog.ResourceList), o.report.WriteResourceList)
		if err != nil {
			return fmt.Errorf("store %s: %w", catalog.ResourceList, err)
		}
		return nil
	})
	return group.Wait()
}

// putLog stores the log as it is now.
func (o *operation) putLog(ctx context.Context) error {
	text, err := o.LogText()
	if err != nil {
		return err
	}
	return o.catalog.PutCompressed(ctx, catalog.BackupFile(o.backup.Name, catalog.Logs), text)
}
