package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// namePatience is how long a name server may fail before we do, too: while a
	// cluster's DNS restarts, a backup goes on.
	namePatience = 25 * time.Second
	// namePause is the time between two questions.
	namePause = 500 * time.Millisecond
)

// dialer connects like net.Dialer, and goes on when names can't be looked up: at
// the address that answered last, or after a wait. A name server's answer that
// there is no such name counts at once, unless the name has had an address.
type dialer struct {
	net.Dialer
	patience time.Duration

	mu   sync.Mutex
	last map[string]string // guarded by mu; the address of each name, with ports
}

func newDialer() *dialer {
	return &dialer{Dialer: net.Dialer{Timeout: dialTimeout}, patience: namePatience, last: map[string]string{}}
}

// nameError is a host whose name couldn't be looked up for so long that asking
// again at once is of no use.
type nameError struct {
	waited time.Duration
	err    error
}

func (e *nameError) Error() string {
	return fmt.Sprintf("%v (asked for %s)", e.err, e.waited.Round(time.Second))
}
func (e *nameError) Unwrap() error { return e.err }

// NonRetriable tells Azure's SDK not to repeat the request.
func (e *nameError) NonRetriable() {}

// DialContext connects to host:port; the connection breaks when it stalls.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last[address] = conn.RemoteAddr().String()
	return &stallConn{Conn: conn, timeout: stallTimeout}, nil
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	for start := time.Now(); ; pause(ctx, namePause) {
		conn, err := d.Dialer.DialContext(ctx, network, address)
		if err == nil {
			return conn, nil
		}
		var dns *net.DNSError
		if !errors.As(err, &dns) || ctx.Err() != nil {
			return nil, err
		}
		known := d.lastAddress(address)
		if known != "" {
			if conn, err := d.Dialer.DialContext(ctx, network, known); err == nil {
				return conn, nil
			}
		}
		waited := time.Since(start)
		switch {
		case dns.IsNotFound && known == "":
			return nil, err
		case waited+namePause > d.patience:
			return nil, &nameError{waited, err}
		}
		bearWith(ctx, d.patience)
	}
}

func (d *dialer) lastAddress(address string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last[address]
}

// requestTimeout bounds, with all its attempts, a request that moves little
// data: a store that is down is reported within 20 seconds.
const requestTimeout = 18 * time.Second

// errTimeout is the cause with which a request of ours is given up.
var errTimeout = errors.New("no answer in time")

// requestLimit is the time limit of one request. It travels in the request's
// context, where the dialer finds it.
type requestLimit struct {
	end   time.Time
	timer *time.Timer

	mu    sync.Mutex
	fixed bool // guarded by mu; it was put off, or is over
}

type requestLimitKey struct{}

// withRequestTimeout bounds one request with all its attempts to requestTimeout.
// While a name server fails, which says nothing about the store, it may take
// namePatience more.
func withRequestTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	ctx, stop := limitWait(ctx, cancel)
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// limitWait cancels with errTimeout after requestTimeout, unless stop is called
// before.
func limitWait(ctx context.Context, cancel context.CancelCauseFunc) (limited context.Context, stop func()) {
	limit := &requestLimit{
		end:   time.Now().Add(requestTimeout),
		timer: time.AfterFunc(requestTimeout, func() { cancel(errTimeout) }),
	}
	return context.WithValue(ctx, requestLimitKey{}, limit), limit.stop
}

func (l *requestLimit) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fixed = true
	l.timer.Stop()
}

// bearWith gives the request of ctx more time, once.
func bearWith(ctx context.Context, d time.Duration) {
	l, ok := ctx.Value(requestLimitKey{}).(*requestLimit)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.fixed && l.timer.Stop() {
		l.timer.Reset(time.Until(l.end.Add(d)))
	}
	l.fixed = true
}
