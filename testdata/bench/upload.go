package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	// uploadPart is pkg/store's default.
	uploadPart = 16 << 20
	// uploadBlock repeats in what is uploaded.
	uploadBlock = 1 << 20
)

// uploadTask is what command uploader reads from its stdin.
type uploadTask struct {
	Location  store.Location `json:"location"`
	Key       string         `json:"key"`
	SizeBytes int64          `json:"sizeBytes"`
}

// clientTask is the same for command bestclient.
type clientTask struct {
	Provider  string `json:"provider"`
	URL       string `json:"url"`
	Bucket    string `json:"bucket"`
	Key       string `json:"key"`
	User      string `json:"user,omitempty"`
	Secret    string `json:"secret,omitempty"`
	KeyFile   string `json:"keyFile,omitempty"`
	SizeBytes int64  `json:"sizeBytes"`
	PartBytes int64  `json:"partBytes"`
}

// uploadBody is one block of noise over and over, which takes nothing to make and
// doesn't compress. It is nothing but a reader.
func uploadBody(size int64) io.Reader {
	block := make([]byte, uploadBlock)
	_, _ = rand.NewChaCha8([32]byte{}).Read(block) // never fails
	return io.LimitReader(&repeated{block: block}, size)
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

// uploadBench measures uploads to one store.
type uploadBench struct {
	*uploadStore
	folder string
	// uploader and client are the programs that upload, ours and the other.
	uploader, client string
	bucket           store.Bucket
	sizeBytes        int64
}

// measureUploads takes one store after the other, so that they don't disturb each
// other.
func measureUploads(ctx context.Context, o options) (all uploads, err error) {
	folder := filepath.Join(o.state, "bench", "uploads")
	unlock, err := lock(folder + ".lock")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder), unlock()) }()
	for _, kind := range uploadStores {
		if o.store != "" && o.store != kind.name {
			continue
		}
		progress("upload to %s", kind.name)
		r, err := measureUpload(ctx, o, filepath.Join(folder, kind.name), kind)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func measureUpload(ctx context.Context, o options, folder string, kind uploadKind) (_ *uploadResult, err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	s, err := kind.start(ctx, folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop(), os.RemoveAll(folder)) }()
	b := &uploadBench{
		uploadStore: s, folder: folder, sizeBytes: int64(o.uploadMiB) << 20,
		uploader: filepath.Join(o.state, "bin", "uploader"), client: filepath.Join(o.state, "bin", "bestclient"),
	}
	if b.bucket, err = store.Open(ctx, s.location); err != nil {
		return nil, err
	}
	rounds := uploadRounds
	if o.rounds > 0 {
		rounds = o.rounds
	}
	r := &uploadResult{store: kind.name, client: kind.client, sizeBytes: b.sizeBytes}
	for n := range rounds {
		if err := b.round(ctx, r, n); err != nil {
			return nil, fmt.Errorf("round %d: %w", n+1, err)
		}
		progress("round %d of %d: client %.2f s, ours %.2f s", n+1, rounds, last(r.theirs).Seconds, last(r.ours).Seconds)
	}
	return r, nil
}

// round uploads in both ways; who is first changes.
func (b *uploadBench) round(ctx context.Context, r *uploadResult, n int) error {
	uploads := []func() error{
		func() error { return b.theirs(ctx, r, n) },
		func() error { return b.ours(ctx, r, n) },
	}
	if err := uploads[n%2](); err != nil {
		return err
	}
	return uploads[1-n%2]()
}

func (b *uploadBench) theirs(ctx context.Context, r *uploadResult, n int) error {
	task := b.task
	task.Key, task.SizeBytes, task.PartBytes = "theirs-"+strconv.Itoa(n), b.sizeBytes, uploadPart
	t, err := b.upload(ctx, task, b.client)
	if err != nil {
		return err
	}
	r.theirs = append(r.theirs, *t)
	return b.check(ctx, task.Key, n == 0)
}

func (b *uploadBench) ours(ctx context.Context, r *uploadResult, n int) error {
	task := uploadTask{Location: b.location, Key: "ours-" + strconv.Itoa(n), SizeBytes: b.sizeBytes}
	t, err := b.upload(ctx, task, b.uploader)
	if err != nil {
		return err
	}
	r.ours = append(r.ours, *t)
	return b.check(ctx, task.Key, n == 0)
}

// upload runs a process; what it says of its time counts, without its start.
func (b *uploadBench) upload(ctx context.Context, task any, program string) (*taken, error) {
	input, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	time.Sleep(settle)
	t, err := runMeasured(ctx, b.folder, input, program)
	if err != nil {
		return nil, err
	}
	var said taken
	if err := json.Unmarshal(t.output, &said); err != nil {
		return nil, fmt.Errorf("read what the upload says: %w", err)
	}
	t.Seconds = said.Seconds
	return t, nil
}

// check looks whether the object is there, with whole also at what it holds, and
// removes it.
func (b *uploadBench) check(ctx context.Context, key string, whole bool) error {
	info, err := b.bucket.Stat(ctx, key)
	if err != nil {
		return err
	}
	if info.Size != b.sizeBytes {
		return fmt.Errorf("object %q has %d bytes, not %d", key, info.Size, b.sizeBytes)
	}
	if whole {
		if err := b.compare(ctx, key); err != nil {
			return fmt.Errorf("object %q: %w", key, err)
		}
	}
	return b.bucket.Delete(ctx, key)
}

func (b *uploadBench) compare(ctx context.Context, key string) (err error) {
	r, err := b.bucket.Get(ctx, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	want := uploadBody(b.sizeBytes)
	wantBlock, gotBlock := make([]byte, uploadBlock), make([]byte, uploadBlock)
	for {
		n, err := io.ReadFull(want, wantBlock)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			return nil // its size is right
		}
		if _, err := io.ReadFull(r, gotBlock[:n]); err != nil {
			return err
		}
		if !bytes.Equal(gotBlock[:n], wantBlock[:n]) {
			return errors.New("it isn't what was uploaded")
		}
	}
}
