package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// answer is given once.
type answer struct {
	make  func(ctx context.Context, tell func(report.Check), running func(string)) report.LocationCheck
	log   *slog.Logger
	begun atomic.Bool
	// broken is set when the client didn't get all of it.
	broken atomic.Bool
	// told is closed when it has been given, as far as the client took it.
	told chan struct{}
}

// handler answers the first request, until ctx or the client is gone. A second
// one is refused: the Job is the client's that came first.
func (a *answer) handler(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.begun.Swap(true) {
			http.Error(w, "this Job makes one check, and has begun it", http.StatusConflict)
			return
		}
		defer close(a.told)
		client, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		err := a.tell(client, w)
		if err == nil {
			err = r.Context().Err()
		}
		if err != nil {
			a.broken.Store(true)
			a.log.Warn("check broke off", "error", err)
		}
	})
}

// tell makes the check and sends its results as they come. An error means that
// the client didn't get all of it.
func (a *answer) tell(ctx context.Context, w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/x-ndjson")
	s := &stream{lines: json.NewEncoder(w), flush: http.NewResponseController(w).Flush}
	making, gone := context.WithCancel(ctx)
	defer gone()
	made := make(chan struct{})
	var beats sync.WaitGroup
	beats.Go(func() {
		if s.beat(made) != nil {
			gone()
		}
	})
	end := a.make(making, func(c report.Check) {
		if s.send(report.CheckEvent{Check: &c}) != nil {
			gone()
		}
	}, s.running)
	close(made)
	beats.Wait()
	a.log.Info("check ends", "failed", end.Count(report.CheckFailed), "warnings", end.Count(report.CheckWarning), "interrupted", end.Interrupted)
	return s.send(report.CheckEvent{End: &end})
}

// beatEvery is how often the client hears of the check, so that it can tell one
// that takes its time from one that is lost.
const beatEvery = time.Second

// stream sends events, line by line. It is safe for concurrent use.
type stream struct {
	current atomic.Pointer[string] // the check that is being made

	mu    sync.Mutex // guards what follows
	lines *json.Encoder
	flush func() error
}

func (s *stream) running(name string) { s.current.Store(&name) }

func (s *stream) send(e report.CheckEvent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.lines.Encode(e); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if err := s.flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// beat tells which check is being made, at once and then again and again until
// all have been. An error means that the client takes nothing any more.
func (s *stream) beat(made <-chan struct{}) error {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		running := "connect"
		if name := s.current.Load(); name != nil {
			running = *name
		}
		if err := s.send(report.CheckEvent{Running: running}); err != nil {
			return err
		}
		select {
		case <-made:
			return nil
		case <-ticker.C:
		}
	}
}
