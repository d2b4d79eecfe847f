package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

func (p Provider) testSizes(t *testing.T, b store.Bucket) {
	n := p.PartSize
	for _, size := range []int{0, 1, n - 1, n, n + 1, 2 * n, 4*n + 7} {
		key := fmt.Sprintf("size/%d", size)
		want := Content(size)
		Put(t, b, key, want)
		CheckContent(t, b, key, want)
	}
}

func (p Provider) testReplace(t *testing.T, b store.Bucket) {
	Put(t, b, "k", Content(p.PartSize+1))
	Put(t, b, "k", []byte("new"))
	CheckContent(t, b, "k", []byte("new"))
	Put(t, b, "k", Content(p.PartSize+1))
	CheckContent(t, b, "k", Content(p.PartSize+1))
}

func testCreate(t *testing.T, b store.Bucket) {
	if err := b.Create(t.Context(), "dir/k", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), "dir/k", []byte("second")); !errors.Is(err, store.ErrExists) {
		t.Errorf("second create: %v", err)
	}
	CheckContent(t, b, "dir/k", []byte("first"))
	Put(t, b, "put", nil)
	if err := b.Create(t.Context(), "put", []byte("x")); !errors.Is(err, store.ErrExists) {
		t.Errorf("create over an empty object: %v", err)
	}
}

// testCreateAgain has a name that was used before.
func testCreateAgain(t *testing.T, b store.Bucket) {
	Put(t, b, "dir/k", []byte("first"))
	if err := b.Delete(t.Context(), "dir/k"); err != nil {
		t.Fatal(err)
	}
	if err := b.Create(t.Context(), "dir/k", []byte("second")); err != nil {
		t.Fatal(err)
	}
	CheckContent(t, b, "dir/k", []byte("second"))
}

// testCreateUnseen has the server alone keep what is there.
func testCreateUnseen(t *testing.T, b store.Bucket) {
	inspector, ok := b.(store.Inspector)
	if !ok {
		t.Fatal("it is no store.Inspector")
	}
	if err := inspector.CreateUnseen(t.Context(), "dir/k", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := inspector.CreateUnseen(t.Context(), "dir/k", []byte("second")); !errors.Is(err, store.ErrExists) {
		t.Errorf("second create: %v", err)
	}
	CheckContent(t, b, "dir/k", []byte("first"))

	race(t, b, "unseen", func(body []byte) error { return inspector.CreateUnseen(t.Context(), "unseen", body) })
}

func testCreateRace(t *testing.T, b store.Bucket) {
	race(t, b, "k", func(body []byte) error { return b.Create(t.Context(), "k", body) })
}

// race has many creators of one object: one wins, and what it wrote stays.
func race(t *testing.T, b store.Bucket, key string, create func(body []byte) error) {
	t.Helper()
	const creators = 24
	var winner atomic.Int32
	var group sync.WaitGroup
	for i := range creators {
		group.Go(func() {
			switch err := create(body(i)); {
			case err == nil:
				if !winner.CompareAndSwap(0, int32(i)+1) {
					t.Errorf("creators %d and %d won", winner.Load()-1, i)
				}
			case !errors.Is(err, store.ErrExists):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if winner.Load() == 0 {
		t.Fatal("nobody won")
	}
	CheckContent(t, b, key, body(int(winner.Load())-1))
}

// body is what the creator i writes: each another length.
func body(i int) []byte { return bytes.Repeat(fmt.Append(nil, i), 1000+i) }

// testPutRace has writers of one object: in the end it is the whole of one of them,
// and so it is for a reader in the meantime. A writer may be told to try again.
func (p Provider) testPutRace(t *testing.T, b store.Bucket) {
	sizes := []int{p.PartSize / 2, p.PartSize + 1, 2*p.PartSize + 3, 100}
	check := func() {
		got := Read(t, b, "k", 0, -1)
		if !slices.ContainsFunc(sizes, func(size int) bool { return bytes.Equal(got, Content(size)) }) {
			t.Errorf("%d bytes that nobody wrote", len(got))
		}
	}
	Put(t, b, "k", Content(sizes[0]))
	var written atomic.Int32
	var group sync.WaitGroup
	for _, size := range sizes {
		group.Go(func() {
			switch err := b.Put(t.Context(), "k", bytes.NewReader(Content(size))); {
			case err == nil:
				written.Add(1)
			case !store.Temporary(err):
				t.Error(err)
			}
		})
	}
	check()
	group.Wait()
	check()
	if written.Load() == 0 {
		t.Error("nobody could write")
	}
}

func testDelete(t *testing.T, b store.Bucket) {
	Put(t, b, "d/a", nil)
	Put(t, b, "d/b", nil)
	Put(t, b, "d/c", nil)
	if err := b.Delete(t.Context(), "d/a", "none", "d/none", "d/c"); err != nil {
		t.Error(err)
	}
	if got := Keys(t, b, ""); len(got) != 1 || got[0] != "d/b" {
		t.Errorf("left: %q", got)
	}
	if err := b.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if err := b.Delete(t.Context(), "d/b"); err != nil {
		t.Error(err)
	}
	CheckNothingLeft(t, b)
	if names, err := b.Prefixes(t.Context(), ""); len(names) > 0 || err != nil {
		t.Errorf("prefixes: %q, %v", names, err)
	}
}

// random never ends.
func random() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{}) }
