package memstore

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// Lock keeps what is there now under the prefix from being deleted and replaced
// until a time, as a retention rule of the bucket does; a zero time unlocks it.
func (b *Bucket) Lock(prefix string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.objects {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if until.IsZero() {
			delete(b.locked, key)
			continue
		}
		b.locked[key] = until
	}
}

// LockAll does that to everything that is written from now on.
func (b *Bucket) LockAll(until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lockNew = until
}

// checkLock fails for an object that is locked; b.mu is held.
func (b *Bucket) checkLock(key string) error {
	if until := b.locked[key]; until.After(time.Now()) {
		return &store.LockedError{Key: key, Until: until}
	}
	return nil
}

// wrote notes that key was written; b.mu is held.
func (b *Bucket) wrote(key string) {
	delete(b.uploads, key)
	if !b.lockNew.IsZero() {
		b.locked[key] = b.lockNew
	}
}

// LeaveUpload makes an upload to key that nobody finishes.
func (b *Bucket) LeaveUpload(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uploads[key]++
}

// Uploads returns the keys with unfinished uploads, sorted.
func (b *Bucket) Uploads() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.uploads))
}

// AbortUploads is store.UploadAborter's.
func (b *Bucket) AbortUploads(ctx context.Context, prefix string) (int, error) {
	unlock, err := b.enter(ctx, "AbortUploads", prefix)
	defer unlock()
	if err != nil {
		return 0, err
	}
	aborted := 0
	for key, n := range b.uploads {
		if strings.HasPrefix(key, prefix) {
			aborted += n
			delete(b.uploads, key)
		}
	}
	return aborted, nil
}
