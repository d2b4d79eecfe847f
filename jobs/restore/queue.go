package restore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

const (
	// maxQueueBytes bounds the objects that wait to be tried again. When it is
	// reached the pass stands still until some have come through or are given
	// up, so that memory stays bounded.
	maxQueueBytes = 32 << 20
	// firstBackoff and maxBackoff are the times between rounds of retries; each
	// round without success waits twice as long.
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// waveRetry is how long a wave waits for its own failures before the next
	// one begins: long enough for caches of the API server to catch up.
	waveRetry = 2 * time.Second
)

// waiting is an object that failed for a reason that may pass.
type waiting struct {
	item   archive.Item
	result result
}

// queue holds objects to be tried again. It is safe for concurrent use.
type queue struct {
	mu    sync.Mutex
	items []waiting
	bytes int
	// trying are those that were taken to be tried again, until all have been.
	trying []waiting
}

func (q *queue) add(w waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, w)
	q.bytes += len(w.item.Body)
}

func (q *queue) take() []waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.bytes = nil, 0
	return items
}

// try is take for those that are to be tried again; tried is to be called when they
// have been.
func (q *queue) try() []waiting {
	items := q.take()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.trying = items
	return items
}

func (q *queue) tried() { q.mu.Lock(); defer q.mu.Unlock(); q.trying = nil }

// holds reports whether an object of a kind may still come through.
func (q *queue) holds(kind schema.GroupResource) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	ofKind := func(w waiting) bool { return w.item.Resource == kind }
	return slices.ContainsFunc(q.items, ofKind) || slices.ContainsFunc(q.trying, ofKind)
}

func (q *queue) size() int { q.mu.Lock(); defer q.mu.Unlock(); return len(q.items) }

func (q *queue) full() bool { q.mu.Lock(); defer q.mu.Unlock(); return q.bytes > maxQueueBytes }

// retry tries what waits again and again, until nothing waits or nothing has
// succeeded for the given time.
func (o *operation) retry(ctx context.Context, quiet time.Duration) error {
	lastSuccess, backoff := time.Now(), firstBackoff
	for o.queue.size() > 0 && time.Since(lastSuccess) < quiet {
		if err := sleep(ctx, backoff); err != nil {
			return err
		}
		items := o.queue.try()
		o.Log.Info("trying again", "items", len(items), "first", items[0].result.retry)
		workers := &errgroup.Group{}
		workers.SetLimit(o.Workers)
		for _, w := range items {
			workers.Go(func() error { o.restoreItem(ctx, w.item); return nil })
		}
		err := workers.Wait()
		if o.queue.tried(); err != nil {
			return err
		}
		if o.queue.size() < len(items) {
			lastSuccess, backoff = time.Now(), firstBackoff
		} else {
			backoff = min(backoff*2, maxBackoff)
		}
	}
	return ctx.Err()
}

// retryLeft gives what still waits after all waves its last chance.
func (o *operation) retryLeft(ctx context.Context) error {
	return o.drain(ctx)
}

// drain tries until nothing has succeeded for RetryFor and gives up the rest.
func (o *operation) drain(ctx context.Context) error {
	if err := o.retry(ctx, o.RetryFor); err != nil {
		return err
	}
	for _, w := range o.queue.take() {
		w.result.errors = append(w.result.errors, fmt.Errorf("%w (given up after no object had succeeded for %s)", w.result.retry, o.RetryFor))
		w.result.action = actionFailed
		o.settle(w.item, w.result)
	}
	return nil
}
