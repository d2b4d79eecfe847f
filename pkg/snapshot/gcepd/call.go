package gcepd

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/api/compute/v1"
	"google.golang.org/api/googleapi"
)

const (
	// maxThrottled is how often a request is sent that the API wants later: limits
	// are by the minute, and these attempts last two.
	maxThrottled = 10
	// maxBroken is how often a request is sent that comes to grief.
	maxBroken = 5

	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
	// maxRetryAfter is the longest pause that the API can ask for.
	maxRetryAfter = time.Minute
)

// call sends a request, and again where that can help.
func call[T any](ctx context.Context, s *Snapshotter, send func(context.Context) (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		answer, err := inSlot(ctx, s, send)
		if err == nil || ctx.Err() != nil || attempt >= s.maxAttempts(ctx, err) {
			return answer, err
		}
		s.pause(ctx, delay(attempt, err))
	}
}

// change sends a request that changes something, with an id by which the API knows it
// when it comes again.
func change(ctx context.Context, s *Snapshotter, send func(ctx context.Context, id string) (*compute.Operation, error)) (*compute.Operation, error) {
	id := uuid.NewString()
	return call(ctx, s, func(ctx context.Context) (*compute.Operation, error) { return send(ctx, id) })
}

// labelled is change with something that has labels: without them, if they are what is
// refused. They tell people more than they tell us.
func labelled(ctx context.Context, s *Snapshotter, labels *map[string]string, send func(ctx context.Context, id string) (*compute.Operation, error)) (*compute.Operation, error) {
	op, err := change(ctx, s, send)
	if r := refusalOf(err); r != nil && r.refusesLabels() && len(*labels) > 0 {
		*labels = nil
		return change(ctx, s, send)
	}
	return op, err
}

// inSlot sends a request once, when there is a place for it.
func inSlot[T any](ctx context.Context, s *Snapshotter, send func(context.Context) (T, error)) (answer T, err error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
		return send(ctx)
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// maxAttempts is how often a request with this outcome may be sent.
func (s *Snapshotter) maxAttempts(ctx context.Context, err error) int {
	r := refusalOf(err)
	switch {
	case r == nil && s.google.Explain(ctx, err).Temporary:
		return maxBroken
	case r == nil:
		return 1
	case r.isThrottled(), r.has("resourcenotready"):
		return maxThrottled
	case r.isBroken():
		return maxBroken
	}
	return 1
}

// delay is the pause after an attempt: what the API asks for, else one that doubles,
// with chance in it, so that those who were refused together don't come back together.
func delay(attempt int, err error) time.Duration {
	if asked := retryAfter(err); asked > 0 {
		return min(asked, maxRetryAfter)
	}
	d := min(firstPause<<(attempt-1), maxPause)
	return d/2 + rand.N(d/2)
}

// retryAfter is what an answer asks for, or 0.
func retryAfter(err error) time.Duration {
	var answer *googleapi.Error
	if !errors.As(err, &answer) {
		return 0
	}
	seconds, err := strconv.Atoi(answer.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0 // none, or a date
	}
	return time.Duration(seconds) * time.Second
}
