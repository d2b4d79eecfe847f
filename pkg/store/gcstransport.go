package store

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxSilentReads is how many requests in a row may bring no byte of an object's
// content before reading it is given up: the SDK takes up a broken read for ever.
const maxSilentReads = maxResumes * maxAttempts

// errNoProgress ends the reading of an object whose connections all break.
var errNoProgress = errors.New("every connection breaks before a byte has come")

// gcsTransport sends the requests of the SDK: it adds the token, bounds the wait
// for an answer that should come soon, and lets an exchange look on.
type gcsTransport struct {
	base   http.RoundTripper
	tokens *gcsTokens // may be nil
}

// RoundTrip implements http.RoundTripper.
func (t *gcsTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	signed, err := t.prepare(req, x)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // the error says more
		}
		return nil, err
	}
	resp, err := t.send(signed)
	if err != nil {
		return nil, err
	}
	x.answered(req, resp)
	return resp, nil
}

func (t *gcsTransport) prepare(req *http.Request, x *exchange) (*http.Request, error) {
	if isContent(req) && !x.mayRead() {
		return nil, errNoProgress
	}
	if t.tokens == nil {
		return req, nil
	}
	return t.tokens.sign(req)
}

// send waits at most requestTimeout for the beginning of an answer to a request
// that moves little. What is sent or read besides takes as long as it takes.
func (t *gcsTransport) send(req *http.Request) (*http.Response, error) {
	if !isBrief(req) {
		return t.base.RoundTrip(req)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	limited, stop := limitWait(ctx, cancel)
	resp, err := t.base.RoundTrip(req.WithContext(limited))
	stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errors.Join(errTimeout, err)
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &cancelBody{ReadCloser: resp.Body, cancel: func() { cancel(nil) }}
	return resp, nil
}

// isBrief says that nothing bounds the request yet and that its answer can begin
// at once: it begins an upload, or has no body.
func isBrief(req *http.Request) bool {
	if isBounded(req.Context()) {
		return false
	}
	return beginsUpload(req) || req.Method == http.MethodGet || req.Method == http.MethodDelete
}

// isBounded says that a time limit of ours is set.
func isBounded(ctx context.Context) bool {
	_, bounded := ctx.Value(requestLimitKey{}).(*requestLimit)
	return bounded
}

// beginsUpload says that the answer names the session of a resumable upload.
func beginsUpload(req *http.Request) bool {
	query := req.URL.Query()
	return req.Method == http.MethodPost && query.Get("uploadType") == "resumable" && query.Get("upload_id") == ""
}

// isContent says that the request asks for the content of an object.
func isContent(req *http.Request) bool {
	return req.Method == http.MethodGet && req.URL.Query().Get("alt") == "media"
}

// cancelBody frees a request's context when its answer is closed.
type cancelBody struct {
	io.ReadCloser
	cancel func()
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// exchange is what one call of the SDK does on the wire, as far as the SDK doesn't
// tell. A nil one sees nothing.
type exchange struct {
	mu      sync.Mutex
	session string    // guarded by mu; where the upload goes that was begun
	date    time.Time // guarded by mu; the server's clock at its last answer
	silent  int       // guarded by mu; requests for content in a row that brought none
}

type exchangeKey struct{}

func withExchange(ctx context.Context) (context.Context, *exchange) {
	x := &exchange{}
	return context.WithValue(ctx, exchangeKey{}, x), x
}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// mayRead counts a request for content.
func (x *exchange) mayRead() bool {
	if x == nil {
		return true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.silent++
	return x.silent <= maxSilentReads
}

func (x *exchange) answered(req *http.Request, resp *http.Response) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		x.date = date.UTC()
	}
	if beginsUpload(req) && resp.StatusCode == http.StatusOK {
		x.session = resp.Header.Get("Location")
	}
	if isContent(req) {
		resp.Body = &contentBody{ReadCloser: resp.Body, exchange: x}
	}
}

// began says where the upload goes, if it was begun.
func (x *exchange) began() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.session
}

// serverTime is the server's clock at its last answer, or zero.
func (x *exchange) serverTime() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.date
}

// contentBody tells its exchange that content has come.
type contentBody struct {
	io.ReadCloser
	exchange *exchange
}

func (b *contentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.exchange.mu.Lock()
		b.exchange.silent = 0
		b.exchange.mu.Unlock()
	}
	return n, err
}
