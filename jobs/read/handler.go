package read

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// handler answers requests. It does its own routing: a ServeMux would answer
// unclean paths with a redirect to another key.
type handler struct {
	bucket   store.Bucket
	prefixes scope
	more     map[string]http.Handler
	token    tokenHash
	idle     *idle
	log      *slog.Logger
	// done is closed, once, when a client says that it is done.
	done   chan struct{}
	finish func()
}

func newHandler(cfg Config) (*handler, error) {
	prefixes, err := parseScope(cfg.Prefixes)
	if err != nil {
		return nil, err
	}
	if len(prefixes)+len(cfg.Handlers) == 0 {
		return nil, errors.New("no prefix to serve")
	}
	token, err := parseTokenHash(cfg.TokenSHA256)
	if err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	done := make(chan struct{})
	return &handler{
		bucket:   cfg.Bucket,
		prefixes: prefixes,
		more:     cfg.Handlers,
		token:    token,
		idle:     newIdle(orDefault(cfg.Idle, defaultIdle)),
		log:      log,
		done:     done,
		finish:   sync.OnceFunc(func() { close(done) }),
	}, nil
}

// ServeHTTP checks the token, then hands on. Only what carries the token keeps
// the server alive.
func (h *handler) ServeHTTP(plain http.ResponseWriter, r *http.Request) {
	w := patientWriter{ResponseWriter: plain, patience: h.idle.limit}
	if err := w.wait(); err != nil {
		h.log.Warn("request refused", "reason", err.Error())
		return
	}
	if !h.authorized(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		h.refuse(w, r, http.StatusUnauthorized, errors.New("wrong or no token"))
		return
	}
	defer h.idle.begin()()
	readOnly := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case r.URL.Path == "/done" && r.Method == http.MethodPost:
		w.WriteHeader(http.StatusNoContent)
		h.finish()
	case !readOnly:
		w.Header().Set("Allow", "GET, HEAD")
		h.refuse(w, r, http.StatusMethodNotAllowed, fmt.Errorf("method %s isn't served here", r.Method))
	case h.more[r.URL.Path] != nil && r.Method == http.MethodGet:
		h.more[r.URL.Path].ServeHTTP(w, r)
	case r.URL.Path == "/":
		h.list(w, r, r.URL.Query().Get("prefix"))
	case strings.HasPrefix(r.URL.Path, verifyPath):
		h.verify(w, r, strings.TrimPrefix(r.URL.Path, verifyPath))
	default:
		h.object(w, r, strings.TrimPrefix(r.URL.Path, "/"))
	}
}

// authorized compares hashes, in constant time, so neither the token's length
// nor its content can be learnt from the time an answer takes.
func (h *handler) authorized(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], h.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// refuse answers with a plain text reason. Neither headers nor the query are
// logged.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, status int, reason error) {
	h.log.Warn("request refused", "method", r.Method, "path", r.URL.Path, "status", status, "reason", reason.Error())
	http.Error(w, reason.Error(), status)
}

// fail answers with what the store said.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadGateway
	if errors.Is(err, store.ErrNotExist) {
		status = http.StatusNotFound
	}
	h.refuse(w, r, status, err)
}

func (h *handler) list(w http.ResponseWriter, r *http.Request, prefix string) {
	if !h.prefixes.hasPrefix(prefix) {
		h.refuse(w, r, http.StatusForbidden, fmt.Errorf("prefix %q isn't served here", prefix))
		return
	}
	// The whole list is gathered first: a failure in the middle must not look
	// like a short list.
	keys := []string{}
	for info, err := range h.bucket.List(r.Context(), prefix) {
		if err != nil {
			h.fail(w, r, err)
			return
		}
		keys = append(keys, info.Key)
	}
	body, err := json.Marshal(keys)
	if err != nil {
		h.fail(w, r, fmt.Errorf("encode the keys below %q: %w", prefix, err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		h.send(w, r, strings.NewReader(string(body)), int64(len(body)))
	}
}

func (h *handler) object(w http.ResponseWriter, r *http.Request, key string) {
	if !h.prefixes.hasKey(key) {
		h.refuse(w, r, http.StatusForbidden, fmt.Errorf("key %q isn't served here", key))
		return
	}
	info, err := h.bucket.Stat(r.Context(), key)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	etag := describe(w.Header(), info)
	part, partial, satisfiable := wanted(r.Header, etag, info.Size)
	if !satisfiable {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", info.Size))
		h.refuse(w, r, http.StatusRequestedRangeNotSatisfiable, fmt.Errorf("%q has %d bytes", key, info.Size))
		return
	}
	// The object is opened before the status line is sent, so what goes wrong
	// still becomes an answer.
	body := io.NopCloser(io.Reader(http.NoBody))
	if r.Method == http.MethodGet {
		if body, err = h.open(r.Context(), key, part, partial); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	w.Header().Set("Content-Length", strconv.FormatInt(part.length, 10))
	if partial {
		w.Header().Set("Content-Range", part.contentRange(info.Size))
		w.WriteHeader(http.StatusPartialContent)
	}
	if r.Method == http.MethodGet {
		h.send(w, r, body, part.length)
	}
	if err := body.Close(); err != nil {
		h.log.Warn("object not closed", "path", r.URL.Path, "error", err)
	}
}

func (h *handler) open(ctx context.Context, key string, part span, partial bool) (io.ReadCloser, error) {
	if partial {
		return h.bucket.GetRange(ctx, key, part.offset, part.length)
	}
	return h.bucket.Get(ctx, key)
}

// describe sets the headers that tell what the object is and returns its ETag.
func describe(header http.Header, info store.ObjectInfo) (etag string) {
	header.Set("Accept-Ranges", "bytes")
	header.Set("Content-Type", "application/octet-stream")
	if !info.ModTime.IsZero() {
		header.Set("Last-Modified", info.ModTime.UTC().Format(http.TimeFormat))
	}
	if opaque := strings.Trim(info.ETag, `"`); opaque != "" {
		etag = `"` + opaque + `"`
		header.Set("ETag", etag)
	}
	return etag
}

// send copies length bytes to the client. After a failure net/http cuts the
// connection, since the announced length isn't reached; so the client notices.
func (h *handler) send(w http.ResponseWriter, r *http.Request, body io.Reader, length int64) {
	n, err := io.CopyN(w, body, length)
	if err != nil {
		h.log.Warn("transfer broke off", "path", r.URL.Path, "sentBytes", n, "error", err)
		return
	}
	h.log.Info("served", "method", r.Method, "path", r.URL.Path, "sentBytes", n)
}

// patientWriter gives the client patience for each write, so that a client that
// went away or stands still doesn't keep the pod running.
type patientWriter struct {
	http.ResponseWriter
	patience time.Duration
}

// wait gives the next write its time. A writer that knows no deadlines has none.
func (w patientWriter) wait() error {
	err := http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.patience))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("limit the time of a write: %w", err)
	}
	return nil
}

// Unwrap lets an http.ResponseController flush.
func (w patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write gives up after the patience of w.
func (w patientWriter) Write(p []byte) (int, error) {
	if err := w.wait(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}
