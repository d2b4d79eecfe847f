package storetest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

func testCancelled(t *testing.T, b store.Bucket) {
	Put(t, b, "k", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := b.Get(ctx, "k")
	_, statErr := b.Stat(ctx, "k")
	_, prefixErr := b.Prefixes(ctx, "")
	errs := []error{getErr, statErr, prefixErr, b.Put(ctx, "k2", strings.NewReader("x")), b.Create(ctx, "k3", nil), b.Delete(ctx, "k")}
	for _, err := range b.List(ctx, "") {
		errs = append(errs, err)
	}
	for i, err := range errs {
		if !errors.Is(err, context.Canceled) || store.Temporary(err) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if diff := cmp.Diff([]string{"k"}, Keys(t, b, "")); diff != "" {
		t.Error(diff)
	}
}

// testBrokenReader has the stream fail at byte N.
func (p Provider) testBrokenReader(t *testing.T, b store.Bucket) {
	broken := errors.New("broken stream")
	size := int64(p.PartSize)
	for _, n := range []int64{0, 1, size - 1, size, size + 1, 3*size + 1} {
		r := io.MultiReader(io.LimitReader(random(), n), errorReader{broken})
		err := b.Put(t.Context(), "k", r)
		if !errors.Is(err, broken) || store.Temporary(err) || !strings.Contains(err.Error(), "read what is to be written: broken stream") {
			t.Errorf("after %d bytes: %v", n, err)
		}
		CheckNothingLeft(t, b)
	}
	// A truncated stream is not a short object.
	err := b.Put(t.Context(), "k", io.MultiReader(strings.NewReader("x"), errorReader{io.ErrUnexpectedEOF}))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("truncated: %v", err)
	}
	CheckNothingLeft(t, b)

	// What was there stays.
	Put(t, b, "k", []byte("old"))
	if err := b.Put(t.Context(), "k", io.MultiReader(io.LimitReader(random(), 2*size), errorReader{broken})); err == nil {
		t.Error("replace: no error")
	}
	CheckContent(t, b, "k", []byte("old"))
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// testStoppedUpload ends the context at several points, with a writer that
// waits at the other end of a pipe.
func (p Provider) testStoppedUpload(t *testing.T, b store.Bucket) {
	size := int64(p.PartSize)
	for _, n := range []int64{0, 100, size, 3 * size} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		written := make(chan error, 1)
		go func() {
			_, err := io.CopyN(w, random(), n)
			cancel()
			for err == nil {
				// Put must free us.
				_, err = w.Write(make([]byte, 1<<20))
			}
			written <- err
		}()
		if err := b.Put(ctx, "k", r); !errors.Is(err, context.Canceled) || store.Temporary(err) {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if err := <-written; !errors.Is(err, context.Canceled) {
			t.Errorf("the writer got %v", err)
		}
		CheckNothingLeft(t, b)
	}
}

func (p Provider) testUnfinished(t *testing.T) {
	b, begin := p.Unfinished(t)
	aborter, ok := b.(store.UploadAborter)
	if !ok {
		t.Fatal("it is no store.UploadAborter")
	}
	for _, key := range []string{"backups/one/one.tar.gz", "backups/one/other", "backups/one-more/x"} {
		begin(t, key)
	}
	if got := Keys(t, b, ""); len(got) > 0 {
		t.Errorf("objects: %q", got)
	}
	for _, step := range []struct {
		prefix string
		want   int
	}{{"backups/one/", 2}, {"backups/one/", 0}, {"", 1}} {
		if n, err := aborter.AbortUploads(t.Context(), step.prefix); n != step.want || err != nil {
			t.Errorf("below %q: %d uploads aborted, want %d, %v", step.prefix, n, step.want, err)
		}
	}
}
