package run

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// terminationLog is where the kubelet reads a container's termination message.
const terminationLog = "/dev/termination-log"

// ExitError ends the process with the exit code of an outcome.
type ExitError struct{ Summary report.Summary }

func (e *ExitError) Error() string {
	if e.Summary.Reason == "" {
		return string(e.Summary.Outcome)
	}
	return fmt.Sprintf("%s: %s", e.Summary.Outcome, e.Summary.Reason)
}

// ExitCode is the process's exit code for err, as returned by End or by a
// command that found its flags wrong; 0 for nil.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return report.Completed.ExitCode()
	case errors.As(err, &exit):
		return exit.Summary.Outcome.ExitCode()
	}
	return report.Usage.ExitCode()
}

// End leaves the termination message of an operation and turns its summary into
// the error that ends the process; nil when it completed.
func End(log *slog.Logger, summary report.Summary) error {
	log.Info("ended", "outcome", summary.Outcome, "reason", summary.Reason,
		"items", summary.Items, "warnings", summary.Warnings, "errors", summary.Errors)
	if err := leaveMessage(summary); err != nil {
		log.Warn("termination message not written", "error", err)
	}
	if summary.Outcome == report.Completed {
		return nil
	}
	return &ExitError{Summary: summary}
}

// leaveMessage writes the termination message where there is a kubelet to read
// it.
func leaveMessage(summary report.Summary) error {
	if os.Getenv("POD_NAME") == "" {
		return nil
	}
	return os.WriteFile(terminationLog, summary.Termination(time.Now()), 0o600)
}
