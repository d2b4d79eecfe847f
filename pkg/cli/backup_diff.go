package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

type diffFlags struct {
	bucketFlags
	files       []string
	live        bool
	showStatus  bool
	showSecrets bool
	timeout     time.Duration
}

func newBackupDiff(f *Factory, use string) *cobra.Command {
	o := &diffFlags{}
	cmd := &cobra.Command{
		Use:   use + " A [B]",
		Short: "Show how two backups, or a backup and the cluster, differ",
		Long: "Show what was added, removed and changed from backup A to backup B, or with --live to the cluster as it is now. " +
			"Files given with --file come after the names.\n\n" +
			"Not compared is what differs always: metadata.resourceVersion, uid, generation, creationTimestamp, selfLink and managedFields, the uid in ownerReferences, " +
			"the labels velero.io/backup-name and velero.io/restore-name, and status unless --show-status.\n\n" +
			"With --live, the kinds that are in the backup are compared. Objects that only the cluster has are told for the namespaces of the backup, " +
			"and for the whole cluster if the backup was one of all namespaces.\n\n" +
			"The exit code is 0 when nothing differs, 1 when something does, and greater than 1 for an error.",
		Example: f.examples(`  %[1]s backup diff nightly-20260101010000 nightly-20260102010000

  # What has changed since
  %[1]s backup diff shop --live

  # Two archives on disk, without a cluster
  %[1]s backup diff --file old.tar.gz --file new.tar.gz`),
		Args: func(cmd *cobra.Command, args []string) error { return diffExit(o.sides(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error { return diffExit(o.run(cmd.Context(), f, args)) },
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&o.files, "file", nil, "An archive (.tar.gz) on disk in place of a backup. May be given twice.")
	fs.BoolVar(&o.live, "live", false, "Compare with the cluster.")
	fs.BoolVar(&o.showStatus, "show-status", false, "Compare the status of objects, too.")
	fs.BoolVar(&o.showSecrets, "show-secrets", false, "Show the data of Secrets that differ.")
	fs.DurationVar(&o.timeout, "timeout", time.Minute, "How long reading may stand still.")
	o.bucketFlags.add(fs)
	_ = cmd.MarkFlagFilename("file", "tar.gz") // fails only for a flag that isn't there
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return diffExit(err) })
	f.completeArgs(cmd, completeBackups)
	return cmd
}

func (o *diffFlags) sides(cmd *cobra.Command, args []string) error {
	want := 2
	if o.live {
		want = 1
	}
	if len(args)+len(o.files) != want {
		return fmt.Errorf("diff takes two backups or files, or one and --live; hint: %s", cmd.UseLine())
	}
	return nil
}

func (o *diffFlags) run(ctx context.Context, f *Factory, names []string) error {
	ctx, moved, stop := untilStalled(ctx, o.timeout)
	defer stop()
	d := &comparison{f: f, moved: moved, normal: normalizer{status: o.showStatus}, showSecrets: o.showSecrets}
	err := o.compare(ctx, f, names, d)
	if err == nil && d.differs() {
		return &codedError{code: exitDiffers}
	}
	return whyStopped(ctx, err)
}

func (o *diffFlags) compare(ctx context.Context, f *Factory, names []string, d *comparison) (err error) {
	a, err := o.open(ctx, f, names, 0)
	if err != nil {
		return err
	}
	defer a.Close(ctx)
	left := archiveSide{a}
	if o.live {
		return d.live(ctx, left, names)
	}
	b, err := o.open(ctx, f, names, 1)
	if err != nil {
		return err
	}
	defer b.Close(ctx)
	return d.run(ctx, left, archiveSide{b})
}

// open opens the n-th side: names come before files.
func (o *diffFlags) open(ctx context.Context, f *Factory, names []string, n int) (*archiveSource, error) {
	if n >= len(names) {
		return f.openArchiveFile(o.files[n-len(names)])
	}
	return f.openArchive(ctx, &archiveFlags{bucketFlags: o.bucketFlags}, names[n])
}

// live compares with the cluster.
func (d *comparison) live(ctx context.Context, left archiveSide, names []string) error {
	s, err := d.f.connect()
	if err != nil {
		return err
	}
	right, err := s.newLiveSide(ctx, names)
	if err != nil {
		return err
	}
	d.onLeft = right.expect
	return d.run(ctx, left, right)
}

// errNotServed means that the cluster doesn't have a kind.
var errNotServed = errors.New("the cluster doesn't serve it")
