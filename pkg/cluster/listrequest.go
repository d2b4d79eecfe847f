package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// maxErrorText bounds what is kept of an error that isn't the API server's.
const maxErrorText = 2048

// requester sends GET requests. It doesn't use client-go's, which hides the
// headers and has retries of its own.
type requester struct {
	client  *http.Client
	base    *url.URL
	silence time.Duration
}

func newRequester(cfg *rest.Config, silence time.Duration) (*requester, error) {
	cfg = rest.CopyConfig(cfg)
	// The executor runs beside the API server: compressing would cost both sides
	// more time than it saves on the way.
	cfg.DisableCompression = true
	// One connection for each list: what a slow consumer leaves waits in the
	// kernel and not in this process, several cores decrypt, and with several API
	// servers each gets some. HTTP/2 has megabytes of buffer for each stream.
	cfg.NextProtos = []string{"http/1.1"}
	cfg.Timeout = 0 // a page lasts as long as its consumer
	if cfg.UserAgent == "" {
		cfg.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	return &requester{client: client, base: base, silence: silence}, nil
}

// target is what a request is about.
type target struct {
	resource schema.GroupResource
	name     string // empty for a list
	path     string
	query    url.Values
}

// get sends a request and returns the answer's body, which the caller closes. An
// answer other than success is an error.
func (r *requester) get(ctx context.Context, t target) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &answer{silence: r.silence, cancel: cancel, cause: func() error { return context.Cause(ctx) }}
	a.timer = time.AfterFunc(r.silence, func() { cancel(errSilent) })
	address := r.base.JoinPath(t.path)
	address.RawQuery = t.query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	request.Header.Set("Accept", "application/json")
	response, err := r.client.Do(request)
	a.timer.Stop()
	if err != nil {
		err = a.reason(err)
		_ = a.Close() // there is no body
		return nil, err
	}
	a.body = response.Body
	if response.StatusCode != http.StatusOK {
		err := statusError(response, a, t)
		_ = a.Close() // the answer is an error already
		return nil, err
	}
	return a, nil
}

// answer is the body of a response. A read fails when the API server keeps
// silent for too long; the time between reads doesn't count.
type answer struct {
	body    io.ReadCloser
	silence time.Duration
	timer   *time.Timer
	cancel  context.CancelCauseFunc
	cause   func() error // why the request was cancelled
}

func (a *answer) Read(p []byte) (int, error) {
	a.timer.Reset(a.silence)
	n, err := a.body.Read(p)
	a.timer.Stop()
	if err != nil && err != io.EOF {
		err = a.reason(err)
	}
	return n, err
}

// reason replaces the error that a cancelled request has by why it was cancelled.
func (a *answer) reason(err error) error {
	if cause := a.cause(); cause != nil {
		return cause
	}
	return err
}

// Close gives up what wasn't read.
func (a *answer) Close() error {
	a.timer.Stop()
	a.cancel(nil)
	if a.body == nil {
		return nil
	}
	return a.body.Close()
}

// requestError is an answer that isn't success.
type requestError struct {
	*apierrors.StatusError
	retryAfter time.Duration // 0 when the API server names none
}

// Unwrap returns the API server's error.
func (e *requestError) Unwrap() error { return e.StatusError }

func statusError(response *http.Response, body io.Reader, t target) error {
	text, err := io.ReadAll(io.LimitReader(body, 1<<20))
	if err != nil {
		text = nil // the code says enough
	}
	failed := &requestError{retryAfter: retryAfter(response.Header)}
	var status metav1.Status
	if json.Unmarshal(text, &status) == nil && status.Kind == "Status" && status.Status != metav1.StatusSuccess {
		failed.StatusError = &apierrors.StatusError{ErrStatus: status}
		failed.ErrStatus.Code = int32(response.StatusCode)
	} else {
		text = text[:min(len(text), maxErrorText)]
		failed.StatusError = apierrors.NewGenericServerResponse(response.StatusCode, "get", t.resource, t.name, string(text), 0, true)
	}
	if details := failed.ErrStatus.Details; failed.retryAfter == 0 && details != nil {
		failed.retryAfter = time.Duration(details.RetryAfterSeconds) * time.Second
	}
	return failed
}

// describe says what was tried.
func describe(verb string, t target, namespace string, err error) error {
	name := ""
	if t.name != "" {
		name = fmt.Sprintf(" %q", t.name)
	}
	if namespace != "" {
		namespace = fmt.Sprintf(" in namespace %q", namespace)
	}
	return fmt.Errorf("%s %s%s%s: %w", verb, t.resource, name, namespace, err)
}
