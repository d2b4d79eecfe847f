package read_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/verify"
)

// veleros is the backup "shop" that Velero wrote.
func veleros(t *testing.T) fakeBucket {
	t.Helper()
	const dir = "../../testdata/fixtures/velero-1.18.0/shop"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := fakeBucket{objects: map[string]string{}}
	for _, entry := range entries {
		body, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b.objects["backups/shop/"+entry.Name()] = string(body)
	}
	return b
}

func events(t *testing.T, response *http.Response) []verify.Event {
	t.Helper()
	var all []verify.Event
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		var e verify.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		all = append(all, e)
	}
	return all
}

func TestVerify(t *testing.T) {
	t.Parallel()
	whole := veleros(t)
	r := start(t, read.Config{Bucket: whole})
	all := events(t, r.do(t, http.MethodGet, "/verify/shop", nil))
	last := all[len(all)-1]
	if last.Summary == nil || !last.Summary.Sound || last.Summary.Items != 80 {
		t.Errorf("%+v", last)
	}
	cut := veleros(t)
	cut.objects["backups/shop/shop.tar.gz"] = cut.objects["backups/shop/shop.tar.gz"][:9000]
	r = start(t, read.Config{Bucket: cut})
	all = events(t, r.do(t, http.MethodGet, "/verify/shop", nil))
	if last := all[len(all)-1]; last.Summary == nil || last.Summary.Sound || last.Summary.Broken == 0 {
		t.Errorf("%+v", last)
	}
}

func TestVerifyTellsWhenItCould(t *testing.T) {
	t.Parallel()
	away := errors.New("the store is away")
	broken := veleros(t)
	broken.get = func(_ context.Context, key string) (io.ReadCloser, error) {
		if strings.HasSuffix(key, ".tar.gz") {
			return nil, away
		}
		return io.NopCloser(strings.NewReader(broken.objects[key])), nil
	}
	unlisted := fakeBucket{list: func(context.Context, string) iter.Seq2[store.ObjectInfo, error] {
		return func(yield func(store.ObjectInfo, error) bool) { yield(store.ObjectInfo{}, away) }
	}}
	for _, bucket := range []fakeBucket{broken, unlisted} {
		all := events(t, start(t, read.Config{Bucket: bucket}).do(t, http.MethodGet, "/verify/shop", nil))
		if last := all[len(all)-1]; last.Summary != nil || !strings.Contains(last.Error, away.Error()) {
			t.Errorf("%+v", last)
		}
	}
}

func TestVerifyStaysInScope(t *testing.T) {
	t.Parallel()
	r := start(t, read.Config{Bucket: shop()})
	for _, target := range []string{"/verify/shop2", "/verify/", "/verify/shop/x", "/verify/../shop", "/verify/..%2fshop"} {
		if response := r.do(t, http.MethodGet, target, nil); response.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", target, response.Status)
		}
	}
	if response := r.do(t, http.MethodHead, "/verify/shop", nil); response.StatusCode != http.StatusOK {
		t.Errorf("HEAD: %s", response.Status)
	}
}
