package store

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// Google is how to reach another API of Google's than that of buckets: with the same
// credentials, the same care for the network, and a time limit for each request. It
// is safe for concurrent use.
type Google struct {
	tokens *gcsTokens
	client *http.Client
}

// GoogleIdentity says who is to ask.
type GoogleIdentity struct {
	// CredentialsFile is that of the location's credential; it is optional.
	CredentialsFile string
	// ConfiguredFile is the config key credentialsFile, used if there is no such
	// file as CredentialsFile. If both are empty, the SDK's own search counts.
	ConfiguredFile string
	// Scope is the URL of what the tokens are for.
	Scope string
}

// OpenGoogle reads the credentials. It sends nothing.
func OpenGoogle(id GoogleIdentity) (*Google, error) {
	l := Location{CredentialsFile: id.CredentialsFile}
	c := settings.GCS{CredentialsFile: id.ConfiguredFile}
	file, body, err := readGCSCredentials(l, c)
	if err != nil {
		return nil, err
	}
	// Other APIs have no setting for it: the credentials say which cloud it is.
	c.Universe = universeIn(body)
	transport, err := newTransport(l, false)
	if err != nil {
		return nil, err
	}
	g := &Google{}
	if g.tokens, err = openGoogleTokens(l, gcsUniverse(c), id.Scope, file, body); err != nil {
		return nil, err
	}
	g.client = &http.Client{
		Transport: &boundedTransport{&gcsTransport{base: transport, tokens: g.tokens}},
		// Google redirects nobody here, and whoever else does is not to get a token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return g, nil
}

// universeIn is the cloud that a credentials file is for; empty where it says none.
func universeIn(body []byte) string {
	var file struct {
		Universe string `json:"universe_domain"`
	}
	if json.Unmarshal(body, &file) != nil {
		return "" // whoever uses the file says so
	}
	return file.Universe
}

// Client sends requests with a token. It tries each once.
func (g *Google) Client() *http.Client { return g.client }

// Universe is the cloud's domain, such as "googleapis.com".
func (g *Google) Universe() string { return g.tokens.universe }

// Project is the project of the credentials; empty where they don't tell. It may ask
// a metadata server.
func (g *Google) Project(ctx context.Context) (string, error) {
	limited, cancel := withRequestTimeout(ctx)
	defer cancel()
	found, err := g.tokens.found(limited)
	if err != nil {
		return "", &credentialsError{err}
	}
	project, err := found.ProjectID(limited)
	if err != nil {
		return "", &credentialsError{err}
	}
	return project, nil
}

// Trouble is why a request got no answer.
type Trouble struct {
	// Text is one line and holds no secret.
	Text string
	// Hint is what to do about it, or empty.
	Hint string
	// Temporary says that the same request may succeed at once.
	Temporary bool
}

// Explain says why a request of Client got no answer. ctx is that of the request.
func (g *Google) Explain(ctx context.Context, err error) Trouble {
	if ctx.Err() == nil && errors.Is(err, context.Canceled) {
		// The limit of boundedTransport ended an answer in its middle.
		err = errors.Join(errTimeout, err)
	}
	e := &opError{cause: err}
	var credentials *credentialsError
	switch {
	case classifyCancelled(ctx, e):
		return Trouble{Text: e.detail}
	case errors.As(err, &credentials):
		classifyGoogleCredentials(ctx, e, credentials.err)
	default:
		classifyNetwork(ctx, e, networkHints{Reach: "check that Google's API can be reached from here", URL: "the API"})
	}
	return Trouble{Text: g.Scrub(e.detail), Hint: e.hint, Temporary: errors.Is(e.kind, ErrUnavailable) && !isMistake(err)}
}

// Scrub takes the secrets out of a text and makes it one line.
func (g *Google) Scrub(text string) string {
	return tokenLike.ReplaceAllString(scrub(text, g.tokens.secrets()...), "REDACTED")
}

// boundedTransport waits at most requestTimeout for the whole answer to a request.
type boundedTransport struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t *boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := withRequestTimeout(req.Context())
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errors.Join(errTimeout, err)
		}
		cancel()
		return nil, err
	}
	resp.Body = &cancelBody{ReadCloser: resp.Body, cancel: cancel}
	return resp, nil
}
