package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/httptransport"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// gcsScope lets read and write objects; what the account may really do is up to
// its roles.
const gcsScope = "https://www.googleapis.com/auth/devstorage.read_write"

// gcsCredentialTypes are the kinds of credentials files.
var gcsCredentialTypes = []credentials.CredType{
	credentials.ServiceAccount,
	credentials.ExternalAccount,
	credentials.AuthorizedUser,
	credentials.ImpersonatedServiceAccount,
	credentials.ExternalAccountAuthorizedUser,
}

// gcsTokens hands out access tokens and remembers secrets, so that they can be
// kept out of error texts. The SDK's credentials cache tokens and renew them
// before they expire.
type gcsTokens struct {
	// find gives the credentials; it may ask a metadata server.
	find     func() (*auth.Credentials, error)
	universe string
	inFile   []string // secrets

	mu          sync.Mutex
	credentials *auth.Credentials // guarded by mu; nil until they are found
	last        string            // guarded by mu; token
	previous    string            // guarded by mu; token
}

// openGCSTokens opens the tokens for a bucket. They are nil where the environment
// names an emulator and the location has no file.
func openGCSTokens(l Location, c settings.GCS) (*gcsTokens, error) {
	file, body, err := readGCSCredentials(l, c)
	if err != nil {
		return nil, err
	}
	if file == "" && os.Getenv(gcsEmulatorVariable) != "" {
		return nil, nil
	}
	return openGoogleTokens(l, gcsUniverse(c), gcsScope, file, body)
}

// openGoogleTokens reads the file, or else leaves it to the first request to look
// for an identity: that of the environment or of the pod.
func openGoogleTokens(l Location, universe, scope, file string, body []byte) (*gcsTokens, error) {
	// The certificate of the location's store says nothing of Google's: whoever
	// trusts any for the former gives no tokens away.
	transport, err := newTransport(l, false)
	if err != nil {
		return nil, err
	}
	options := &credentials.DetectOptions{Scopes: []string{scope}, Client: &http.Client{Transport: &tokenTransport{transport}}}
	tokens := &gcsTokens{universe: universe}
	if file == "" {
		tokens.find = func() (*auth.Credentials, error) { return credentials.DetectDefault(options) }
		return tokens, nil
	}
	found, err := parseGCSCredentials(file, body, options)
	if err != nil {
		return nil, err
	}
	tokens.find = func() (*auth.Credentials, error) { return found, nil }
	tokens.inFile = secretsIn(body)
	return tokens, nil
}

// tokenTransport makes errors of the refusals of token servers: of the SDK's many
// ways to a token, each has its own for them, or none.
type tokenTransport struct{ base http.RoundTripper }

// tokenRefusal is a token server's answer that is no token.
type tokenRefusal struct {
	status int
	text   string    // its beginning
	date   time.Time // of the answer, or zero
}

func (e *tokenRefusal) Error() string {
	return fmt.Sprintf("the token server answers with HTTP status %d: %s", e.status, e.text)
}

func (e *tokenRefusal) temporary() bool {
	return e.status >= 500 || e.status == http.StatusTooManyRequests || e.status == http.StatusRequestTimeout
}

// RoundTrip implements http.RoundTripper.
func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	const most = 1024
	resp, err := t.base.RoundTrip(req)
	if err != nil || resp.StatusCode < http.StatusBadRequest {
		return resp, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, err
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		date = time.Time{} // it tells none
	}
	return nil, &tokenRefusal{status: resp.StatusCode, text: scrub(string(text)), date: date}
}

// readGCSCredentials picks the file to use, or none. The one that the location's
// mount may have brought is optional; the one named in config is not.
func readGCSCredentials(l Location, c settings.GCS) (file string, body []byte, err error) {
	if l.CredentialsFile != "" {
		body, err := os.ReadFile(l.CredentialsFile)
		if err == nil {
			return l.CredentialsFile, body, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, fmt.Errorf("read credentials file: %w", err)
		}
	}
	if c.CredentialsFile == "" {
		return "", nil, nil
	}
	if body, err = os.ReadFile(c.CredentialsFile); err != nil {
		return "", nil, fmt.Errorf("config key \"credentialsFile\": %w", err)
	}
	return c.CredentialsFile, body, nil
}

