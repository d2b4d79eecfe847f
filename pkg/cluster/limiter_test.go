package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

var errBusy = apierrors.NewTooManyRequestsError("slow down")

func mustAcquire(t *testing.T, l *limiter) *slot {
	t.Helper()
	s, err := l.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantLimit(t *testing.T, l *limiter, want int) {
	t.Helper()
	if l.limit != want {
		t.Errorf("limit %d, want %d", l.limit, want)
	}
}

func TestLimiterHalvesOncePerOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(8)
		var slots []*slot
		for range 8 {
			slots = append(slots, mustAcquire(t, l))
		}
		for _, s := range slots { // all were sent before the first was refused
			s.failed(errBusy)
			s.release()
		}
		wantLimit(t, l, 4)
		for range 5 { // each sent after the last was refused
			s := mustAcquire(t, l)
			s.failed(errBusy)
			s.release()
		}
		wantLimit(t, l, 1)
	})
}

func TestLimiterLeavesOtherErrorsAlone(t *testing.T) {
	t.Parallel()
	l := newLimiter(8)
	for _, err := range []error{errors.New("no such host"), broken(errors.New("cut")), apierrors.NewBadRequest("no")} {
		s := mustAcquire(t, l)
		s.failed(err)
		s.release()
	}
	wantLimit(t, l, 8)
}

func TestLimiterRisesSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(8)
		for range 3 {
			s := mustAcquire(t, l)
			s.failed(errBusy)
			s.release()
		}
		wantLimit(t, l, 1)
		answer := func(n int) {
			for range n {
				s := mustAcquire(t, l)
				s.answered(time.Millisecond)
				s.release()
			}
		}
		answer(1000) // at once
		wantLimit(t, l, 1)
		for want := 2; want <= 8; want++ {
			time.Sleep(raiseEvery)
			answer(1000)
			wantLimit(t, l, want)
		}
		time.Sleep(raiseEvery)
		answer(1000)
		wantLimit(t, l, 8)
	})
}

func TestLimiterLooksAtLatency(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		usual, slow time.Duration
		answers     int
		want        int
	}{
		"steady":                     {20 * time.Millisecond, 20 * time.Millisecond, 20, 8},
		"a large page":               {5 * time.Millisecond, 900 * time.Millisecond, 20, 8},
		"far beyond the usual":       {20 * time.Millisecond, 2 * time.Second, 20, 4},
		"slow as always":             {2 * time.Second, 4 * time.Second, 20, 8},
		"before the usual is known":  {20 * time.Millisecond, 2 * time.Second, 3, 8},
		"far beyond a slow one's":    {time.Second, 6 * time.Second, 20, 4},
		"a little beyond the border": {250 * time.Millisecond, 1300 * time.Millisecond, 20, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLimiter(8)
			for range c.answers {
				s := mustAcquire(t, l)
				s.answered(c.usual)
				s.release()
			}
			s := mustAcquire(t, l)
			s.answered(c.slow)
			s.release()
			wantLimit(t, l, c.want)
		})
	}
}

func TestLimiterTurnsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		first := mustAcquire(t, l)
		turns := make(chan int, 3)
		for i := range 3 {
			go func() {
				s, err := l.acquire(t.Context())
				if err != nil {
					return
				}
				turns <- i
				time.Sleep(time.Second)
				s.release()
			}()
			synctest.Wait()
		}
		first.release()
		for want := range 3 {
			if got := <-turns; got != want {
				t.Errorf("turn of %d, want %d", got, want)
			}
		}
		time.Sleep(time.Minute) // the last one gives its slot back
	})
}

func TestLimiterLetsWaitersLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		held := mustAcquire(t, l)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { _, err := l.acquire(ctx); ended <- err }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		held.release()
		held.release() // harmless
		if l.busy != 0 || len(l.waiting) != 0 {
			t.Errorf("%d slots given out, %d waiting", l.busy, len(l.waiting))
		}
		mustAcquire(t, l).release()
	})
}

func TestLimiterTakesBackTheSlotOfAStalledVisitor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		s := mustAcquire(t, l)
		for range 1000 { // quick visits keep it
			s.visiting()
			time.Sleep(stalled / 2)
			s.visited()
		}
		if l.busy != 1 {
			t.Fatal("lost the slot without a reason")
		}
		began := time.Now()
		s.visiting()
		other := mustAcquire(t, l) // waits for the visitor to stall
		if took := time.Since(began); took != stalled {
			t.Errorf("waited %s", took)
		}
		s.visited()
		s.release()
		if l.busy != 1 {
			t.Errorf("%d slots given out", l.busy)
		}
		other.release()
	})
}
