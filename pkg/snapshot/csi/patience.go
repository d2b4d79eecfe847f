package csi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
)

// retry calls the API server again while it fails for a reason that may pass, for
// some 25 seconds.
func retry(ctx context.Context, call func() error) error {
	pauses := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 7}
	for {
		err := call()
		if err == nil || !mayPass(err) || pauses.Steps == 0 {
			return err
		}
		if pause(ctx, pauses.Step()) != nil {
			return err
		}
	}
}

// mayPass reports whether a request that failed may succeed later: the API server
// is busy, broken or can't be reached.
func mayPass(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) { // no answer, or an error of our own
		var network net.Error
		return errors.As(err, &network) || utilnet.IsProbableEOF(err) || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err)
	}
	return apierrors.IsInternalError(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || status.Status().Code >= 500
}

// pause waits, or returns why the context ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// poll calls check until it is true, at a pace that slows down from first to last.
// It ends with an error only when check or the context does.
func poll(ctx context.Context, first, last time.Duration, check func() (bool, error)) error {
	for every := first; ; every = min(every*5/4, last) {
		done, err := check()
		if done || err != nil {
			return err
		}
		if err := pause(ctx, every); err != nil {
			return fmt.Errorf("wait for snapshots: %w", err)
		}
	}
}

// ignoreNotFound is nil for the error about what isn't there.
func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
