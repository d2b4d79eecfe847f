package read

import (
	"sync"
	"time"
)

// idle tells when nothing ran for limit. Safe for concurrent use.
type idle struct {
	limit time.Duration
	// expired is closed when the limit has passed.
	expired chan struct{}

	mu      sync.Mutex
	running int
	timer   *time.Timer
}

func newIdle(limit time.Duration) *idle {
	return &idle{limit: limit, expired: make(chan struct{})}
}

// start begins the first wait.
func (i *idle) start() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.timer == nil && i.running == 0 {
		i.timer = time.AfterFunc(i.limit, func() { close(i.expired) })
	}
}

// begin says that something runs; the returned function ends it.
func (i *idle) begin() (end func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.running++
	if i.timer != nil && i.timer.Stop() {
		i.timer = nil
	}
	return i.end
}

func (i *idle) end() {
	i.mu.Lock()
	i.running--
	i.mu.Unlock()
	i.start()
}
