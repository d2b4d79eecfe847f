package cli

import (
	"errors"
	"fmt"
)

// codedError is the end of a command whose exit codes have a meaning of their
// own. With no err there is nothing to print: the code is the result.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns the error that there is to print.
func (e *codedError) Unwrap() error { return e.err }

// Exit codes of diff, which are kubectl's.
const (
	exitDiffers    = 1
	exitDiffFailed = 2
)

// diffExit makes err one that can't be taken for a difference.
func diffExit(err error) error {
	coded := (*codedError)(nil)
	if err == nil || errors.As(err, &coded) || ExitCode(err) > exitDiffers {
		return err
	}
	return &codedError{code: exitDiffFailed, err: err}
}
