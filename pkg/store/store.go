// Package store opens a storage location (bucket, prefix, provider's settings)
// as a Bucket: a flat set of named objects that can be created, read, listed
// and deleted. It knows nothing of backups: names and formats are the business
// of package catalog. Providers are files of this package, chosen by a switch
// in Open; all of them pass the same conformance suite.
package store

import (
	"context"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"
	"time"
)

// ObjectInfo describes one object of a bucket.
type ObjectInfo struct {
	// Key is relative to the location's prefix.
	Key string
	// Size is in bytes.
	Size int64
	// ModTime is the store's clock, in UTC.
	ModTime time.Time
	// ETag is the store's tag of this content; it may be empty.
	ETag string
}

// Bucket is an opened storage location. Every key is relative to the
// location's prefix, is separated by "/" and has no empty, "." or ".." parts.
//
// Methods may be called concurrently. Their errors can be tested with
// errors.Is for ErrNotExist, ErrExists, ErrNoBucket, ErrDenied and
// ErrUnavailable, and with Temporary; the text says what was tried, never
// holds a secret, and ends in a hint where the next step is known. A store
// that doesn't answer is reported as ErrUnavailable within 20 seconds.
type Bucket interface {
	// Put writes r until io.EOF as the object key, replacing what is there.
	// It streams: it holds at most two parts (partSizeMiB each, 5 by
	// default) and nothing at all on disk. The object appears whole or not at
	// all: after an error, from r too, or when ctx ends, an upload that was
	// begun is aborted. If r has CloseWithError, as pipes do, Put calls it with its
	// error, so that whoever writes into the pipe is not left waiting.
	Put(ctx context.Context, key string, r io.Reader) error

	// Create writes body as the object key unless there is one: then it
	// fails with ErrExists and changes nothing. Of several concurrent callers
	// one wins. An answer that got lost on the way may turn a success into
	// ErrExists: compare what is there. (Where a server has no conditional
	// writes, looking and writing are two requests.)
	Create(ctx context.Context, key string, body []byte) error

	// Get opens the object from its beginning; the caller closes it.
	// ErrNotExist if it is missing. A connection that breaks while the object
	// is read is opened again at the same place, so long as the object has
	// not changed. ctx must live as long as the reader is used.
	Get(ctx context.Context, key string) (io.ReadCloser, error)

	// GetRange is Get for length bytes from offset on; a negative length
	// means to the end. A range beyond the end is cut there, and may be empty.
	GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Stat describes one object, or fails with ErrNotExist.
	Stat(ctx context.Context, key string) (ObjectInfo, error)

	// List yields every object whose key starts with prefix (not only at a
	// "/"), in order of keys. After the first error nothing more is yielded.
	List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error]

	// Prefixes returns the names, without slashes, of the "folders" directly
	// below the folder prefix ("" is the location itself).
	Prefixes(ctx context.Context, prefix string) ([]string, error)

	// Delete removes the objects; those that are missing are fine. After an
	// error some may be gone.
	Delete(ctx context.Context, keys ...string) error
}

// UploadAborter is what a Bucket also implements when its provider keeps the
// parts of an upload that nobody finished, for instance because the writer was
// killed: they are invisible to List but take space, for ever.
type UploadAborter interface {
	// AbortUploads removes the unfinished uploads to keys that start with
	// prefix and says how many it removed. Nobody may be writing such a key.
	AbortUploads(ctx context.Context, prefix string) (int, error)
}

// Open opens the location. It makes no request, except to look up the region
// of an AWS bucket whose location names none; so a wrong bucket or wrong
// credentials show at the first use. Nothing needs closing.
func Open(ctx context.Context, l Location) (Bucket, error) {
	l, err := l.normalized()
	if err != nil {
		return nil, fmt.Errorf("open storage location: %w", err)
	}
	switch l.Provider {
	case providerAWS:
		b, err := openS3(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("open storage location: %w", err)
		}
		return b, nil
	default:
		return nil, fmt.Errorf("open storage location: provider %q is not supported by this version; hint: it has %q (short: \"aws\"), which serves S3 and what is compatible with it", l.Provider, providerAWS)
	}
}

// checkKey keeps a key inside its location. Callers validate names before they
// build keys; this is the second fence.
func checkKey(key string) error {
	if key == "" || strings.HasPrefix(key, "/") || path.Clean(key) != strings.TrimSuffix(key, "/") || strings.HasPrefix(key, "..") {
		return fmt.Errorf("invalid object key %q", key)
	}
	return nil
}
