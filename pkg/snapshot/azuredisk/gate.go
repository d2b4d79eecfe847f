package azuredisk

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// gate lets a number of requests through at a time and, when Azure throttles one,
// holds back all others of its sort for as long as Azure asks: Azure counts reads
// and writes of a subscription together.
type gate struct {
	slots chan struct{}

	mu    sync.Mutex
	until map[bool]time.Time // guarded by mu; for writes, and for reads
}

func newGate(slots int) *gate {
	return &gate{slots: make(chan struct{}, slots), until: map[bool]time.Time{}}
}

// Do implements policy.Policy, for each attempt.
func (g *gate) Do(request *policy.Request) (*http.Response, error) {
	ctx := request.Raw().Context()
	write := request.Raw().Method != http.MethodGet
	if err := g.enter(ctx, write); err != nil {
		return nil, err
	}
	response, err := request.Next()
	<-g.slots
	if err == nil && throttled(response.StatusCode) {
		g.hold(ctx, write, retryAfter(response))
	}
	note(ctx, response, err)
	return response, err
}

// note tells the patience of an operation how an attempt ended.
func note(ctx context.Context, response *http.Response, err error) {
	p, ok := ctx.Value(patienceKey{}).(*patience)
	if !ok || ctx.Err() != nil {
		return
	}
	if err == nil && response.StatusCode >= http.StatusInternalServerError || err == nil && throttled(response.StatusCode) {
		err = runtime.NewResponseError(response)
	}
	p.note(err)
}

func throttled(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// enter waits for the end of what Azure asked for, and for a slot.
func (g *gate) enter(ctx context.Context, write bool) error {
	for {
		g.mu.Lock()
		wait := time.Until(g.until[write])
		g.mu.Unlock()
		if wait > 0 {
			bear(ctx, wait)
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case g.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hold keeps requests back, but not for longer than the SDK would wait.
func (g *gate) hold(ctx context.Context, write bool, pause time.Duration) {
	if pause <= 0 || pause > longestRetry {
		return
	}
	bear(ctx, pause)
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(pause); until.After(g.until[write]) {
		g.until[write] = until
	}
}

// bear tells the patience of an operation of a pause.
func bear(ctx context.Context, pause time.Duration) {
	if p, ok := ctx.Value(patienceKey{}).(*patience); ok {
		p.bear(pause)
	}
}
