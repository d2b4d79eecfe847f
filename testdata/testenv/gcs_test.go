//go:build integration

package testenv_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestGCSBucketsAreApart(t *testing.T) {
	one, two := testenv.GCS(t), testenv.GCS(t)
	if one.Bucket == two.Bucket || one.Config["storeEndpoint"] != two.Config["storeEndpoint"] {
		t.Errorf("%+v, %+v", one, two)
	}
	bucket, err := store.Open(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Create(t.Context(), "k", nil); err != nil {
		t.Error(err)
	}
}

// TestGCSAsksForTokens since the server behind it takes anybody.
func TestGCSAsksForTokens(t *testing.T) {
	server, err := testenv.StartGCS(t.Context(), testenv.GCSOptions{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := server.CreateBucket(t.Context(), "bucket", false); err != nil {
		t.Fatal(err)
	}
	good := server.IssueToken()
	revoked := server.IssueToken()
	for _, step := range []struct {
		token string
		want  int
	}{{"", http.StatusUnauthorized}, {"made-up", http.StatusUnauthorized}, {good, http.StatusOK}} {
		if got := listWith(t, server, step.token); got != step.want {
			t.Errorf("token %q: status %d, want %d", step.token, got, step.want)
		}
	}
	server.RevokeTokens()
	if got := listWith(t, server, revoked); got != http.StatusUnauthorized {
		t.Errorf("revoked token: status %d", got)
	}
	resp, err := http.Post(server.TokenURL, "application/x-www-form-urlencoded", strings.NewReader("grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a.b.c"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("wrong assertion: status %d", resp.StatusCode)
	}
}

func listWith(t *testing.T, server *testenv.GCSServer, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/storage/v1/b/bucket/o", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
