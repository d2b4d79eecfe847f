// Package answer is how a Job tells the plugin what it finds out, as it finds it out:
// one answer of JSON lines to the first client that asks, through package read's
// server. The last line says that it is the last; an answer without it is torn.
package answer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/read"
)

const (
	// beatEvery is how often the client hears of the Job, so that it can tell work
	// that takes its time from a Job that is lost.
	beatEvery = time.Second
	// flushEvery is how long a line may wait for others, at most until the next beat.
	flushEvery = 50 * time.Millisecond
)

// Config says what is answered. Event is a line of the answer.
type Config[Event any] struct {
	// Path is where the answer is served; Noun is how messages call what is made.
	Path, Noun string
	// Make finds out what is to be told: it calls send for each line, perhaps from
	// several goroutines, and returns the last line. An error of send means that
	// nobody listens any more; ctx ends then, too.
	Make func(ctx context.Context, query url.Values, send func(Event) error) Event
	// Beat tells how far Make is. It may be called at any time.
	Beat func() Event
	// Server is package read's; Handlers and Done are filled in here.
	Server read.Config
}

// Run gives the answer once, to the first client that asks. It is Completed when the
// client was answered, whatever the answer, or when nobody asked; and Cancelled when
// ctx ended or the client went away. A second client is refused.
func Run[Event any](ctx context.Context, cfg Config[Event]) (report.Summary, error) {
	a := &answer[Event]{Config: cfg, log: cfg.Server.Log, told: make(chan struct{})}
	server := cfg.Server
	server.Handlers = map[string]http.Handler{cfg.Path: a.handler(ctx)}
	server.Done = a.told
	summary, err := read.Run(ctx, server)
	if err == nil && summary.Outcome == report.Completed && a.broken.Load() {
		return report.Summary{Outcome: report.Cancelled, Reason: "the client went away"}, nil
	}
	return summary, err
}

type answer[Event any] struct {
	Config[Event]
	log   *slog.Logger
	begun atomic.Bool
	// broken is set when the client didn't get all of it.
	broken atomic.Bool
	// told is closed when it has been given, as far as the client took it.
	told chan struct{}
}

// handler answers the first request, until ctx or the client is gone.
func (a *answer[Event]) handler(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.begun.Swap(true) {
			http.Error(w, fmt.Sprintf("this Job makes one %s, and has begun it", a.Noun), http.StatusConflict)
			return
		}
		defer close(a.told)
		client, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		err := a.tell(client, w, r.URL.Query())
		if err == nil {
			err = r.Context().Err()
		}
		if err != nil {
			a.broken.Store(true)
			a.log.Warn(a.Noun+" broke off", "error", err)
		}
	})
}

// tell makes what is to be told and sends it as it comes. An error means that the
// client didn't get all of it.
func (a *answer[Event]) tell(ctx context.Context, w http.ResponseWriter, query url.Values) error {
	w.Header().Set("Content-Type", "application/x-ndjson")
	s := &stream{lines: json.NewEncoder(w), flush: http.NewResponseController(w).Flush}
	making, gone := context.WithCancel(ctx)
	defer gone()
	made := make(chan struct{})
	var beats sync.WaitGroup
	beats.Go(func() {
		if a.beat(s, made) != nil {
			gone()
		}
	})
	last := a.Make(making, query, func(e Event) error {
		err := s.send(e, false)
		if err != nil {
			gone()
		}
		return err
	})
	close(made)
	beats.Wait()
	return s.send(last, true)
}

// beat tells how far the work is, at once and then again and again until it is made.
// An error means that the client takes nothing any more.
func (a *answer[Event]) beat(s *stream, made <-chan struct{}) error {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		if err := s.send(a.Beat(), true); err != nil {
			return err
		}
		select {
		case <-made:
			return nil
		case <-ticker.C:
		}
	}
}

// stream sends lines. It is safe for concurrent use.
type stream struct {
	mu      sync.Mutex // guards what follows
	lines   *json.Encoder
	flush   func() error
	flushed time.Time
}

// send writes one line; it goes out now, or with others that follow closely.
func (s *stream) send(line any, now bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.lines.Encode(line); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if !now && time.Since(s.flushed) < flushEvery {
		return nil
	}
	if err := s.flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("answer: %w", err)
	}
	s.flushed = time.Now()
	return nil
}
