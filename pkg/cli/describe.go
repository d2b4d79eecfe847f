package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/describe"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// describeFlags choose what is described and how much of it.
type describeFlags struct {
	bucketFlags
	selector string
	details  bool
	format   string
	timeout  time.Duration
}

func newDescribe(f *Factory, n noun, use, example string, list candidates, run func(context.Context, *session, []string, *describeFlags) error) *cobra.Command {
	o := &describeFlags{}
	cmd := &cobra.Command{
		Use:     use + " [NAMES]",
		Short:   fmt.Sprintf("Show all that is known of %ss", n.word),
		Example: f.examples(example),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && o.selector != "" {
				return fmt.Errorf("names and --selector can't be used together")
			}
			s, err := o.connect(f)
			if err != nil {
				return err
			}
			return run(cmd.Context(), s, args, o)
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.selector, "selector", "l", "", "Describe only what matches this label selector.")
	fs.BoolVar(&o.details, "details", false, "Also list every object and what became of each kind; this reads from the bucket, through a Job.")
	fs.DurationVar(&o.timeout, "timeout", time.Minute, "How long reading from the bucket may take.")
	o.bucketFlags.add(fs)
	f.completeArgs(cmd, list)
	return cmd
}

// plaintext is the output format of a description for people.
const plaintext = "plaintext"

// standing is what is worth saying beside the record.
func standing(state launch.State, v launch.Verdict) describe.Standing {
	out := describe.Standing{Cause: v.Cause, Reasons: reasonsOf(state, v)}
	if state.Job != nil {
		out.Job = state.Job.Name
	}
	return out
}

// folder is where in a bucket the objects of one backup or restore are.
type folder struct{ location, name, prefix string }

// restoreFolder is where the objects of a restore are in its backup's bucket.
func restoreFolder(restore string) string { return "restores/" + restore + "/" }

// restoreKey is the key of one of them.
func restoreKey(restore, suffix string) string {
	return restoreFolder(restore) + "restore-" + restore + suffix
}

// wanted is an object in the bucket that goes into a description.
type wanted struct {
	read func(context.Context, getter) error
	// tell notes why it couldn't be read.
	tell func(error)
}

// into reads the gzipped JSON object below key into to. One that isn't there is
// told as missing: backups of early versions don't have all, and Velero's own
// don't have ours.
func into[T any](to *describe.Fetched[T], key string) wanted {
	return wanted{
		read: func(ctx context.Context, r getter) (err error) {
			to.Value, err = readGzipJSON[T](ctx, r, key)
			return err
		},
		tell: func(err error) {
			if to.Missing = errors.Is(err, reader.ErrNotExist); !to.Missing {
				to.Err = err
			}
		},
	}
}

// fetch reads what a description wants. What can't be read becomes part of the
// description.
func (s *session) fetch(ctx context.Context, from folder, timeout time.Duration, all []wanted) {
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := s.openBucket(ctx, from.location, from.name, from.prefix)
	if err != nil {
		for _, w := range all {
			w.tell(err)
		}
		return
	}
	defer s.closeBucket(ctx, r)
	readAll(ctx, r, all)
}

func readAll(ctx context.Context, r getter, all []wanted) {
	for _, w := range all {
		if err := w.read(ctx, r); err != nil {
			w.tell(err)
		}
	}
}

func (s *session) closeBucket(ctx context.Context, r *reader.Reader) {
	if err := r.Close(ctx); err != nil {
		s.warn("%v", err)
	}
}
