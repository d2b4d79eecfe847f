package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// waitFlags say whether and how a command waits for what it started.
type waitFlags struct {
	wait         bool
	startTimeout flag.Duration
}

// defaultStartTimeout is how long a Job may take to start.
const defaultStartTimeout = 5 * time.Minute

func (w *waitFlags) add(fs *pflag.FlagSet) {
	w.startTimeout.Value = defaultStartTimeout
	fs.BoolVarP(&w.wait, "wait", "w", false, "Wait for the end, show progress, and exit with 2 if it partially failed, 3 if it failed.")
	fs.Var(&w.startTimeout, "start-timeout", "With --wait: give up when the Job has not started within this time; 0 waits for ever.")
}

// noun is a word for an operation's record, in the cases that texts need.
type noun struct {
	word   string // "backup"
	title  string // "Backup"
	doing  string // "Backing up"
	target string // launch's name of the operation
}

var (
	backupNoun  = noun{"backup", "Backup", "Backing up", velerov1.OperationBackup}
	restoreNoun = noun{"restore", "Restore", "Restoring", velerov1.OperationRestore}
)

// pointers tells where to look next.
func (s *session) pointers(n noun, name string) string {
	return fmt.Sprintf("Run `%[1]s %[2]s describe %[3]s` or `%[1]s %[2]s logs %[3]s` for details.", s.name, n.word, name)
}

// wait follows an operation to its end and tells how it went. The error carries
// the exit code.
func (s *session) wait(ctx context.Context, n noun, name string, w waitFlags) error {
	s.observer.StartTimeout = w.startTimeout.Value
	fmt.Fprintf(s.ErrOut, "Waiting for %s %q. Ctrl-C ends the waiting, not the %s.\n", n.word, name, n.word)
	begun := s.now()
	p := s.newProgress(ctx, n, name)
	state, verdict, err := s.observer.Follow(ctx, launch.Target{Operation: n.target, Name: name}, p.show)
	p.end()
	if err != nil {
		return s.stoppedWaiting(n, name, err)
	}
	took := s.now().Sub(begun).Round(time.Second)
	fmt.Fprintln(s.Out, finalLine(n, state, verdict, took))
	for _, reason := range reasonsOf(state, verdict) {
		fmt.Fprintln(s.Out, "  "+strings.ReplaceAll(asText(reason), "\n", "\n  "))
	}
	fmt.Fprintln(s.Out, s.pointers(n, name))
	return endError(n, name, verdict)
}

// finalLine begins as Velero's does, so that scripts find it.
func finalLine(n noun, state launch.State, v launch.Verdict, took time.Duration) string {
	cr := state.CR
	if v.Summary != nil && !cr.Terminal {
		cr.Warnings, cr.Errors, cr.Done = v.Summary.Warnings, v.Summary.Errors, max(cr.Done, v.Summary.Items)
	}
	phase := v.Outcome.Phase()
	if cr.Terminal {
		phase = cr.Phase
	}
	return fmt.Sprintf("%s completed with status: %s (%s, %s, %s, %s)", n.title, phase,
		count(cr.Done, "item"), count(cr.Warnings, "warning"), count(cr.Errors, "error"), took)
}

// reasonsOf lists why it did not simply complete, without repeating.
func reasonsOf(state launch.State, v launch.Verdict) []string {
	if v.Outcome == report.Completed {
		return nil
	}
	reasons := state.CR.Reasons
	if v.Summary != nil && len(reasons) == 0 {
		reasons = v.Summary.TopCauses
	}
	all := make([]string, 0, len(reasons)+1)
	seen := map[string]bool{"": true}
	for _, r := range append([]string{v.Reason}, reasons...) {
		if !seen[r] {
			seen[r] = true
			all = append(all, r)
		}
	}
	return all
}

// endError is the error of an operation that ended; nil when it completed.
func endError(n noun, name string, v launch.Verdict) error {
	if v.Outcome == report.Completed {
		return nil
	}
	how := map[report.Outcome]string{
		report.PartiallyFailed: "partially failed",
		report.Cancelled:       "was cancelled",
		report.Usage:           "was refused",
	}[v.Outcome]
	if how == "" {
		how = "failed"
	}
	return &outcomeError{outcome: v.Outcome, text: fmt.Sprintf("%s %q %s", n.word, name, how)}
}

// stoppedWaiting explains why nobody waits any more for what goes on.
func (s *session) stoppedWaiting(n noun, name string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &outcomeError{outcome: report.Cancelled, text: fmt.Sprintf(
			"stopped waiting; %s %q goes on in the cluster; hint: `%s %s describe %s` shows how it fares", n.word, name, s.name, n.word, name)}
	}
	return s.explain(fmt.Sprintf("follow %s %q, which goes on in the cluster", n.word, name), err)
}
