package record

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
)

// patience is how long a write bears with an API server that is away: about a
// minute. What is at stake is a finished operation.
var patience = wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 9, Cap: 15 * time.Second}

// patiently calls the API server again while it fails for a reason that passes.
func patiently(ctx context.Context, call func() error) error {
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, patience, func(context.Context) (bool, error) {
		if last = call(); last == nil {
			return true, nil
		}
		if !passes(last) {
			return false, last
		}
		return false, nil
	})
	if last != nil && (wait.Interrupted(err) || errors.Is(err, ctx.Err())) {
		return last // says more than that time is up
	}
	return err
}

// passes reports whether an error is about the API server's state and not about
// the request.
func passes(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err)
}
