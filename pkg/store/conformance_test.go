//go:build integration

package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// partSize is the smallest part that the tests' locations can be set to.
const partSize = 5 << 20

// conformance is what every Bucket must do. open gives a fresh, empty bucket
// with the given prefix, with parts of partSize.
func conformance(t *testing.T, open func(t *testing.T, prefix string) store.Bucket) {
	for name, test := range map[string]func(*testing.T, store.Bucket){
		"sizes":      testSizes,
		"replace":    testReplace,
		"create":     testCreate,
		"race":       testCreateRace,
		"missing":    testMissing,
		"ranges":     testRanges,
		"stat":       testStat,
		"list":       testList,
		"pages":      testPages,
		"prefixes":   testPrefixes,
		"delete":     testDelete,
		"odd keys":   testOddKeys,
		"bad keys":   testBadKeys,
		"cancelled":  testCancelled,
		"broken":     testBrokenReader,
		"stopped":    testStoppedUpload,
		"early stop": testListStopsEarly,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, ""))
		})
	}
	t.Run("below a prefix", func(t *testing.T) {
		t.Parallel()
		testList(t, open(t, "clusters/one"))
	})
}

func content(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(b) // never fails
	return b
}

func put(t *testing.T, b store.Bucket, key string, body []byte) {
	t.Helper()
	// Only a reader: what comes is never a file.
	if err := b.Put(t.Context(), key, io.MultiReader(bytes.NewReader(body))); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, b store.Bucket, key string, offset, length int64) []byte {
	t.Helper()
	r, err := b.GetRange(t.Context(), key, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func checkContent(t *testing.T, b store.Bucket, key string, want []byte) {
	t.Helper()
	if got := read(t, b, key, 0, -1); !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes, want %d, or they differ", key, len(got), len(want))
	}
}

func keys(t *testing.T, b store.Bucket, prefix string) []string {
	t.Helper()
	var got []string
	for o, err := range b.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.Key)
	}
	return got
}

func testSizes(t *testing.T, b store.Bucket) {
	for _, size := range []int{0, 1, partSize - 1, partSize, partSize + 1, 2 * partSize, 4*partSize + 7} {
		key := fmt.Sprintf("size/%d", size)
		want := content(size)
		put(t, b, key, want)
		checkContent(t, b, key, want)
	}
}

func testReplace(t *testing.T, b store.Bucket) {
	put(t, b, "k", content(partSize+1))
	put(t, b, "k", []byte("new"))
	checkContent(t, b, "k", []byte("new"))
}

func testCreate(t *testing.T, b store.Bucket) {
	if err := b.Create(t.Context(), "dir/k", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), "dir/k", []byte("second")); !errors.Is(err, store.ErrExists) {
		t.Errorf("second create: %v", err)
	}
	checkContent(t, b, "dir/k", []byte("first"))
	put(t, b, "put", nil)
	if err := b.Create(t.Context(), "put", []byte("x")); !errors.Is(err, store.ErrExists) {
		t.Errorf("create over an empty object: %v", err)
	}
}

