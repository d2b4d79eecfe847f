package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// pass reads the archive once and calls visit for each object, one after the
// other. An entry that is no object of an archive is reported, once in all
// passes, and left out; any other error is the end.
func (o *operation) pass(ctx context.Context, purpose string, visit func(archive.Item) error) error {
	o.passes++
	begin := time.Now()
	body, err := o.source.open(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	reader, err := archive.NewReader(body)
	if err != nil {
		return fmt.Errorf("archive of backup %q: %w", o.source.backup.Name, err)
	}
	entries := 0
	for {
		item, err := reader.Next()
		var bad *archive.ItemError
		switch {
		case errors.Is(err, io.EOF):
			o.Log.Info("pass over the archive done", "pass", o.passes, "purpose", purpose, "entries", entries, "duration", time.Since(begin).Round(time.Millisecond))
			return nil
		case errors.As(err, &bad):
			o.reportEntry(bad)
		case err != nil:
			return fmt.Errorf("archive of backup %q: %w", o.source.backup.Name, err)
		default:
			entries++
			if err := visit(item); err != nil {
				return err
			}
		}
	}
}

// maxBadEntries bounds how many bad entries are reported: an archive that has
// more is no archive.
const maxBadEntries = 1000

func (o *operation) reportEntry(bad *archive.ItemError) {
	if o.badEntries[bad.Path] || len(o.badEntries) >= maxBadEntries {
		return
	}
	o.badEntries[bad.Path] = true
	o.report.Add(report.Error, ref.Object{}, bad)
	o.Log.Error("entry of the archive left out", "error", bad)
}

// parallelPass is pass with visit called by as many workers as there are. No
// more objects are in memory than workers.
func (o *operation) parallelPass(ctx context.Context, purpose string, choose func(archive.Item) bool, visit func(context.Context, archive.Item)) error {
	workers := &errgroup.Group{}
	workers.SetLimit(o.Workers)
	err := o.pass(ctx, purpose, func(item archive.Item) error {
		if !choose(item) {
			return ctx.Err()
		}
		workers.Go(func() error { visit(ctx, item); return nil })
		if !o.queue.full() {
			return ctx.Err()
		}
		if err := workers.Wait(); err != nil {
			return err
		}
		return o.drain(ctx)
	})
	if waitErr := workers.Wait(); err == nil {
		err = waitErr
	}
	return errors.Join(err, ctx.Err())
}