// parseGCSCredentials never quotes the file.
func parseGCSCredentials(file string, body []byte, options *credentials.DetectOptions) (*auth.Credentials, error) {
	var header struct {
		Type credentials.CredType `json:"type"`
	}
	if err := json.Unmarshal(body, &header); err != nil {
		return nil, fmt.Errorf("credentials file %q is not JSON; hint: it is the key file of a service account, as \"gcloud iam service-accounts keys create\" writes it", file)
	}
	if !slices.Contains(gcsCredentialTypes, header.Type) {
		return nil, fmt.Errorf("credentials file %q is of no known type; hint: its \"type\" must be one of %q", file, gcsCredentialTypes)
	}
	found, err := credentials.NewCredentialsFromJSON(header.Type, body, options)
	if err != nil {
		return nil, fmt.Errorf("credentials file %q is not valid for type %q: %s", file, header.Type, scrub(err.Error(), secretsIn(body)...))
	}
	return found, nil
}

// secretsIn are the values in a credentials file that must never be shown.
func secretsIn(body []byte) []string {
	var file struct {
		PrivateKey   string `json:"private_key"`
		RefreshToken string `json:"refresh_token"`
		ClientSecret string `json:"client_secret"`
		Source       struct {
			PrivateKey   string `json:"private_key"`
			RefreshToken string `json:"refresh_token"`
			ClientSecret string `json:"client_secret"`
		} `json:"source_credentials"`
	}
	if err := json.Unmarshal(body, &file); err != nil {
		return nil
	}
	var secrets []string
	for _, s := range []string{
		file.PrivateKey, file.RefreshToken, file.ClientSecret,
		file.Source.PrivateKey, file.Source.RefreshToken, file.Source.ClientSecret,
	} {
		if s != "" {
			// Texts are made one line before secrets are looked for.
			secrets = append(secrets, strings.Join(strings.Fields(s), " "))
		}
	}
	return secrets
}

// sign returns the request with the token that it needs. Whoever has it waits at
// most requestTimeout for one.
func (k *gcsTokens) sign(req *http.Request) (*http.Request, error) {
	ctx := req.Context()
	if !isBounded(ctx) {
		limited, cancel := withRequestTimeout(ctx)
		defer cancel()
		ctx = limited
	}
	signed, err := k.signWithin(ctx, req)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		err = errors.Join(errTimeout, err)
	}
	if err != nil {
		return nil, &credentialsError{err}
	}
	return signed, nil
}

func (k *gcsTokens) signWithin(ctx context.Context, req *http.Request) (*http.Request, error) {
	found, err := k.found(ctx)
	if err != nil {
		return nil, err
	}
	token, err := found.Token(ctx)
	if err != nil {
		return nil, err
	}
	quotaProject, err := found.QuotaProjectID(ctx)
	if err != nil {
		return nil, err
	}
	k.remember(token.Value)
	signed := req.Clone(req.Context())
	httptransport.SetAuthHeader(token, signed)
	if quotaProject != "" {
		signed.Header.Set("X-Goog-User-Project", quotaProject)
	}
	return signed, nil
}

// universeError is an identity of another cloud than the location's.
type universeError struct{ configured, found string }

func (e *universeError) Error() string {
	return fmt.Sprintf("the credentials belong to the universe %q, the location to %q", e.found, e.configured)
}

// found looks for credentials once it is asked, until there are some.
func (k *gcsTokens) found(ctx context.Context) (*auth.Credentials, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.credentials != nil {
		return k.credentials, nil
	}
	found, err := k.find()
	if err != nil {
		return nil, err
	}
	universe, err := found.UniverseDomain(ctx)
	if err != nil {
		return nil, err
	}
	if universe != k.universe {
		return nil, &universeError{configured: k.universe, found: universe}
	}
	k.credentials = found
	return found, nil
}

// remember keeps the last two tokens: an answer may still quote the one before.
func (k *gcsTokens) remember(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if token != k.last {
		k.last, k.previous = token, k.last
	}
}

// secrets are what must not appear in a text.
func (k *gcsTokens) secrets() []string {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return append(slices.Clone(k.inFile), k.last, k.previous)
}