func testCreateRace(t *testing.T, b store.Bucket) {
	var winners atomic.Int32
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			switch err := b.Create(t.Context(), "k", fmt.Append(nil, i)); {
			case err == nil:
				winners.Add(1)
			case !errors.Is(err, store.ErrExists):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if winners.Load() != 1 {
		t.Errorf("%d winners", winners.Load())
	}
}

func testMissing(t *testing.T, b store.Bucket) {
	put(t, b, "dir/k", []byte("x"))
	for _, key := range []string{"none", "dir", "dir/none", "dir/k/none"} {
		_, getErr := b.Get(t.Context(), key)
		_, rangeErr := b.GetRange(t.Context(), key, 1, 0)
		_, statErr := b.Stat(t.Context(), key)
		for _, err := range []error{getErr, rangeErr, statErr} {
			if !errors.Is(err, store.ErrNotExist) {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
	if got := keys(t, b, "none"); len(got) > 0 {
		t.Errorf("list: %q", got)
	}
}

func testRanges(t *testing.T, b store.Bucket) {
	body := content(1000)
	put(t, b, "k", body)
	for _, r := range []struct {
		offset, length int64
		want           []byte
	}{
		{0, -1, body}, {0, 1, body[:1]}, {10, 20, body[10:30]}, {990, -1, body[990:]},
		{999, 1, body[999:]}, {990, 100, body[990:]}, {5, 0, nil}, {1000, 1, nil}, {5000, -1, nil},
	} {
		if got := read(t, b, "k", r.offset, r.length); !bytes.Equal(got, r.want) {
			t.Errorf("range %d+%d: %d bytes, want %d, or they differ", r.offset, r.length, len(got), len(r.want))
		}
	}
	if _, err := b.GetRange(t.Context(), "k", -1, 1); err == nil {
		t.Error("negative offset: no error")
	}
}

func testStat(t *testing.T, b store.Bucket) {
	put(t, b, "dir/k", content(1234))
	got, err := b.Stat(t.Context(), "dir/k")
	if err != nil {
		t.Fatal(err)
	}
	if got.Key != "dir/k" || got.Size != 1234 || got.ETag == "" || time.Since(got.ModTime).Abs() > time.Minute || got.ModTime.Location() != time.UTC {
		t.Errorf("%+v", got)
	}
	for listed, err := range b.List(t.Context(), "") {
		if diff := cmp.Diff(got.Size, listed.Size); err != nil || diff != "" {
			t.Errorf("list: %v %s", err, diff)
		}
	}
}

func testList(t *testing.T, b store.Bucket) {
	for _, key := range []string{"backups/a/x", "backups/a/y", "backups/ab/x", "backups/b", "restores/r/x"} {
		put(t, b, key, []byte(key))
	}
	for prefix, want := range map[string][]string{
		"":           {"backups/a/x", "backups/a/y", "backups/ab/x", "backups/b", "restores/r/x"},
		"backups/a/": {"backups/a/x", "backups/a/y"},
		"backups/a":  {"backups/a/x", "backups/a/y", "backups/ab/x"},
		"nothing/":   nil,
	} {
		if diff := cmp.Diff(want, keys(t, b, prefix)); diff != "" {
			t.Errorf("list %q: %s", prefix, diff)
		}
	}
}

func testPages(t *testing.T, b store.Bucket) {
	const count = 1005 // a page has up to 1,000
	var want []string
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for i := range count {
		key := fmt.Sprintf("many/%04d/x", i)
		want = append(want, key)
		group.Go(func() error { return b.Put(ctx, key, strings.NewReader("x")) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, keys(t, b, "many/")); diff != "" {
		t.Error(diff)
	}
	names, err := b.Prefixes(t.Context(), "many")
	if err != nil || len(names) != count || names[count-1] != "1004" {
		t.Errorf("%d prefixes, %v", len(names), err)
	}
}

func testListStopsEarly(t *testing.T, b store.Bucket) {
	put(t, b, "a", nil)
	put(t, b, "b", nil)
	for o := range b.List(t.Context(), "") {
		if o.Key != "a" {
			t.Errorf("first is %q", o.Key)
		}
		break
	}
}

func testPrefixes(t *testing.T, b store.Bucket) {
	for _, key := range []string{"top", "backups/a/x", "backups/a/deep/er", "backups/b/x", "backups/file", "restores/r/x"} {
		put(t, b, key, nil)
	}
	for prefix, want := range map[string][]string{
		"": {"backups", "restores"}, "backups": {"a", "b"}, "backups/": {"a", "b"}, "backups/a/": {"deep"}, "none/": nil,
	} {
		got, err := b.Prefixes(t.Context(), prefix)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("prefixes %q: %s", prefix, diff)
		}
	}
}

func testDelete(t *testing.T, b store.Bucket) {
	put(t, b, "d/a", nil)
	put(t, b, "d/b", nil)
	put(t, b, "d/c", nil)
	if err := b.Delete(t.Context(), "d/a", "none", "d/none", "d/c"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"d/b"}, keys(t, b, "")); diff != "" {
		t.Error(diff)
	}
	if err := b.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

func testOddKeys(t *testing.T, b store.Bucket) {
	want := []string{"a b+c", "a%2Fb", "a&b=c?d#e", "ä/ö", "dir/x:y@z!$'()*,;"}
	for _, key := range want {
		put(t, b, key, []byte(key))
		checkContent(t, b, key, []byte(key))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, keys(t, b, "")); diff != "" {
		t.Error(diff)
	}
	if err := b.Delete(t.Context(), want...); err != nil {
		t.Error(err)
	}
	if got := keys(t, b, ""); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

func testBadKeys(t *testing.T, b store.Bucket) {
	put(t, b, "safe", nil)
	for _, key := range []string{"", "/safe", "../safe", "x/../safe"} {
		_, getErr := b.Get(t.Context(), key)
		_, statErr := b.Stat(t.Context(), key)
		errs := []error{getErr, statErr, b.Put(t.Context(), key, strings.NewReader("")), b.Create(t.Context(), key, nil), b.Delete(t.Context(), key)}
		for i, err := range errs {
			if err == nil {
				t.Errorf("key %q, call %d: no error", key, i)
			}
		}
	}
}

func testCancelled(t *testing.T, b store.Bucket) {
	put(t, b, "k", nil)
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
	if diff := cmp.Diff([]string{"k"}, keys(t, b, "")); diff != "" {
		t.Error(diff)
	}
}

// testBrokenReader has the stream fail at byte N.
func testBrokenReader(t *testing.T, b store.Bucket) {
	broken := errors.New("broken stream")
	for _, n := range []int64{0, 1, partSize - 1, partSize, partSize + 1, 3*partSize + 1} {
		r := io.MultiReader(io.LimitReader(rand.NewChaCha8([32]byte{}), n), errorReader{broken})
		err := b.Put(t.Context(), "k", r)
		if !errors.Is(err, broken) || store.Temporary(err) || !strings.Contains(err.Error(), "read what is to be written: broken stream") {
			t.Errorf("after %d bytes: %v", n, err)
		}
		checkNothingLeft(t, b)
	}
	// A truncated stream is not a short object.
	err := b.Put(t.Context(), "k", io.MultiReader(strings.NewReader("x"), errorReader{io.ErrUnexpectedEOF}))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("truncated: %v", err)
	}
	checkNothingLeft(t, b)
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// testStoppedUpload ends the context at several points, with a writer that
// waits at the other end of a pipe.
func testStoppedUpload(t *testing.T, b store.Bucket) {
	for _, n := range []int64{0, 100, partSize, 3 * partSize} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		written := make(chan error, 1)
		go func() {
			_, err := io.CopyN(w, rand.NewChaCha8([32]byte{}), n)
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
		checkNothingLeft(t, b)
	}
}

// checkNothingLeft looks for an object and for an unfinished upload.
func checkNothingLeft(t *testing.T, b store.Bucket) {
	t.Helper()
	if got := keys(t, b, ""); len(got) > 0 {
		t.Errorf("objects left: %q", got)
	}
	if a, ok := b.(store.UploadAborter); ok {
		if n, err := a.AbortUploads(t.Context(), ""); n != 0 || err != nil {
			t.Errorf("%d uploads were left, %v", n, err)
		}
	}
}
