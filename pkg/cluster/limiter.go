package cluster

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// raiseEvery is the least time between two raises of the limit, so that an
	// API server which has just refused requests isn't pressed at once again.
	raiseEvery = time.Second
	// slowAnswer is the time to the first byte below which no answer counts as
	// slow: large pages take so long on an API server that has nothing else to do.
	slowAnswer = time.Second
	// slowFactor is how many times the usual time an answer takes that counts as
	// slow. Kinds differ by their objects' size, so this must be a lot.
	slowFactor = 5
	// usualAfter is the number of answers after which the usual time is known.
	usualAfter = 8
	// stalled is how long a visitor may take until its list gives up its slot:
	// the API server has nothing to do meanwhile, and what the visitor waits for
	// may be another list that waits for a slot.
	stalled = 50 * time.Millisecond
)

// limiter bounds the pages in flight, all lists taken together. The bound is
// halved when the API server refuses requests or gets slow, and raised by one
// when it has answered well for a while. It is safe for concurrent use.
type limiter struct {
	max int

	mu      sync.Mutex
	limit   int
	busy    int             // slots given out
	waiting []chan struct{} // in order; closed when its slot is given out
	good    int             // good answers since the limit changed
	changed time.Time       // when the limit was changed
	cuts    int             // how often the limit was cut
	usual   time.Duration   // moving average of the time to the first byte
	answers int             // good answers in all
}

func newLimiter(most int) *limiter { return &limiter{max: most, limit: most} }

// acquire waits for a slot. The caller releases it.
func (l *limiter) acquire(ctx context.Context) (*slot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.busy < l.limit && len(l.waiting) == 0 {
		l.busy++
		defer l.mu.Unlock()
		return &slot{limiter: l, cuts: l.cuts}, nil
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		l.mu.Lock()
		defer l.mu.Unlock()
		return &slot{limiter: l, cuts: l.cuts}, nil
	case <-ctx.Done():
		l.leave(turn)
		return nil, ctx.Err()
	}
}

// leave takes a caller that no longer wants a slot out of the queue, and gives
// the slot back if it was given in the meantime.
func (l *limiter) leave(turn chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, turn); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		return
	}
	l.busy--
	l.admit()
}

// admit gives free slots to those that wait. The caller holds the mutex.
func (l *limiter) admit() {
	for l.busy < l.limit && len(l.waiting) > 0 {
		l.busy++
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
	}
}

// slot is the right to have one page in flight.
type slot struct {
	limiter *limiter
	cuts    int // the limiter's when the slot was given

	once  sync.Once
	timer *time.Timer // releases the slot of a visitor that stalls
}

// release gives the slot back; only the first call does anything.
func (s *slot) release() {
	s.once.Do(func() {
		s.limiter.mu.Lock()
		defer s.limiter.mu.Unlock()
		s.limiter.busy--
		s.limiter.admit()
	})
}

// visiting says that a visitor has begun, visited that it is done. When it takes
// long the slot is released, and the rest of the page is read without one: the
// API server has done most of its work for it.
func (s *slot) visiting() {
	if s.timer == nil {
		s.timer = time.AfterFunc(stalled, s.release)
		return
	}
	s.timer.Reset(stalled)
}

func (s *slot) visited() { s.timer.Stop() }

// answered reports an answer, and the time to its first byte.
func (s *slot) answered(took time.Duration) {
	l := s.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.answers >= usualAfter && took > slowAnswer && took > slowFactor*l.usual {
		l.cut(s)
		took = slowFactor * l.usual // one outlier doesn't become the usual
	}
	l.observe(took)
	l.answers++
	l.good++
	if l.limit < l.max && l.good >= l.limit && time.Since(l.changed) >= raiseEvery {
		l.limit++
		l.good, l.changed = 0, time.Now()
		l.admit()
	}
}

func (l *limiter) observe(took time.Duration) {
	if l.answers == 0 {
		l.usual = took
		return
	}
	l.usual += (took - l.usual) / usualAfter
}

// failed reports that there was no whole answer.
func (s *slot) failed(err error) {
	if !overloaded(err) {
		return
	}
	s.limiter.mu.Lock()
	defer s.limiter.mu.Unlock()
	s.limiter.cut(s)
}

// cut halves the limit, but for requests that were sent before it was cut last:
// they tell nothing new. The caller holds the mutex.
func (l *limiter) cut(s *slot) {
	if s.cuts != l.cuts {
		return
	}
	l.cuts++
	l.limit = max(1, l.limit/2)
	l.good, l.changed = 0, time.Now()
}
