package storetest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// Content is size bytes that don't compress, always the same ones.
func Content(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(b) // never fails
	return b
}

// Put writes an object, from a stream that is nothing but a reader.
func Put(t *testing.T, b store.Bucket, key string, body []byte) {
	t.Helper()
	if err := b.Put(t.Context(), key, io.MultiReader(bytes.NewReader(body))); err != nil {
		t.Fatal(err)
	}
}

// Read reads a part of an object; a negative length is all from offset on.
func Read(t *testing.T, b store.Bucket, key string, offset, length int64) []byte {
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

// CheckContent compares an object with what it should be.
func CheckContent(t *testing.T, b store.Bucket, key string, want []byte) {
	t.Helper()
	if got := Read(t, b, key, 0, -1); !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes, want %d, or they differ", key, len(got), len(want))
	}
}

// Keys lists the objects that start with prefix.
func Keys(t *testing.T, b store.Bucket, prefix string) []string {
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

// CheckNothingLeft looks for objects and for unfinished uploads.
func CheckNothingLeft(t *testing.T, b store.Bucket) {
	t.Helper()
	if got := Keys(t, b, ""); len(got) > 0 {
		t.Errorf("objects left: %q", got)
	}
	if a, ok := b.(store.UploadAborter); ok {
		if n, err := a.AbortUploads(t.Context(), ""); n != 0 || err != nil {
			t.Errorf("%d uploads were left, %v", n, err)
		}
	}
}
