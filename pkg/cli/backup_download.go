package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
)

type downloadFlags struct {
	bucketFlags
	output  string
	force   bool
	timeout time.Duration
}

func newBackupDownload(f *Factory, use string) *cobra.Command {
	o := &downloadFlags{}
	cmd := &cobra.Command{
		Use:   use + " NAME",
		Short: "Download the archive of a backup",
		Long: "Download the archive of a backup (.tar.gz), through a Job. What has come stands in FILE.partial until it is complete; " +
			"a transfer that breaks goes on where it was, also when the command is given again. " +
			"The whole is compared with the checksums that were stored with the backup.",
		Example: f.examples(`  %[1]s backup download shop

  %[1]s backup download shop -o /backups/shop.tar.gz --force`),
		Args: oneName("backup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.connect(f)
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), s, args[0])
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "Where to write it. Default: NAME-data.tar.gz in this folder.")
	cmd.Flags().BoolVar(&o.force, "force", false, "Replace the file if it exists.")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "How long the transfer may stand still.")
	o.bucketFlags.add(cmd.Flags())
	f.completeFirst(cmd, completeBackups)
	return cmd
}

func (o *downloadFlags) run(ctx context.Context, s *session, backup string) error {
	path := o.output
	if path == "" {
		path = backup + "-data.tar.gz"
	}
	if err := o.mayWrite(path); err != nil {
		return err
	}
	ctx, moved, stop := untilStalled(ctx, o.timeout)
	defer stop()
	r, err := s.openBackup(ctx, backup)
	if err != nil {
		return whyStopped(ctx, err)
	}
	defer s.closeBucket(ctx, r)
	progress := s.newTransferProgress(ctx, backup)
	d := &download{bucket: r, backup: backup, path: path, force: o.force, moved: moved, show: progress.show, tell: s.ErrOut}
	err = d.run(ctx)
	progress.end()
	if err != nil {
		return whyStopped(ctx, err)
	}
	fmt.Fprintf(s.Out, "Backup %s has been successfully downloaded to %s\n", backup, path)
	return nil
}

// whyStopped is why ctx ended, if that is the reason of err.
func whyStopped(ctx context.Context, err error) error {
	stalled := (*stalledError)(nil)
	if errors.As(context.Cause(ctx), &stalled) {
		return fmt.Errorf("read from the bucket: %w", stalled)
	}
	return err
}

func (o *downloadFlags) mayWrite(path string) error {
	if o.force {
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("file %q exists; hint: --force replaces it, --output names another", path)
	}
	return nil
}

// objectReader is what a download needs of a bucket.
type objectReader interface {
	Stat(ctx context.Context, key string) (reader.Info, error)
	GetPart(ctx context.Context, key string, part reader.Part) (*reader.Object, error)
}

// download is one transfer into a file.
type download struct {
	bucket objectReader
	backup string
	path   string
	force  bool
	moved  func()
	show   func(done, total int64)
	tell   io.Writer // notes for the person
}

// downloadAttempts bounds how often a transfer goes on without a byte that came.
const downloadAttempts = 5

// retryEvery is the first pause between attempts.
const retryEvery = 200 * time.Millisecond

func (d *download) run(ctx context.Context) error {
	key := backupKey(d.backup, archiveSuffix)
	info, err := d.bucket.Stat(ctx, key)
	if errors.Is(err, reader.ErrNotExist) {
		return fmt.Errorf("backup %q has no archive in the bucket", d.backup)
	}
	if err != nil {
		return err
	}
	p, err := openPartial(d.path, info)
	if err != nil {
		return err
	}
	if p.size > 0 {
		fmt.Fprintf(d.tell, "Going on at byte %d of %d\n", p.size, info.Size)
	}
	err = d.transfer(ctx, key, info, p)
	if err := errors.Join(err, p.Close()); err != nil {
		return d.left(p, err)
	}
	if err := d.compare(ctx, p); err != nil {
		return err
	}
	return p.finish(d.path, d.force)
}

// left says what a transfer that didn't end has left.
func (d *download) left(p *partial, err error) error {
	if p.size == 0 || p.info.ETag == "" {
		return errors.Join(err, p.remove())
	}
	return fmt.Errorf("download %q: %w; hint: the same command goes on with the %d of %d bytes that %s has",
		d.backup, err, p.size, p.info.Size, p.name)
}

// transfer fetches what is missing, and goes on where a connection broke.
func (d *download) transfer(ctx context.Context, key string, info reader.Info, p *partial) error {
	for failures := 0; p.size < info.Size; {
		n, err := d.fetch(ctx, key, info, p)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errChanged) || errors.Is(err, errDisk) || errors.Is(err, reader.ErrNotExist):
			return err
		case n > 0:
			failures = 0
			continue
		case err == nil:
			err = io.ErrUnexpectedEOF
		}
		if failures++; failures == downloadAttempts {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(failures) * retryEvery):
		}
	}
	return nil
}

var (
	errChanged = errors.New("the archive in the bucket was replaced during the transfer")
	errDisk    = errors.New("write")
)

// fetch takes what one request gives and returns how much that was.
func (d *download) fetch(ctx context.Context, key string, info reader.Info, p *partial) (n int64, err error) {
	object, err := d.bucket.GetPart(ctx, key, reader.Part{Offset: p.size, ETag: info.ETag})
	if err != nil {
		return 0, err
	}
	defer object.Close() // what was read is counted, and a break shows while reading
	if object.Offset != p.size {
		return 0, errChanged
	}
	moved := func() {
		d.moved()
		d.show(p.size, info.Size)
	}
	return io.Copy(p, movingReader{io.LimitReader(object, info.Size-p.size), moved})
}
