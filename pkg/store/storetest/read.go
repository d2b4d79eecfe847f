package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

func testMissing(t *testing.T, b store.Bucket) {
	Put(t, b, "dir/k", []byte("x"))
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
	if got := Keys(t, b, "none"); len(got) > 0 {
		t.Errorf("list: %q", got)
	}
}

func testRanges(t *testing.T, b store.Bucket) {
	body := Content(1000)
	Put(t, b, "k", body)
	for _, r := range []struct {
		offset, length int64
		want           []byte
	}{
		{0, -1, body}, {0, 1, body[:1]}, {10, 20, body[10:30]}, {990, -1, body[990:]},
		{999, 1, body[999:]}, {990, 100, body[990:]}, {5, 0, nil}, {1000, 1, nil}, {5000, -1, nil},
	} {
		if got := Read(t, b, "k", r.offset, r.length); !bytes.Equal(got, r.want) {
			t.Errorf("range %d+%d: %d bytes, want %d, or they differ", r.offset, r.length, len(got), len(r.want))
		}
	}
	if _, err := b.GetRange(t.Context(), "k", -1, 1); err == nil {
		t.Error("negative offset: no error")
	}
	Put(t, b, "empty", nil)
	if got := Read(t, b, "empty", 0, -1); len(got) > 0 {
		t.Errorf("empty object: %d bytes", len(got))
	}
}

func (p Provider) testStat(t *testing.T, b store.Bucket) {
	Put(t, b, "dir/k", Content(1234))
	got, err := b.Stat(t.Context(), "dir/k")
	if err != nil {
		t.Fatal(err)
	}
	if got.Key != "dir/k" || got.Size != 1234 || time.Since(got.ModTime).Abs() > time.Minute || got.ModTime.Location() != time.UTC {
		t.Errorf("%+v", got)
	}
	if (got.ETag == "") != p.NoETags {
		t.Errorf("etag %q", got.ETag)
	}
	for listed, err := range b.List(t.Context(), "") {
		// A listing may be less precise.
		if err != nil || listed.Key != got.Key || listed.Size != got.Size || listed.ModTime.Sub(got.ModTime).Abs() > time.Second {
			t.Errorf("list: %+v, %v", listed, err)
		}
	}
}

func testList(t *testing.T, b store.Bucket) {
	for _, key := range []string{"backups/a/x", "backups/a/y", "backups/ab/x", "backups/b", "restores/r/x"} {
		Put(t, b, key, []byte(key))
	}
	for prefix, want := range map[string][]string{
		"":           {"backups/a/x", "backups/a/y", "backups/ab/x", "backups/b", "restores/r/x"},
		"backups/a/": {"backups/a/x", "backups/a/y"},
		"backups/a":  {"backups/a/x", "backups/a/y", "backups/ab/x"},
		"nothing/":   nil,
	} {
		if diff := cmp.Diff(want, Keys(t, b, prefix)); diff != "" {
			t.Errorf("list %q: %s", prefix, diff)
		}
	}
}

// testMany has more objects, and more folders, than a server tells in a page.
func testMany(t *testing.T, b store.Bucket) {
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
	if diff := cmp.Diff(want, Keys(t, b, "many/")); diff != "" {
		t.Error(diff)
	}
	names, err := b.Prefixes(t.Context(), "many")
	if err != nil || len(names) != count || names[count-1] != "1004" {
		t.Errorf("%d prefixes, %v", len(names), err)
	}
	if err := b.Delete(t.Context(), want...); err != nil {
		t.Errorf("delete: %v", err)
	}
	CheckNothingLeft(t, b)
}

func testListStopsEarly(t *testing.T, b store.Bucket) {
	Put(t, b, "a", nil)
	Put(t, b, "b", nil)
	for o := range b.List(t.Context(), "") {
		if o.Key != "a" {
			t.Errorf("first is %q", o.Key)
		}
		break
	}
}

func testPrefixes(t *testing.T, b store.Bucket) {
	for _, key := range []string{"top", "backups/a/x", "backups/a/deep/er", "backups/b/x", "backups/file", "restores/r/x"} {
		Put(t, b, key, nil)
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

func testInspect(t *testing.T, b store.Bucket) {
	inspector, ok := b.(store.Inspector)
	if !ok {
		t.Fatal("it is no store.Inspector")
	}
	got, err := inspector.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Endpoint == "" {
		t.Error("no endpoint")
	}
	if got.Lock == store.Yes && got.LockRule == "" {
		t.Errorf("a lock without a rule: %+v", got)
	}
	for name, tristate := range map[string]store.Tristate{"versioning": got.Versioning, "lock": got.Lock} {
		if tristate != store.Unknown && tristate != store.Yes && tristate != store.No {
			t.Errorf("%s: %q", name, tristate)
		}
	}
	// Servers tell whole seconds.
	if !got.ServerTime.IsZero() && got.ServerTime.Sub(got.LocalTime).Abs() > 5*time.Second {
		t.Errorf("its time is %s, ours %s", got.ServerTime, got.LocalTime)
	}
	CheckNothingLeft(t, b)
}
