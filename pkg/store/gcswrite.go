package store

import (
	"cmp"
	"context"
	"errors"
	"hash/crc32"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"
	"golang.org/x/sync/errgroup"
)

const opDeleteGCS = "delete object"

// newWriter fills in what the location's config says about new objects.
func (b *gcsBucket) newWriter(ctx context.Context, o *storage.ObjectHandle) *storage.Writer {
	w := o.NewWriter(ctx)
	w.KMSKeyName, w.StorageClass = b.config.KMSKeyName, b.config.StorageClass
	return w
}

// Create implements Bucket.
func (b *gcsBucket) Create(ctx context.Context, key string, body []byte) error {
	return b.CreateUnseen(ctx, key, body)
}

// CreateUnseen implements Inspector. The server alone decides: unlike those of S3,
// every one of GCS knows the condition.
func (b *gcsBucket) CreateUnseen(ctx context.Context, key string, body []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	var failures atomic.Int32
	o := b.object(key).If(storage.Conditions{DoesNotExist: true}).Retryer(storage.WithErrorFunc(func(err error) bool {
		return gcsRetryable(err) && failures.Add(1) < maxAttempts
	}))
	w := b.newWriter(request, o)
	w.ChunkSize = len(body) + 1
	w.SendCRC32C, w.CRC32C = true, crc32.Checksum(body, castagnoli)
	_, err := w.Write(body)
	if err = cmp.Or(w.Close(), err); err == nil {
		return nil
	}
	e := b.fail(request, "create object", key, err)
	switch e.kind {
	case ErrNotExist:
		e.kind, e.hint = ErrNoBucket, b.hintNoBucket()
	case ErrLocked:
		e.kind = ErrExists
	}
	return e
}

// Delete implements Bucket. It deletes nothing if one of the objects is locked, so
// that what belongs together stays together. An account that may not look leaves
// that to the server.
func (b *gcsBucket) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	gone := make([]bool, len(keys))
	err := inParallel(ctx, keys, func(ctx context.Context, i int, key string) (err error) {
		gone[i], err = b.lookBeforeDelete(ctx, key)
		return err
	})
	if err != nil {
		return err
	}
	return inParallel(ctx, keys, func(ctx context.Context, i int, key string) error {
		if gone[i] {
			return nil
		}
		return b.deleteOne(ctx, key)
	})
}

// CheckLocks implements LockChecker.
func (b *gcsBucket) CheckLocks(ctx context.Context, keys ...string) error {
	return inParallel(ctx, keys, func(ctx context.Context, _ int, key string) error {
		_, err := b.lookBeforeDelete(ctx, key)
		return err
	})
}

// inParallel calls do for each key, and returns the first error when all have
// ended.
func inParallel(ctx context.Context, keys []string, do func(ctx context.Context, i int, key string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(deleteParallel)
	for i, key := range keys {
		group.Go(func() error { return do(ctx, i, key) })
	}
	return group.Wait()
}

// lookBeforeDelete fails if the object is locked: where older versions are kept,
// the server would hide it.
func (b *gcsBucket) lookBeforeDelete(ctx context.Context, key string) (gone bool, err error) {
	attrs, err := b.attrs(ctx, opDeleteGCS, key)
	switch {
	case errors.Is(err, ErrNotExist):
		return true, nil
	case errors.Is(err, ErrDenied):
		return false, nil
	case err != nil:
		return false, err
	}
	if locked := gcsLockOf(attrs, key); locked != nil {
		return false, &opError{op: b.describe(opDeleteGCS, key), kind: locked}
	}
	return false, nil
}

func (b *gcsBucket) deleteOne(ctx context.Context, key string) error {
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	err := b.object(key).Delete(request)
	if err == nil {
		return nil
	}
	e := b.fail(request, opDeleteGCS, key, err)
	switch e.kind {
	case ErrNotExist:
		return nil
	case ErrLocked:
		return b.explainLock(ctx, opDeleteGCS, key, e)
	}
	return e
}

// gcsLockOf says what protects an object, or nil.
func gcsLockOf(attrs *storage.ObjectAttrs, key string) *LockedError {
	if attrs.TemporaryHold || attrs.EventBasedHold {
		return &LockedError{Key: key, Hold: true}
	}
	until := attrs.RetentionExpirationTime
	if attrs.Retention != nil && attrs.Retention.RetainUntil.After(until) {
		until = attrs.Retention.RetainUntil
	}
	if time.Now().Before(until) {
		return &LockedError{Key: key, Until: until.UTC()}
	}
	return nil
}

// explainLock finds out until when an object is locked that the store refuses to
// give up; cause is the refusal.
func (b *gcsBucket) explainLock(ctx context.Context, op, key string, cause error) error {
	locked := &LockedError{Key: key}
	if attrs, err := b.attrs(ctx, op, key); err == nil {
		if found := gcsLockOf(attrs, key); found != nil {
			locked = found
		}
	}
	return &opError{op: b.describe(op, key), kind: locked, cause: cause}
}
