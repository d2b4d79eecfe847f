package store

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// breaking serves content under ranges and hangs up after every piece of a
// request, until that many requests have come.
func breaking(content []byte, piece int, requests *atomic.Int32, etag func(request int32) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if want := r.Header.Get("If-Match"); want != "" && want != etag(n) {
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed", "changed")
			return
		}
		w.Header().Set("Etag", etag(n))
		w.Header().Set("X-Amz-Checksum-Type", "COMPOSITE")
		http.ServeContent(&limitedWriter{w, piece}, r, "", time.Time{}, bytes.NewReader(content))
	}
}

// limitedWriter hangs up after so many bytes.
type limitedWriter struct {
	http.ResponseWriter
	left int
}

func (w *limitedWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b[:min(len(b), w.left)])
	w.left -= n
	if err == nil && n < len(b) {
		if f, ok := w.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func TestReadGoesOnAfterABreak(t *testing.T) {
	t.Parallel()
	content := randomBytes(1 << 20)
	for name, bounds := range map[string][2]int64{"all": {0, -1}, "tail": {1000, -1}, "middle": {1000, 900_000}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			b := serve(t, nil, breaking(content, 300_000, &requests, func(int32) string { return `"1"` }))
			r, err := b.GetRange(t.Context(), "k", bounds[0], bounds[1])
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			want := content[bounds[0]:]
			if bounds[1] >= 0 {
				want = want[:bounds[1]]
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d", len(got), len(want))
			}
			if requests.Load() < 3 {
				t.Errorf("%d requests: nothing broke", requests.Load())
			}
		})
	}
}

func TestReadDoesNotMixVersions(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	b := serve(t, nil, breaking(randomBytes(1<<20), 300_000, &requests, func(n int32) string { return fmt.Sprintf(`"%d"`, n) }))
	r, err := b.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = io.ReadAll(r)
	checkError(t, err, nil, "")
	if !strings.Contains(err.Error(), "it was replaced while it was read") {
		t.Errorf("error %v", err)
	}
}

func TestReadGivesUp(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	b := serve(t, nil, breaking(randomBytes(1<<20), 0, &requests, func(int32) string { return `"1"` }))
	r, err := b.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = io.ReadAll(r)
	checkError(t, err, ErrUnavailable, "")
	if requests.Load() != maxResumes+1 {
		t.Errorf("%d requests", requests.Load())
	}
}
