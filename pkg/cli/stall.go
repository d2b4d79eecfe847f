package cli

import (
	"context"
	"fmt"
	"io"
	"time"
)

// stalledError ends a transfer in which nothing moved for too long.
type stalledError struct{ patience time.Duration }

func (e *stalledError) Error() string {
	return fmt.Sprintf("nothing came for %s; hint: --timeout gives it longer", e.patience)
}

// Unwrap makes it a timeout for ExitCode.
func (e *stalledError) Unwrap() error { return context.DeadlineExceeded }

// untilStalled returns a context that ends when moved wasn't called for
// patience; context.Cause then is a *stalledError. No patience means no limit.
func untilStalled(ctx context.Context, patience time.Duration) (watched context.Context, moved, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if patience <= 0 {
		return ctx, func() {}, func() { cancel(nil) }
	}
	timer := time.AfterFunc(patience, func() { cancel(&stalledError{patience}) })
	return ctx, func() { timer.Reset(patience) }, func() { timer.Stop(); cancel(nil) }
}

// movingReader calls moved for all that it reads.
type movingReader struct {
	io.Reader
	moved func()
}

func (m movingReader) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if n > 0 {
		m.moved()
	}
	return n, err
}
