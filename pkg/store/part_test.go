package store

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(b) // never fails
	return b
}

func TestPart(t *testing.T) {
	t.Parallel()
	const limit = 3*chunkSize + 100
	for name, size := range map[string]int{
		"empty": 0, "one byte": 1, "one chunk": chunkSize, "chunk and one": chunkSize + 1, "one less": limit - 1, "just full": limit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := randomBytes(size)
			p := &part{}
			if _, err := p.fill(bytes.NewReader(randomBytes(limit)), limit); err != nil {
				t.Fatal(err)
			}
			last, err := p.fill(iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(want))), limit)
			if err != nil {
				t.Fatal(err)
			}
			if last != (size < limit) {
				t.Errorf("last = %v", last)
			}
			if err := iotest.TestReader(p.reader(), want); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPartTellsTruncatedStreams(t *testing.T) {
	t.Parallel()
	for _, want := range []error{io.ErrUnexpectedEOF, errors.New("broken")} {
		p := &part{}
		r := io.MultiReader(bytes.NewReader(randomBytes(10)), iotest.ErrReader(want))
		if last, err := p.fill(r, 100); last || !errors.Is(err, want) {
			t.Errorf("fill = %v, %v, want %v", last, err, want)
		}
	}
}
