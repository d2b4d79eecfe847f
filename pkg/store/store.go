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

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
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
// errors.Is for ErrNotExist, ErrExists, ErrLocked, ErrNoBucket, ErrDenied and
// ErrUnavailable, and with Temporary; the text says what was tried, never
// holds a secret, and ends in a hint where the next step is known. A store
// that doesn't answer is reported as ErrUnavailable within 20 seconds, or 45 while
// the name server fails.
type Bucket interface {
	// Put writes r until io.EOF as the object key, replacing what is there.
	// It streams: it holds at most two parts (partSizeMiB each, 16 by
	// default) and nothing at all on disk. The object appears whole or not at
	// all: after an error, from r too, or when ctx ends, an upload that was
	// begun is aborted. An object that a retention rule protects is a *LockedError
	// where the store keeps no older versions. If r has CloseWithError, as pipes do, Put calls it with its
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

	// Delete removes the objects; those that are missing are fine. One that a
	// retention rule or a legal hold protects stays, and stays visible, also where
	// the server would only hide it behind a newer version: that is a *LockedError.
	// After an error some may be gone.
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

// LockChecker is what a Bucket also implements whose objects can be locked one by
// one.
type LockChecker interface {
	// CheckLocks fails with a *LockedError if one of the objects can't be deleted
	// yet, and deletes none. One that is missing, or that the account may not look
	// at, is fine.
	CheckLocks(ctx context.Context, keys ...string) error
}

// Inspector is what a Bucket also implements to tell how its server behaves, for
// whoever checks a location before it is trusted with backups.
type Inspector interface {
	// CreateUnseen is Create without a look beforehand: whether an object that is
	// there is kept is up to the server alone. One that replaces it ignores the
	// condition, and can't keep two writers apart.
	CreateUnseen(ctx context.Context, key string, body []byte) error

	// Inspect asks for what the server says of the bucket. What this account may
	// not ask, or the server doesn't know, is Unknown in the answer and no error;
	// an error means that the bucket can't be reached at all.
	Inspect(ctx context.Context) (Inspection, error)
}

// Tristate is a fact that may be unknown.
type Tristate string

// The values of a Tristate; the zero value is Unknown.
const (
	Unknown Tristate = ""
	Yes     Tristate = "yes"
	No      Tristate = "no"
)

// Inspection is what a server says of a bucket.
type Inspection struct {
	// Endpoint is where requests go, for a person: host or URL, folder.
	Endpoint string
	// Versioning says that what is deleted or replaced stays as an older version.
	Versioning Tristate
	// Lock says that new objects can't be deleted for a while; LockRule is the rule
	// for a person, such as "compliance, 30 days".
	Lock     Tristate
	LockRule string
	// ServerTime is the server's clock at the moment LocalTime; zero if it tells
	// none.
	ServerTime, LocalTime time.Time
}

// Open opens the location. It makes no request, except to look up the region
// of an AWS bucket whose location names none; so a wrong bucket or wrong
// credentials show at the first use. Nothing needs closing.
func Open(ctx context.Context, l Location) (Bucket, error) {
	b, err := open(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("open storage location: %w", err)
	}
	return b, nil
}

func open(ctx context.Context, l Location) (Bucket, error) {
	l, err := l.normalized()
	if err != nil {
		return nil, err
	}
	switch l.Provider {
	case settings.ProviderAWS:
		return openS3(ctx, l)
	case settings.ProviderAzure:
		return openAzure(ctx, l)
	case settings.ProviderGCP:
		return openGCS(ctx, l)
	default:
		return openFilesystem(l)
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
