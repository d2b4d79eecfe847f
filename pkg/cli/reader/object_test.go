package reader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/verify"
)

// objects is a bucket that can be read.
type objects struct {
	store.Bucket
	bodies map[string]string
}

func (o objects) Stat(_ context.Context, key string) (store.ObjectInfo, error) {
	body, ok := o.bodies[key]
	if !ok {
		return store.ObjectInfo{}, store.ErrNotExist
	}
	return store.ObjectInfo{Key: key, Size: int64(len(body)), ETag: fmt.Sprintf("%x", sha256.Sum256([]byte(body)))}, nil
}

func (o objects) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return o.GetRange(ctx, key, 0, -1)
}

func (o objects) GetRange(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	body, ok := o.bodies[key]
	if !ok {
		return nil, store.ErrNotExist
	}
	if length < 0 {
		length = int64(len(body))
	}
	return io.NopCloser(io.NewSectionReader(strings.NewReader(body), offset, length)), nil
}

func (o objects) List(_ context.Context, prefix string) iter.Seq2[store.ObjectInfo, error] {
	return func(yield func(store.ObjectInfo, error) bool) {
		for key := range o.bodies {
			if strings.HasPrefix(key, prefix) && !yield(store.ObjectInfo{Key: key}, nil) {
				return
			}
		}
	}
}

// served is a Reader of the server that runs in a reader Job.
func served(t *testing.T, bodies map[string]string) *Reader {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte("secret"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := read.Run(ctx, read.Config{Bucket: objects{bodies: bodies}, Prefixes: []string{"backups/shop/"}, TokenSHA256: hex.EncodeToString(hash[:]), Listener: listener})
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &Reader{server: &server{base: "http://" + listener.Addr().String(), token: "secret", client: &http.Client{Transport: &http.Transport{}}}}
}

func TestGetPart(t *testing.T) {
	t.Parallel()
	r := served(t, map[string]string{"backups/shop/x": "0123456789"})
	info, err := r.Stat(t.Context(), "backups/shop/x")
	if err != nil || info.Size != 10 || info.ETag == "" {
		t.Fatalf("%+v, %v", info, err)
	}
	cases := map[string]struct {
		part   Part
		want   string
		offset int64
	}{
		"all":              {Part{}, "0123456789", 0},
		"a part":           {Part{Offset: 3, Length: 4}, "3456", 3},
		"the first bytes":  {Part{Length: 2}, "01", 0},
		"the rest":         {Part{Offset: 7}, "789", 7},
		"the same content": {Part{Offset: 7, ETag: info.ETag}, "789", 7},
		"another content":  {Part{Offset: 7, ETag: `"other"`}, "0123456789", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			object, err := r.GetPart(t.Context(), "backups/shop/x", c.part)
			if err != nil {
				t.Fatal(err)
			}
			defer object.Close()
			body, err := io.ReadAll(object)
			if err != nil || string(body) != c.want || object.Offset != c.offset {
				t.Errorf("%q at %d, %v", body, object.Offset, err)
			}
		})
	}
	if _, err := r.GetPart(t.Context(), "backups/shop/x", Part{Offset: 10}); err == nil || !strings.Contains(err.Error(), "has 10 bytes") {
		t.Errorf("behind the end: %v", err)
	}
	if _, err := r.Stat(t.Context(), "backups/shop/none"); !errors.Is(err, ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := r.Stat(t.Context(), "backups/other/x"); err == nil || errors.Is(err, ErrNotExist) {
		t.Errorf("out of scope: %v", err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	const dir = "../../../testdata/fixtures/velero-1.18.0/shop"
	bodies := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		body, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		bodies["backups/shop/"+entry.Name()] = string(body)
	}
	var findings []verify.Severity
	summary, err := served(t, bodies).Verify(t.Context(), "shop", func(e verify.Event) error {
		if e.Finding != nil {
			findings = append(findings, e.Finding.Severity)
		}
		return nil
	})
	if diff := cmp.Diff([]verify.Severity{verify.Unchecked, verify.Unchecked}, findings); err != nil || !summary.Sound || diff != "" {
		t.Errorf("%+v, %v, %s", summary, err, diff)
	}
}

// TestVerifyBrokenOff: an answer without its last line proves nothing.
func TestVerifyBrokenOff(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer func(w http.ResponseWriter)
		want   string
	}{
		"nothing":       {func(http.ResponseWriter) {}, "broke off"},
		"no summary":    {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"progress":{"object":"x","bytes":1}}`) }, "broke off"},
		"half a line":   {func(w http.ResponseWriter) { fmt.Fprint(w, `{"summary":{"sound":tr`) }, "broke off"},
		"the job's end": {func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }, "deadline exceeded"},
		"the store":     {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"error":"verify backup \"b\": the store is away"}`) }, "the store is away"},
		"refused":       {func(w http.ResponseWriter) { http.Error(w, "isn't served here", http.StatusForbidden) }, "isn't served here"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), answerPatience/30)
			defer cancel()
			r := connected(t, func(w http.ResponseWriter, _ *http.Request) { c.answer(w) })
			summary, err := r.Verify(ctx, "b", func(verify.Event) error { return nil })
			if err == nil || summary.Sound || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v", summary, err)
			}
		})
	}
	gone := errors.New("closed")
	r := connected(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"finding":{"text":"x"}}`) })
	if _, err := r.Verify(t.Context(), "b", func(verify.Event) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}
