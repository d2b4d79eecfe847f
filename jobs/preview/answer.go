package preview

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

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// answer is given once.
type answer struct {
	make    Func
	restore *velerov1.Restore
	log     *slog.Logger
	begun   atomic.Bool
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
			http.Error(w, "this Job makes one preview, and has begun it", http.StatusConflict)
			return
		}
		defer close(a.told)
		client, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		err := a.tell(client, w, r.URL.Query().Get("diff") == "true")
		if err == nil {
			err = r.Context().Err()
		}
		if err != nil {
			a.broken.Store(true)
			a.log.Warn("preview broke off", "error", err)
		}
	})
}

// tell makes the preview and sends it as it comes. An error means that the
// client didn't get all of it.
func (a *answer) tell(ctx context.Context, w http.ResponseWriter, diff bool) error {
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
	end := a.make(making, a.restore, diff, s.item, s.progress)
	close(made)
	beats.Wait()
	if err := s.send(report.PreviewEvent{End: &end}); err != nil {
		return err
	}
	a.log.Info("preview told", "reason", end.Reason, "counts", end.Counts, "warnings", len(end.Warnings), "errors", len(end.Errors))
	return s.sync()
}

// beatEvery is how often the client hears of the preview, so that it can tell one
// that takes its time from one that is lost.
const beatEvery = time.Second

// stream sends events, line by line. It is safe for concurrent use.
type stream struct {
	done atomic.Int64 // objects that were looked at

	mu    sync.Mutex // guards what follows
	lines *json.Encoder
	flush func() error
}

func (s *stream) send(e report.PreviewEvent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.lines.Encode(e); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

func (s *stream) sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

func (s *stream) item(item report.PreviewItem) error { return s.send(report.PreviewEvent{Item: &item}) }

func (s *stream) progress(done int) { s.done.Store(int64(done)) }

// beat tells how far the preview is, at once and then again and again until it
// has been made. An error means that the client takes nothing any more.
func (s *stream) beat(made <-chan struct{}) error {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		done := int(s.done.Load())
		if err := s.send(report.PreviewEvent{Progress: &done}); err != nil {
			return err
		}
		if err := s.sync(); err != nil {
			return err
		}
		select {
		case <-made:
			return nil
		case <-ticker.C:
		}
	}
}
