package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/describe"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// describeFlags choose what is described and how much of it.
type describeFlags struct {
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
			s, err := f.connect()
			if err != nil {
				return err
			}
			return run(cmd.Context(), s, args, o)
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.selector, "selector", "l", "", "Describe only what matches this label selector.")
	fs.BoolVar(&o.details, "details", false, "Also list every object; this reads from the bucket, through a Job.")
	fs.DurationVar(&o.timeout, "timeout", time.Minute, "How long reading from the bucket may take.")
	addBucketFlags(fs)
	f.completeArgs(cmd, list)
	return cmd
}

// addBucketFlags accepts Velero's flags for a client that talks to the bucket
// itself. Here the cluster does, with the certificates of the storage location.
func addBucketFlags(fs *pflag.FlagSet) {
	ignored(fs, "insecure-skip-tls-verify", "true")
	ignored(fs, "cacert", "")
}

// standing is what is worth saying beside the record.
func standing(state launch.State, v launch.Verdict) describe.Standing {
	out := describe.Standing{Cause: v.Cause, Reasons: reasonsOf(state, v)}
	if state.Job != nil {
		out.Job = state.Job.Name
	}
	return out
}

// details is what a description takes from the bucket.
type details struct {
	location, name, prefix string
	resultsKey, listKey    string
	// results and list say which of them are wanted.
	results, list bool
}

// fetch reads them. What can't be read becomes part of the description.
func (s *session) fetch(ctx context.Context, d details, timeout time.Duration) (describe.Fetched[report.Results], describe.Fetched[map[string][]string]) {
	var results describe.Fetched[report.Results]
	var list describe.Fetched[map[string][]string]
	if !d.results && !d.list {
		return results, list
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := s.openBucket(ctx, d.location, d.name, d.prefix)
	if err != nil {
		if d.results {
			results.Err = err
		}
		if d.list {
			list.Err = err
		}
		return results, list
	}
	defer s.closeBucket(ctx, r)
	if d.results {
		results.Value, results.Err = optional[report.Results](ctx, r, d.resultsKey)
	}
	if d.list {
		list.Value, list.Err = optional[map[string][]string](ctx, r, d.listKey)
	}
	return results, list
}

// optional reads a side file; backups of early versions don't have all.
func optional[T any](ctx context.Context, r *reader.Reader, key string) (*T, error) {
	value, err := readGzipJSON[T](ctx, r, key)
	if errors.Is(err, reader.ErrNotExist) {
		return nil, nil
	}
	return value, err
}

func (s *session) closeBucket(ctx context.Context, r *reader.Reader) {
	if err := r.Close(ctx); err != nil {
		s.warn("%v", err)
	}
}
