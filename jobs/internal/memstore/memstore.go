// Package memstore is a bucket in memory for the unit tests of jobs, with faults
// on demand and a record of what was written and deleted, in order.
package memstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// Bucket is a store.Bucket. Create it with New; it is safe for concurrent use.
type Bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	deleted []string
	fault   func(op, key string) error
	// locked is until when objects can be neither deleted nor replaced, lockNew
	// until when new ones can't be; uploads counts unfinished ones.
	locked  map[string]time.Time
	lockNew time.Time
	uploads map[string]int
}

// New returns a bucket that holds objects.
func New(objects map[string]string) *Bucket {
	b := &Bucket{objects: map[string][]byte{}, locked: map[string]time.Time{}, uploads: map[string]int{}}
	for key, body := range objects {
		b.objects[key] = []byte(body)
	}
	return b
}

// Fault sets what decides about a call before it is done: op is the method's
// name; an error fails it.
func (b *Bucket) Fault(fault func(op, key string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fault
}

// Keys returns the keys that there are, sorted.
func (b *Bucket) Keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.objects))
}

// Deleted returns the keys that were deleted, in order.
func (b *Bucket) Deleted() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.deleted)
}

// enter locks the bucket and asks for a fault.
func (b *Bucket) enter(ctx context.Context, op, key string) (unlock func(), err error) {
	b.mu.Lock()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case b.fault != nil:
		err = b.fault(op, key)
	}
	return b.mu.Unlock, err
}

// Put is store.Bucket's.
func (b *Bucket) Put(ctx context.Context, key string, r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	unlock, err := b.enter(ctx, "Put", key)
	defer unlock()
	if err == nil {
		err = b.checkLock(key)
	}
	if err == nil {
		b.objects[key] = body
		b.wrote(key)
	}
	return err
}

// Create is store.Bucket's.
func (b *Bucket) Create(ctx context.Context, key string, body []byte) error {
	unlock, err := b.enter(ctx, "Create", key)
	defer unlock()
	if err != nil {
		return err
	}
	if _, ok := b.objects[key]; ok {
		return fmt.Errorf("create %q: %w", key, store.ErrExists)
	}
	b.objects[key] = bytes.Clone(body)
	b.wrote(key)
	return nil
}

// Get is store.Bucket's.
func (b *Bucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return b.GetRange(ctx, key, 0, -1)
}

// GetRange is store.Bucket's.
func (b *Bucket) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	unlock, err := b.enter(ctx, "Get", key)
	defer unlock()
	if err != nil {
		return nil, err
	}
	body, ok := b.objects[key]
	if !ok {
		return nil, fmt.Errorf("get %q: %w", key, store.ErrNotExist)
	}
	body = body[min(offset, int64(len(body))):]
	if length >= 0 {
		body = body[:min(length, int64(len(body)))]
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

// Stat is store.Bucket's.
func (b *Bucket) Stat(ctx context.Context, key string) (store.ObjectInfo, error) {
	unlock, err := b.enter(ctx, "Stat", key)
	defer unlock()
	if err != nil {
		return store.ObjectInfo{}, err
	}
	body, ok := b.objects[key]
	if !ok {
		return store.ObjectInfo{}, fmt.Errorf("look at %q: %w", key, store.ErrNotExist)
	}
	return store.ObjectInfo{Key: key, Size: int64(len(body))}, nil
}

// List is store.Bucket's.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[store.ObjectInfo, error] {
	return func(yield func(store.ObjectInfo, error) bool) {
		unlock, err := b.enter(ctx, "List", prefix)
		keys := slices.Sorted(maps.Keys(b.objects))
		unlock()
		if err != nil {
			yield(store.ObjectInfo{}, err)
			return
		}
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) && !yield(store.ObjectInfo{Key: key}, nil) {
				return
			}
		}
	}
}

// Prefixes is store.Bucket's.
func (b *Bucket) Prefixes(ctx context.Context, prefix string) ([]string, error) {
	folders := map[string]bool{}
	for info, err := range b.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if folder, _, ok := strings.Cut(strings.TrimPrefix(info.Key, prefix), "/"); ok {
			folders[folder] = true
		}
	}
	return slices.Sorted(maps.Keys(folders)), nil
}

// Delete is store.Bucket's.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		unlock, err := b.enter(ctx, "Delete", key)
		if err == nil {
			err = b.checkLock(key)
		}
		if _, ok := b.objects[key]; ok && err == nil {
			delete(b.objects, key)
			b.deleted = append(b.deleted, key)
		}
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
