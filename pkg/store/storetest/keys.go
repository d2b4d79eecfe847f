package storetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

func (p Provider) testOddKeys(t *testing.T, b store.Bucket) {
	odd := []string{"a b+c", "a%2Fb", "a%20b", "a&b=c?d#e", "ä/ö", "dir/x:y@z!$'()*,;", "dir/..x", "dir/.hidden", "dir/x..", "日本語/🗄", "~tilde^`{|}"}
	if !p.NoBackslash {
		odd = append(odd, `back\slash`)
	}
	checkKeys(t, b, odd...)
}

// testLongKeys has the longest keys that a backup makes whose name is as long as
// most file systems allow.
func testLongKeys(t *testing.T, b store.Bucket) {
	name := strings.Repeat("long-name.", 20)
	checkKeys(t, b, "backups/"+name+"x/"+name+"x-resource-list.json.gz", "backups/"+name+"y/velero-backup.json")
}

// checkKeys writes, reads, lists and deletes objects with these keys.
func checkKeys(t *testing.T, b store.Bucket, want ...string) {
	t.Helper()
	for _, key := range want {
		if err := b.Create(t.Context(), key, []byte("first")); err != nil {
			t.Fatal(err)
		}
		Put(t, b, key, []byte(key))
		CheckContent(t, b, key, []byte(key))
		if info, err := b.Stat(t.Context(), key); err != nil || info.Key != key {
			t.Errorf("stat %q: %+v, %v", key, info, err)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, Keys(t, b, "")); diff != "" {
		t.Error(diff)
	}
	for _, key := range want {
		if got := Keys(t, b, key); len(got) != 1 || got[0] != key {
			t.Errorf("list %q: %q", key, got)
		}
	}
	if err := b.Delete(t.Context(), want...); err != nil {
		t.Error(err)
	}
	CheckNothingLeft(t, b)
}

func testBadKeys(t *testing.T, b store.Bucket) {
	Put(t, b, "safe", nil)
	for _, key := range []string{"", "/safe", "../safe", "x/../safe", "x//safe", "./safe"} {
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
