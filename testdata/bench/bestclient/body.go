package main

import (
	"io"
	"math/rand/v2"
)

const blockSize = 1 << 20

// body is the object's content: one block of noise over and over, which takes
// nothing to make and doesn't compress. It is nothing but a reader.
func (t task) body() io.Reader {
	block := make([]byte, blockSize)
	_, _ = rand.NewChaCha8([32]byte{}).Read(block) // never fails
	return io.LimitReader(&repeated{block: block}, t.SizeBytes)
}

type repeated struct {
	block []byte
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	return n, nil
}
