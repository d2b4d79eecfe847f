//go:build integration

package read_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestReadFromARealStore(t *testing.T) {
	t.Parallel()
	bucket, err := store.Open(t.Context(), testenv.S3(t))
	if err != nil {
		t.Fatal(err)
	}
	for key, body := range map[string]string{logKey: "0123456789", "backups/shop2/secret": "not yours"} {
		if err := bucket.Put(t.Context(), key, strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, read.Config{Bucket: bucket})
	etag := r.do(t, http.MethodHead, "/"+logKey, nil).Header.Get("ETag")
	for name, test := range map[string]struct {
		target string
		header map[string]string
		status int
		body   string
	}{
		"whole":         {"/" + logKey, nil, 200, "0123456789"},
		"resumed":       {"/" + logKey, map[string]string{"Range": "bytes=7-", "If-Range": etag}, 206, "789"},
		"list":          {"/?prefix=backups/shop/", nil, 200, `["backups/shop/shop-logs.gz"]`},
		"another's key": {"/backups/shop2/secret", nil, 403, "key \"backups/shop2/secret\" isn't served here\n"},
	} {
		t.Run(name, func(t *testing.T) {
			response := r.do(t, http.MethodGet, test.target, test.header)
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != test.status || string(body) != test.body {
				t.Errorf("%d %q %v, want %d %q", response.StatusCode, body, err, test.status, test.body)
			}
		})
	}
	if response := r.do(t, http.MethodGet, "/backups/shop/none", nil); response.StatusCode != http.StatusNotFound {
		t.Errorf("missing object: %s", response.Status)
	}
}
