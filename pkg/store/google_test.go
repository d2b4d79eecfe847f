package store

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// openGoogle opens credentials that are to be exchanged for a token at url.
func openGoogle(t *testing.T, url string) *Google {
	t.Helper()
	g, err := OpenGoogle(GoogleIdentity{CredentialsFile: writeFederation(t, url), Scope: "https://www.googleapis.com/auth/compute"})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGoogleSendsToken(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			answerJSON(w, map[string]any{"access_token": testToken, "token_type": "Bearer", "issued_token_type": "x", "expires_in": 3600})
		case r.Header.Get("Authorization") != "Bearer "+testToken:
			t.Errorf("authorized by %q", r.Header.Get("Authorization"))
		case r.URL.Path == "/away":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}
	}))
	t.Cleanup(server.Close)
	g := openGoogle(t, server.URL+"/token")
	for path, want := range map[string]int{"/": http.StatusOK, "/away": http.StatusFound} {
		resp, err := g.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != want {
			t.Errorf("%s: status %d, error %v", path, resp.StatusCode, err)
		}
	}
	if got := g.Scrub("it was\n" + testToken); strings.Contains(got, testToken) {
		t.Errorf("scrubbed: %s", got)
	}
}

func TestGoogleUniverse(t *testing.T) {
	t.Parallel()
	if got := openGoogle(t, "http://127.0.0.1:1/token").Universe(); got != defaultUniverse {
		t.Errorf("universe %q", got)
	}
	body, err := os.ReadFile(writeFederation(t, "http://127.0.0.1:1/token"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cloud")
	if err := os.WriteFile(file, []byte(strings.Replace(string(body), "{", `{"universe_domain":"apis.example",`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := OpenGoogle(GoogleIdentity{CredentialsFile: "/nowhere", ConfiguredFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if got := g.Universe(); got != "apis.example" {
		t.Errorf("universe %q", got)
	}
}

func TestGoogleExplain(t *testing.T) {
	t.Parallel()
	g := openGoogle(t, "http://127.0.0.1:1/token")
	_, noToken := g.Client().Get("http://127.0.0.1:1/")
	for name, test := range map[string]struct {
		err       error
		text      string
		temporary bool
	}{
		"no token":   {noToken, "get a token: ", true},
		"broken":     {syscall.ECONNRESET, "connection reset by peer", true},
		"too slow":   {context.Canceled, "no answer within 18s", true},
		"a mistake":  {errors.New("server gave HTTP response to HTTPS client"), "server gave HTTP", false},
		"the caller": {context.Canceled, "enough", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if name == "the caller" {
				cancel(errors.New("enough"))
			}
			got := g.Explain(ctx, test.err)
			if !strings.Contains(got.Text, test.text) || got.Temporary != test.temporary {
				t.Errorf("%+v", got)
			}
		})
	}
}
