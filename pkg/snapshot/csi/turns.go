package csi

import (
	"context"
	"fmt"
	"sync"
)

// turns lets callers that work on the same object do so one after the other. The
// zero value is ready to use.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the turn is over
}

// take waits for the caller's turn, which done ends.
func (t *turns) take(ctx context.Context, name string) (done func(), err error) {
	for {
		t.mu.Lock()
		busy := t.busy[name]
		if busy == nil {
			break
		}
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another one to end: %w", context.Cause(ctx))
		}
	}
	defer t.mu.Unlock()
	if t.busy == nil {
		t.busy = map[string]chan struct{}{}
	}
	turn := make(chan struct{})
	t.busy[name] = turn
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.busy, name)
		close(turn)
	}, nil
}
