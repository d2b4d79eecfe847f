package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

type restoreDiff struct {
	restoreFlags
	showSecrets bool
	timeout     time.Duration
}

func newRestoreDiff(f *Factory, use string) *cobra.Command {
	o := &restoreDiff{}
	cmd := &cobra.Command{
		Use:   use + " --from-backup BACKUP",
		Short: "Show what a restore would change in the cluster",
		Long: "Show how the objects in the cluster differ from those in a backup, as a restore with these flags would write them: " +
			"with namespaces mapped, modifiers applied, and without what belongs to one life of an object. " +
			"Objects that only the cluster has stay, and are not shown; whether existing ones would be changed is for --existing-resource-policy to say. " +
			"A Job looks, with the rights of a restore; nothing is changed, and nothing remains." + filterHelp + "\n\n" +
			"$" + externalDiff + " names another program to show the differences, as for kubectl diff: it is called with two folders.\n\n" +
			"The exit code is 0 when nothing differs, 1 when something does, and greater than 1 for an error.",
		Example: f.examples(restoreDiffExamples),
		Args:    func(cmd *cobra.Command, args []string) error { return diffExit(cobra.NoArgs(cmd, args)) },
		RunE:    func(cmd *cobra.Command, _ []string) error { return diffExit(o.run(cmd.Context(), f)) },
	}
	fs := cmd.Flags()
	o.restoreFlags.add(fs)
	// They are taken so that the flags of a restore can be tried as they are.
	for _, idle := range []string{
		"existing-resource-policy", "labels", "annotations", "retry-for", "restore-resource-priorities",
		"item-operation-timeout", "write-sparse-files", "parallel-files-download",
	} {
		fs.Lookup(idle).Hidden = true
	}
	fs.BoolVar(&o.showSecrets, "show-secrets", false, "Show the data of Secrets that differ.")
	fs.DurationVar(&o.timeout, "timeout", time.Minute, "How long the Job may take to start, and how long it may then say nothing.")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return diffExit(err) })
	o.restoreFlags.complete(f, cmd)
	return cmd
}

const restoreDiffExamples = `  # What has changed since the backup, and would be put back
  %[1]s restore diff --from-backup shop

  # One object
  %[1]s restore diff --from-backup shop --include-objects shop/deploy/web

  # Side by side, in colour
  KUBECTL_EXTERNAL_DIFF="diff -y --color=always" %[1]s restore diff --from-backup shop --include-namespaces shop`

func (o *restoreDiff) run(ctx context.Context, f *Factory) (err error) {
	if err := o.restoreFlags.check(f); err != nil {
		return err
	}
	s, err := f.connect()
	if err != nil {
		return err
	}
	sink, err := newDiffSink(os.Getenv(externalDiff))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sink.close()) }()
	d := &differences{sink: sink, objects: comparison{normal: normalizer{status: true}, showSecrets: o.showSecrets}}
	restore := o.restore(f.Namespace(), o.defaultName(f.now()))
	end, err := o.try(ctx, s, trial{restore: restore, diff: true, start: o.timeout, silence: o.timeout, tell: d.add})
	if err != nil {
		return err
	}
	if err := sink.show(ctx, f.Out, f.ErrOut); err != nil {
		return err
	}
	d.summarize(f.ErrOut, restore.Spec.BackupName, end)
	if d.added+d.changed+len(d.unknown) > 0 {
		return &codedError{code: exitDiffers}
	}
	return nil
}

// differences are collected as the Job tells them.
type differences struct {
	sink    diffSink
	objects comparison
	// unknown are objects that differ or may, and can't be shown: each with the
	// reason.
	unknown        []string
	added, changed int
}

func (d *differences) add(item report.PreviewItem) error {
	key := objectKey{item.Resource, item.Namespace, item.Name}
	if len(item.Wanted) == 0 {
		switch item.Action {
		case report.PreviewUnchanged, report.PreviewSkip:
		default:
			d.unknown = append(d.unknown, fmt.Sprintf("%s can't be compared: %s", key, cmp.Or(remarks(item), string(item.Action))))
		}
		return nil
	}
	texts, err := d.objects.texts(key, [2][]byte{item.Live, item.Wanted})
	if err != nil {
		return err
	}
	if len(item.Live) == 0 {
		d.added++
	} else {
		d.changed++
	}
	return d.sink.add(key, texts)
}

// summarize counts, and tells what concerns the restore as a whole.
func (d *differences) summarize(w io.Writer, backup string, end report.PreviewEnd) {
	slices.Sort(d.unknown)
	for _, text := range slices.Concat(d.unknown, end.Warnings, end.Errors) {
		fmt.Fprintln(w, asText("warning: "+text))
	}
	text := fmt.Sprintf("From the cluster to a restore of backup %q: %d added, %d changed, %d the same",
		backup, d.added, d.changed, end.Counts[report.PreviewUnchanged])
	if n := len(d.unknown); n > 0 {
		text += fmt.Sprintf(", %d that can't be compared", n)
	}
	fmt.Fprintln(w, text)
}
