package azuredisk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// pace is how often it is asked how far an operation is: less often each time,
// unless Azure says when to ask again.
type pace struct{ first, longest time.Duration }

func (p pace) pause(ctx context.Context, round int, answer *http.Response) {
	d := retryAfter(answer)
	if d > 0 {
		bear(ctx, d)
	} else {
		d = min(p.first<<min(round, 10), p.longest)
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// retryAfter is how long Azure asks to wait; zero if it doesn't.
func retryAfter(answer *http.Response) time.Duration {
	if answer == nil {
		return 0
	}
	text := answer.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// patience ends a context when nothing has moved for a while.
type patience struct {
	limit  time.Duration
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer // guarded by mu
	end   time.Time   // guarded by mu
	last  error       // guarded by mu; why the last attempt failed, nil if it didn't
}

type patienceKey struct{}

// withPatience bounds the time in which nothing moves. The function it returns must
// be called.
func withPatience(ctx context.Context, limit time.Duration) (context.Context, *patience, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{limit: limit, cancel: cancel, end: time.Now().Add(limit)}
	p.timer = time.AfterFunc(limit, p.lose)
	return context.WithValue(ctx, patienceKey{}, p), p, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.timer.Stop()
		cancel(nil)
	}
}

// impatience is the error about an operation that doesn't move.
type impatience struct{ waited time.Duration }

func (i *impatience) Error() string {
	return fmt.Sprintf("no progress at Azure within %s; hint: if that is usual, raise the config key \"apiTimeout\" of the snapshot location", i.waited)
}

func (p *patience) lose() { p.cancel(&impatience{p.limit}) }

// moved begins the wait anew.
func (p *patience) moved() { p.bear(0) }

// bear allows for a pause that Azure asked for.
func (p *patience) bear(pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := time.Now().Add(pause + p.limit)
	if end.After(p.end) && p.timer.Stop() {
		p.end = end
		p.timer.Reset(time.Until(end))
	}
}

// note remembers how an attempt at a request ended: when it was the last one, that is
// the reason why nothing moved.
func (p *patience) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = err
}

// why is the error, or the reason for which patience was lost.
func (p *patience) why(ctx context.Context, err error) error {
	var lost *impatience
	if err == nil || !errors.As(context.Cause(ctx), &lost) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		return p.last
	}
	return lost
}

// await runs an operation to its end. It gives up when Azure shows no progress for
// as long as apiTimeout says.
func await[T any](ctx context.Context, s *snapshotter, begin func(context.Context) (*runtime.Poller[T], error)) (result T, err error) {
	ctx, p, stop := withPatience(ctx, s.config.timeout)
	defer stop()
	var answer *http.Response
	poller, err := begin(policy.WithCaptureResponse(ctx, &answer))
	if err != nil {
		return result, p.why(ctx, err)
	}
	seen := progressOf(answer)
	p.moved()
	for round := 0; !poller.Done(); round++ {
		s.pace.pause(ctx, round, answer)
		if answer, err = poller.Poll(ctx); err != nil {
			return result, p.why(ctx, err)
		}
		if now := progressOf(answer); now != seen {
			seen = now
			p.moved()
		}
	}
	result, err = poller.Result(ctx)
	return result, p.why(ctx, err)
}

// patiently makes one request.
func patiently[T any](ctx context.Context, s *snapshotter, request func(context.Context) (T, error)) (T, error) {
	ctx, p, stop := withPatience(ctx, s.config.timeout)
	defer stop()
	result, err := request(ctx)
	return result, p.why(ctx, err)
}

// progressOf is what changes in the answers about an operation while it moves on:
// https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
func progressOf(answer *http.Response) string {
	var body struct {
		Status          string
		PercentComplete float64
		Properties      struct {
			ProvisioningState string
			CompletionPercent float64
		}
	}
	if answer == nil {
		return ""
	}
	payload, err := runtime.Payload(answer)
	if err != nil || json.Unmarshal(payload, &body) != nil {
		return ""
	}
	return fmt.Sprint(body)
}
