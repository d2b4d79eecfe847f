// Package read is the Job that lends the plugin a hand into a bucket: a small
// HTTP server in a pod, reached by port-forward, which serves the keys below the
// prefixes it was given to whoever knows the one-time token, and ends by itself.
// It needs no API token and writes nothing. Which keys to read and how to decode
// them is the plugin's business; only whether a backup is sound is found out here,
// so that not all of it goes to the client.
//
//	GET, HEAD /KEY      the object; one Range is served, If-Range is honoured
//	GET /?prefix=P      the keys below P, a JSON array of strings
//	GET /verify/BACKUP  what pkg/verify tells, one JSON verify.Event per line; the last
//	                    has a summary or an error, else the answer is torn
//	POST /done          ends the server
//
// Another Job may bring handlers of its own beside these or instead of a bucket,
// for what only it can tell, behind the same token.
package read

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	// Address is where the server listens: loopback, so that only a port-forward
	// into the pod reaches it.
	Address = "127.0.0.1:8080"

	defaultIdle  = 2 * time.Minute
	defaultGrace = 30 * time.Second
)

// Config is what one reader needs.
type Config struct {
	// Bucket is where the objects are; not needed without Prefixes.
	Bucket store.Bucket
	// Prefixes are the key prefixes that may be read, such as "backups/shop/".
	// One that doesn't end in "/" stands for that one key. None are needed where
	// there are Handlers.
	Prefixes []string
	// Handlers serve GET requests for these paths, such as "/preview".
	Handlers map[string]http.Handler
	// TokenSHA256 is the hexadecimal SHA-256 of the token that every request
	// must carry.
	TokenSHA256 string
	// Done ends the server when it is closed, as a client's POST /done does; may be
	// nil.
	Done <-chan struct{}
	// Idle ends the server when no authorized request ran for so long, and drops
	// a client that takes nothing for so long; 0 means two minutes.
	Idle time.Duration
	// Grace is what requests that run get to end when the server stops; 0 means
	// 30 seconds.
	Grace time.Duration
	// Listener, when set, is served instead of Address. Run closes it.
	Listener net.Listener
	// Log gets one line per request; nil means none.
	Log *slog.Logger
}

// Run serves until it is done, as a client or cfg.Done says, until nobody asked
// for cfg.Idle, or until ctx ends. The first two are Completed, the last is
// Cancelled. An error comes with outcome Usage (a setting is wrong) or Failed
// (the server couldn't listen or serve).
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	handler, err := newHandler(cfg)
	if err != nil {
		return failed(report.Usage, err)
	}
	listener := cfg.Listener
	if listener == nil {
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", Address); err != nil {
			return failed(report.Failed, fmt.Errorf("listen: %w", err))
		}
	}
	reason, err := serve(ctx, handler, listener, cfg)
	if err != nil {
		return failed(report.Failed, err)
	}
	handler.log.Info("reader ends", "reason", reason)
	if ctx.Err() != nil {
		return report.Summary{Outcome: report.Cancelled, Reason: reason}, nil
	}
	return report.Summary{Outcome: report.Completed}, nil
}

func failed(outcome report.Outcome, err error) (report.Summary, error) {
	return report.Summary{Outcome: outcome, Reason: err.Error(), Errors: 1}, err
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

// serve runs the server and says why it ended. Requests that run when it stops
// may end within cfg.Grace; what is left then is cut.
func serve(ctx context.Context, handler *handler, listener net.Listener, cfg Config) (string, error) {
	// A signal must not cut transfers that can still end in time, so requests
	// live on a context of their own.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       handler.idle.limit,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(handler.log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	handler.log.Info("reader serves", "address", listener.Addr().String(), "prefixes", handler.prefixes)
	handler.idle.start()

	var reason string
	select {
	case err := <-served:
		return "", fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
		reason = "stopped by a signal or a deadline"
	case <-handler.done:
		reason = "the client is done"
	case <-cfg.Done:
		reason = "what there was to tell is told"
	case <-handler.idle.expired:
		reason = fmt.Sprintf("no request for %s", handler.idle.limit)
	}
	if err := shutdown(ctx, server, orDefault(cfg.Grace, defaultGrace)); err != nil {
		return "", err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return "", fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	}
	return reason, nil
}

func shutdown(ctx context.Context, server *http.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}

// tokenHash is the SHA-256 of the one-time token; the token itself never comes
// near the server's settings.
type tokenHash [sha256.Size]byte

func parseTokenHash(text string) (tokenHash, error) {
	var hash tokenHash
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(hash) {
		return hash, fmt.Errorf("token hash: want %d hexadecimal digits", 2*len(hash))
	}
	return tokenHash(raw), nil
}
