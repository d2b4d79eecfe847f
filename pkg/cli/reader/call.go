package reader

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// call is a request to the server in the pod.
type call struct {
	method string
	path   string // without its first slash
	query  url.Values
	header http.Header
}

// ask makes a request until it is answered, for a moment: a pod runs before the
// server in it listens, and connections break. An answer that isn't success is
// an error.
func (s *server) ask(ctx context.Context, c call) (*http.Response, error) {
	deadline := time.Now().Add(answerPatience)
	for {
		response, err := s.do(ctx, c)
		if err == nil {
			return success(response)
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(answerEvery):
		}
		if err := s.reconnect(ctx); err != nil {
			return nil, err
		}
	}
}

// reconnect opens the port-forward again if it has ended.
func (s *server) reconnect(ctx context.Context) error {
	if s.tunnel == nil {
		return nil
	}
	select {
	case <-s.tunnel.gone:
	default:
		return nil
	}
	s.client.CloseIdleConnections()
	return s.connect(ctx)
}

// success turns the refusals of the server into errors.
func success(response *http.Response) (*http.Response, error) {
	switch response.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return response, nil
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, ErrNotExist
	}
	const maxReason = 4 << 10
	reason, err := io.ReadAll(io.LimitReader(response.Body, maxReason))
	if err != nil || len(reason) == 0 {
		reason = []byte(response.Status)
	}
	return nil, errors.New(strings.TrimSpace(string(reason)))
}

func (s *server) do(ctx context.Context, c call) (*http.Response, error) {
	target, err := url.Parse(s.base)
	if err != nil {
		return nil, err
	}
	target.Path, target.RawQuery = "/"+c.path, c.query.Encode()
	request, err := http.NewRequestWithContext(ctx, c.method, target.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	for name, values := range c.header {
		request.Header[name] = values
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	return s.client.Do(request)
}
