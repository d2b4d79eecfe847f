// Command uploader uploads one object through package store, as the executor does,
// and links nothing else: what it takes is what an upload takes. It reads a task as
// JSON from stdin, and writes how long the upload took to stdout.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	// memoryLimit is the soft one that the executor begins with.
	memoryLimit = 40 << 20
	blockSize   = 1 << 20
)

// task is what to upload, and where.
type task struct {
	Location  store.Location `json:"location"`
	Key       string         `json:"key"`
	SizeBytes int64          `json:"sizeBytes"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "uploader:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	debug.SetMemoryLimit(memoryLimit)
	begin := time.Now()
	bucket, err := store.Open(ctx, t.Location)
	if err != nil {
		return err
	}
	if err := bucket.Put(ctx, t.Key, t.body()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{"seconds": time.Since(begin).Seconds()})
}

// body is one block of noise over and over, which takes nothing to make and doesn't
// compress. It is nothing but a reader.
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
