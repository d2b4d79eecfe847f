package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
)

const (
	// gcsPartAttempts is how often a part is sent: when it is given up, all that was
	// sent before it is lost.
	gcsPartAttempts = 6
	// gcsPartPatience is how long a part of an upload is sent again and again.
	gcsPartPatience = 10 * time.Minute
	// gcsMaxPartBackoff lets a store that is overloaded recover.
	gcsMaxPartBackoff = 8 * time.Second
)

// errDiffers is an object that isn't what was sent.
var errDiffers = errors.New("the store has other content than what was sent")

// castagnoli is the checksum that GCS keeps of every object.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// gcsUpload writes one object from a stream: in one request if it fits into a
// part, else as a resumable upload, whose parts go one after the other. One part
// is filled while the SDK sends its own copy of the one before.
type gcsUpload struct {
	bucket *gcsBucket
	key    string
	body   io.Reader
	part   part
	sum    uint32

	exchange *exchange
	failures atomic.Int32 // in a row
}

// Put implements Bucket.
func (b *gcsBucket) Put(ctx context.Context, key string, r io.Reader) (err error) {
	defer func() {
		if err != nil {
			release(r, err)
		}
	}()
	if err := checkKey(key); err != nil {
		return err
	}
	u := &gcsUpload{bucket: b, key: key, body: r}
	err = u.run(ctx)
	if errors.Is(err, ErrLocked) {
		return b.explainLock(ctx, "write object", key, err)
	}
	return err
}

// run sends the stream. Whatever goes wrong, the SDK has let go of it, and the
// store has forgotten what it got, when it returns.
func (u *gcsUpload) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { release(u.body, context.Cause(ctx)) })
	defer stop()
	last, err := u.fill(ctx)
	if err != nil {
		return u.fail(ctx, err)
	}
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	sending, u.exchange = withExchange(sending)
	w := u.writer(sending, last)
	if err := u.sendAll(ctx, w, last, stop); err != nil {
		cancel()
		_ = w.Close() // waits for the SDK; the first error counts
		u.abort(ctx)
		return u.fail(ctx, err)
	}
	return u.verify(ctx, w)
}

// writer is the SDK's, for an object whose first part is filled.
func (u *gcsUpload) writer(ctx context.Context, last bool) *storage.Writer {
	b := u.bucket
	o := b.object(u.key).Retryer(
		storage.WithBackoff(gax.Backoff{Initial: gcsInitialBackoff, Max: gcsMaxPartBackoff, Multiplier: 2}),
		storage.WithErrorFunc(u.again),
	)
	w := b.newWriter(ctx, o)
	w.ChunkSize, w.ChunkRetryDeadline = int(b.config.PartSize), gcsPartPatience
	w.ProgressFunc = func(int64) { u.failures.Store(0) }
	if last {
		// More than there is: one request, and no more memory than that takes.
		w.ChunkSize = int(u.part.size) + 1
		w.SendCRC32C, w.CRC32C = true, u.sum
	}
	return w
}

// again says whether a request is sent again. One that a whole upload hangs on is
// sent more often.
func (u *gcsUpload) again(err error) bool {
	if !gcsRetryable(err) {
		return false
	}
	most := maxAttempts
	if u.exchange.began() != "" {
		most = gcsPartAttempts
	}
	return int(u.failures.Add(1)) < most
}

// sendAll hands the part that is filled, and all that follow it, to the SDK.
func (u *gcsUpload) sendAll(ctx context.Context, w *storage.Writer, last bool, atEnd func() bool) error {
	for {
		if last {
			// From here on the stream is at its end, and not to be disturbed.
			atEnd()
		}
		if _, err := io.Copy(w, u.part.reader()); err != nil {
			// The writer knows better why it takes no more.
			return cmp.Or(w.Close(), err)
		}
		if last {
			return w.Close()
		}
		var err error
		if last, err = u.fill(ctx); err != nil {
			return err
		}
	}
}

// fill reads the next part of the stream. An error is ctx's cause or a *readError.
func (u *gcsUpload) fill(ctx context.Context) (last bool, err error) {
	last, err = u.part.fill(u.body, u.bucket.config.PartSize)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		return false, &readError{err}
	}
	for offset := int64(0); offset < u.part.size; offset += chunkSize {
		chunk := u.part.chunks[offset/chunkSize]
		u.sum = crc32.Update(u.sum, castagnoli, chunk[:min(chunkSize, u.part.size-offset)])
	}
	return last, nil
}

// verify compares what the store has with what was sent: a server that takes the
// checksum in the last request for granted may have put parts together wrongly.
func (u *gcsUpload) verify(ctx context.Context, w *storage.Writer) error {
	attrs := w.Attrs()
	if attrs.CRC32C == u.sum || attrs.CRC32C == 0 {
		return nil // zero: some emulator that tells none
	}
	request, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), abortTimeout, errTimeout)
	defer cancel()
	o := u.bucket.object(u.key).If(storage.Conditions{GenerationMatch: attrs.Generation})
	err := errDiffers
	if deleteErr := o.Delete(request); deleteErr != nil {
		err = fmt.Errorf("%w (and it could not be removed: %w)", err, u.bucket.fail(request, "delete object", u.key, deleteErr))
	}
	return &opError{op: u.bucket.describe("write object", u.key), kind: ErrUnavailable, cause: err, detail: err.Error()}
}

// abort ends an upload that was begun. It is only polite: nobody sees such an
// upload or pays for it, and the store forgets it after a week.
func (u *gcsUpload) abort(ctx context.Context) {
	session := u.exchange.began()
	if session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, session, nil)
	if err != nil {
		return
	}
	if resp, err := u.bucket.client.Do(req); err == nil {
		_ = resp.Body.Close() // says nothing
	}
}

// fail describes what went wrong, unless that is done already.
func (u *gcsUpload) fail(ctx context.Context, err error) error {
	const op = "write object"
	var read *readError
	if errors.As(err, &read) {
		return &opError{op: u.bucket.describe(op, u.key), cause: read, detail: scrub(read.Error(), u.bucket.tokens.secrets()...)}
	}
	e := u.bucket.fail(ctx, op, u.key, err)
	if e.kind == ErrNotExist {
		// Nothing else can be missing.
		e.kind, e.hint = ErrNoBucket, u.bucket.hintNoBucket()
	}
	return e
}
