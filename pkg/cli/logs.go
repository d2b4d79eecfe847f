package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// storedLog is where in a bucket a log is.
type storedLog struct {
	folder
	key string
}

// logFlags are those of the logs commands.
type logFlags struct {
	bucketFlags
	follow  bool
	timeout time.Duration
}

func newLogs(f *Factory, n noun, use, example string, list candidates, stored func(context.Context, *session, string) (storedLog, error)) *cobra.Command {
	o := &logFlags{}
	cmd := &cobra.Command{
		Use:     use + " NAME",
		Short:   fmt.Sprintf("Print the log of a %s, also while it runs", n.word),
		Long:    fmt.Sprintf("Print the log of a %s: from its pod while that exists, and later from the bucket, through a Job.", n.word),
		Example: f.examples(example),
		Args:    oneName(n.word),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.connect(f)
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), s, n, args[0], stored)
		},
	}
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "Go on printing until it ends.")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "How long reading from the bucket may take.")
	o.bucketFlags.add(cmd.Flags())
	f.completeArgs(cmd, list)
	return cmd
}

func newBackupLogs(f *Factory, use string) *cobra.Command {
	return newLogs(f, backupNoun, use, `  # Only what went wrong
  %[1]s backup logs shop | grep level=error

  # While it runs
  %[1]s backup logs shop -f`, completeBackups, storedBackupLog)
}

func newRestoreLogs(f *Factory, use string) *cobra.Command {
	return newLogs(f, restoreNoun, use, `  # Only what went wrong
  %[1]s restore logs shop-20260102030405 | grep level=error`, completeRestores, storedRestoreLog)
}

func storedBackupLog(ctx context.Context, s *session, name string) (storedLog, error) {
	backup, err := s.velero.Backups(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return storedLog{}, s.notFound(backupNoun, name, err)
	}
	return storedLog{
		folder: folder{location: backup.Spec.StorageLocation, name: name, prefix: backupFolder(name)},
		key:    backupKey(name, "-logs.gz"),
	}, nil
}

func storedRestoreLog(ctx context.Context, s *session, name string) (storedLog, error) {
	restore, err := s.velero.Restores(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return storedLog{}, s.notFound(restoreNoun, name, err)
	}
	location, err := s.locationOf(ctx, restore)
	if err != nil {
		return storedLog{}, err
	}
	return storedLog{
		folder: folder{location: location, name: name, prefix: restoreFolder(name)},
		key:    restoreKey(name, "-logs.gz"),
	}, nil
}

func (o *logFlags) run(ctx context.Context, s *session, n noun, name string, stored func(context.Context, *session, string) (storedLog, error)) error {
	where, err := stored(ctx, s, name)
	if err != nil {
		return err
	}
	target := launch.Target{Operation: n.target, Name: name}
	state, err := s.observer.Observe(ctx, target)
	if err != nil {
		return s.explain(fmt.Sprintf("find the pod of %s %q", n.word, name), err)
	}
	if o.follow {
		if state, err = s.untilLogged(ctx, target, state); err != nil {
			return s.stoppedWaiting(n, name, err)
		}
	}
	printed, err := s.podLog(ctx, state, o.follow)
	if printed || err != nil {
		return err
	}
	if !state.CR.Terminal {
		return fmt.Errorf("%s %q has no log yet%s; hint: --follow waits for it", n.word, name, because(launch.Judge(state)))
	}
	return s.bucketLog(ctx, n, where, o.timeout)
}

func because(v launch.Verdict) string {
	if v.Cause == "" {
		return ""
	}
	return ": " + v.Cause
}

// untilLogged waits until the pod has begun or will not any more.
func (s *session) untilLogged(ctx context.Context, target launch.Target, state launch.State) (launch.State, error) {
	const every = 500 * time.Millisecond
	for launch.Judge(state).Standing == launch.Waiting {
		select {
		case <-ctx.Done():
			return state, ctx.Err()
		case <-time.After(every):
		}
		var err error
		if state, err = s.observer.Observe(ctx, target); err != nil {
			return state, err
		}
	}
	return state, nil
}

// podLog prints the log of the newest pod that has one, and reports whether
// there was any.
func (s *session) podLog(ctx context.Context, state launch.State, follow bool) (bool, error) {
	pod, err := s.loggingPod(ctx, state)
	if pod == "" || err != nil {
		return false, err
	}
	stream, err := s.kube.CoreV1().Pods(s.namespace).GetLogs(pod, &corev1.PodLogOptions{Container: launch.ContainerName, Follow: follow}).Stream(ctx)
	if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) {
		return false, nil // gone in the meantime, or its container never began
	}
	if err != nil {
		return false, s.explain(fmt.Sprintf("read the log of pod %q", pod), err)
	}
	printed, err := copyLog(s.Out, stream)
	return printed, errors.Join(err, stream.Close())
}

// loggingPod names the newest pod, after a note on earlier attempts.
func (s *session) loggingPod(ctx context.Context, state launch.State) (string, error) {
	if state.Job == nil {
		return "", nil
	}
	pods, err := s.kube.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: "batch.kubernetes.io/controller-uid=" + string(state.Job.UID)})
	if err != nil {
		return "", s.explain("list pods", err)
	}
	newest := ""
	var at metav1.Time
	for _, p := range pods.Items {
		if newest == "" || at.Before(&p.CreationTimestamp) {
			newest, at = p.Name, p.CreationTimestamp
		}
	}
	for _, p := range pods.Items {
		if p.Name != newest {
			fmt.Fprintf(s.ErrOut, "An earlier attempt's log: kubectl -n %s logs %s\n", s.namespace, p.Name)
		}
	}
	return newest, nil
}

func copyLog(w io.Writer, stream io.Reader) (bool, error) {
	buffered := bufio.NewReader(stream)
	if _, err := buffered.Peek(1); errors.Is(err, io.EOF) {
		return false, nil
	}
	if _, err := io.Copy(w, buffered); err != nil {
		return true, fmt.Errorf("print the log: %w", err)
	}
	return true, nil
}

// bucketLog prints the log that was stored beside the backup or restore.
func (s *session) bucketLog(ctx context.Context, n noun, where storedLog, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	fmt.Fprintln(s.ErrOut, "The pod is gone; reading the log from the bucket ...")
	r, err := s.openBucket(ctx, where.location, where.name, where.prefix)
	if err != nil {
		return err
	}
	defer s.closeBucket(ctx, r)
	err = copyGzip(ctx, r, where.key, s.Out)
	if errors.Is(err, reader.ErrNotExist) {
		return fmt.Errorf("%s %q left no log in the bucket; hint: `%s %s describe %s` has the reason", n.word, where.name, s.name, n.word, where.name)
	}
	return err
}
