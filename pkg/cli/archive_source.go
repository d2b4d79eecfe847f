package cli

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
)

// archiveFlags say where the archive of a backup is.
type archiveFlags struct {
	bucketFlags
	file    string
	timeout time.Duration
}

func (a *archiveFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&a.file, "file", "", "Read this archive (.tar.gz) on disk instead of a backup; no cluster is asked for anything.")
	fs.DurationVar(&a.timeout, "timeout", time.Minute, "How long reading from the bucket may take.")
	a.bucketFlags.add(fs)
	_ = cmd.MarkFlagFilename("file", "tar.gz") // fails only for a flag that isn't there
}

// completeFirst completes the first argument only.
func (f *Factory) completeFirst(cmd *cobra.Command, list candidates) {
	complete := f.completion(list)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, word)
	}
}

// bounded limits reading from the bucket; a file has all the time it takes.
func (a *archiveFlags) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.file != "" || a.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.timeout)
}

// The endings of the names of a backup's objects in a bucket.
const (
	archiveSuffix      = ".tar.gz"
	indexSuffix        = "-index.json.gz"
	resourceListSuffix = "-resource-list.json.gz"
	checksumsSuffix    = "-checksums.json"
)

// backupFolder is where the objects of a backup are in its bucket.
func backupFolder(backup string) string { return "backups/" + backup + "/" }

// backupKey is the key of one of them.
func backupKey(backup, suffix string) string { return backupFolder(backup) + backup + suffix }

// archiveSource is the archive of one backup, in a bucket or on disk. It must be
// closed. It is not safe for concurrent use.
type archiveSource struct {
	// what is how messages call it, such as `backup "shop"`.
	what string
	// index is nil where there is none: then the archive is read from its beginning.
	index *archive.Index
	// seen are the resources that were met while reading without an index.
	seen map[string]bool

	warn func(format string, args ...any)
	// read opens a part of the archive, or all of it for the zero Range.
	read func(ctx context.Context, part archive.Range) (io.ReadCloser, error)
	// side opens the object whose name ends in suffix, as it is stored;
	// fs.ErrNotExist when there is none.
	side  func(ctx context.Context, suffix string) (io.ReadCloser, error)
	close func(ctx context.Context)
}

// openArchive opens the archive of the backup, or the file that flags name,
// which takes no cluster. ctx must live as long as the source. The first reads
// take some seconds: a Job serves them.
func (f *Factory) openArchive(ctx context.Context, flags *archiveFlags, backup string) (*archiveSource, error) {
	if flags.file != "" {
		return f.openArchiveFile(flags.file)
	}
	s, err := flags.connect(f)
	if err != nil {
		return nil, err
	}
	return s.openBackupArchive(ctx, backup)
}

// openArchiveFile is the archive in a file.
func (f *Factory) openArchiveFile(path string) (*archiveSource, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open the archive: %q is no file", path)
	}
	return &archiveSource{
		what: fmt.Sprintf("file %q", path), seen: map[string]bool{}, warn: f.warn,
		read: func(context.Context, archive.Range) (io.ReadCloser, error) {
			file, err := os.Open(path)
			if err != nil {
				return nil, fmt.Errorf("open the archive: %w", err)
			}
			return file, nil
		},
		side:  func(context.Context, string) (io.ReadCloser, error) { return nil, fs.ErrNotExist },
		close: func(context.Context) {},
	}, nil
}

// openBackupArchive is the archive of a backup, through a Job.
func (s *session) openBackupArchive(ctx context.Context, backup string) (*archiveSource, error) {
	r, err := s.openBackup(ctx, backup)
	if err != nil {
		return nil, err
	}
	source := s.bucketArchive(r, backup)
	if source.index, err = source.readIndex(ctx); err != nil {
		s.warn("%s: %v; the archive is read from its beginning", source.what, err)
	}
	return source, nil
}

// openBackup connects to the bucket for the objects of a backup.
func (s *session) openBackup(ctx context.Context, backup string) (*reader.Reader, error) {
	b, err := s.velero.Backups(s.namespace).Get(ctx, backup, metav1.GetOptions{})
	if err != nil {
		return nil, s.notFound(backupNoun, backup, err)
	}
	return s.openBucket(ctx, b.Spec.StorageLocation, backup, backupFolder(backup))
}

func (s *session) bucketArchive(r *reader.Reader, backup string) *archiveSource {
	return &archiveSource{
		what: fmt.Sprintf("backup %q", backup), seen: map[string]bool{}, warn: s.warn,
		read: func(ctx context.Context, part archive.Range) (io.ReadCloser, error) {
			object, err := r.GetPart(ctx, backupKey(backup, archiveSuffix), reader.Part{Offset: part.Offset, Length: part.Length})
			if errors.Is(err, reader.ErrNotExist) {
				return nil, fmt.Errorf("backup %q has no archive in the bucket; hint: `%s backup describe %s` has the reason", backup, s.name, backup)
			}
			return object, err
		},
		side: func(ctx context.Context, suffix string) (io.ReadCloser, error) {
			body, err := r.Get(ctx, backupKey(backup, suffix))
			if errors.Is(err, reader.ErrNotExist) {
				return nil, fs.ErrNotExist
			}
			return body, err
		},
		close: func(ctx context.Context) { s.closeBucket(ctx, r) },
	}
}

// readIndex reads the index; nil without an error where there is none, as in
// backups of Velero.
func (a *archiveSource) readIndex(ctx context.Context) (index *archive.Index, err error) {
	err = a.gunzip(ctx, indexSuffix, func(plain io.Reader) error {
		index, err = archive.ReadIndex(plain)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return index, err
}

// gunzip hands the plain content of a gzipped side file to use; fs.ErrNotExist
// when there is none.
func (a *archiveSource) gunzip(ctx context.Context, suffix string, use func(io.Reader) error) (err error) {
	body, err := a.side(ctx, suffix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	plain, err := gzip.NewReader(body)
	if err != nil {
		return fmt.Errorf("unpack %q: %w", suffix, err)
	}
	return use(plain)
}

// Close ends the Job that served the archive, if there was one.
func (a *archiveSource) Close(ctx context.Context) { a.close(ctx) }
