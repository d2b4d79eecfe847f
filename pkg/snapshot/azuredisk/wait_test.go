package azuredisk

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"
)

// TestPauseIsNoStandstill: a pause that Azure asked for is added to the wait.
func TestPauseIsNoStandstill(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(context.Context){
		"throttled": func(ctx context.Context) { newGate(1).hold(ctx, true, 5*time.Minute) },
		"asked to wait": func(ctx context.Context) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			pace{}.pause(ctx, 0, &http.Response{Header: http.Header{"Retry-After": {"300"}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, p, stop := withPatience(t.Context(), time.Hour)
			defer stop()
			before := time.Now()
			ask(ctx)
			if left := p.end.Sub(before); left < time.Hour+5*time.Minute {
				t.Errorf("it ends in %s", left)
			}
		})
	}
}

func TestGateRefusesLongPauses(t *testing.T) {
	t.Parallel()
	g := newGate(1)
	g.hold(t.Context(), true, longestRetry+time.Second)
	if !g.until[true].IsZero() {
		t.Errorf("held until %s", g.until[true])
	}
}

// TestLostPatienceSaysWhy prefers the reason of the last attempt.
func TestLostPatienceSaysWhy(t *testing.T) {
	t.Parallel()
	ctx, p, stop := withPatience(t.Context(), time.Nanosecond)
	defer stop()
	<-ctx.Done()
	var lost *impatience
	if err := p.why(ctx, ctx.Err()); !errors.As(err, &lost) {
		t.Errorf("error %v", err)
	}
	broken := errors.New("connection refused")
	p.note(broken)
	if err := p.why(ctx, ctx.Err()); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "soon": 0, "Mon, 02 Jan 2006 15:04:05 GMT": 0} {
		if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {text}}}); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	soon := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {soon}}}); got < 59*time.Minute || got > time.Hour {
		t.Errorf("an hour is %s", got)
	}
}
