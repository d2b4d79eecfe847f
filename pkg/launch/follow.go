package launch

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// How Follow polls.
const (
	pollFast = 500 * time.Millisecond // for the first pollSlowAfter
	pollSlow = 2 * time.Second

	pollSlowAfter = 30 * time.Second
	// apiPatience is how long the API server may not answer before Follow gives
	// up; an upgrade of a one-node control plane takes about a minute.
	apiPatience = 3 * time.Minute
)

// Follow observes the operation until it ends or ctx does, and calls each with
// every state seen; each must not block. An end that nobody wrote down is
// settled first. While the API server doesn't answer, each is called with the
// last state and a verdict that says so; after three minutes that is an error.
func (o *Observer) Follow(ctx context.Context, t Target, each func(State, Verdict)) (State, Verdict, error) {
	begun := time.Now()
	answered := begun
	var last State
	for {
		s, v, err := o.step(ctx, t, &last)
		switch {
		case ctx.Err() != nil:
			return last, Verdict{}, ctx.Err()
		case err == nil:
			answered = time.Now()
			each(s, v)
			if v.Standing == Ended && !v.AskBucket {
				return s, v, nil
			}
		case !passing(err) || time.Since(answered) > apiPatience:
			return last, Verdict{}, err
		default:
			each(last, Verdict{Standing: Running, Cause: fmt.Sprintf("the API server doesn't answer: %v", err)})
		}
		if err := sleep(ctx, interval(time.Since(begun))); err != nil {
			return last, Verdict{}, err
		}
	}
}

// step observes once and settles what needs it.
func (o *Observer) step(ctx context.Context, t Target, last *State) (State, Verdict, error) {
	s, err := o.Observe(ctx, t)
	if err != nil {
		return s, Verdict{}, err
	}
	if s.Gone {
		s.CR.UID = last.CR.UID
	}
	*last = s
	v := Judge(s)
	settled, err := o.Settle(ctx, s, v)
	switch {
	case errors.Is(err, ErrChanged):
		return s, Verdict{Standing: Running}, nil // look again
	case v.AskBucket && err == nil:
		v.Cause = fmt.Sprintf("%s; maintenance Job %q looks into the bucket whether it was complete", v.Reason, settled.Maintenance)
	case err != nil && v.MayWrite:
		// The end is known even where it can't be written down.
		return s, v, nil
	}
	return s, v, err
}

func interval(elapsed time.Duration) time.Duration {
	if elapsed < pollSlowAfter {
		return pollFast
	}
	return pollSlow
}

// passing reports whether an error of the API server may go away by itself.
func passing(err error) bool {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return true // no answer at all
	}
	code := status.Status().Code
	const tooManyRequests, internal = 429, 500
	return code == tooManyRequests || code >= internal
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
