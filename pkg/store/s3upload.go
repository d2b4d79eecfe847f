package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

const (
	// partsInFlight is how many parts of one upload are in memory: one is
	// filled while the other travels, or both travel.
	partsInFlight = 2
	abortTimeout  = 15 * time.Second
	// uploadAttempts is how often a request of an upload under way is sent.
	uploadAttempts = 6
)

// upload writes one object from a stream. The SDK's transfer manager does the
// same, but keeps more whole parts in memory (the first one grown by
// io.ReadAll), prints to the standard logger, and can leave an upload behind
// that is cancelled while it begins.
type upload struct {
	bucket *s3Bucket
	key    string
	body   io.Reader
	free   chan *part // parts to fill

	id *string // of the multipart upload

	mu    sync.Mutex
	parts []types.CompletedPart // guarded by mu
}

// Put implements Bucket.
func (b *s3Bucket) Put(ctx context.Context, key string, r io.Reader) (err error) {
	defer func() {
		if err != nil {
			release(r, err)
		}
	}()
	if err := checkKey(key); err != nil {
		return err
	}
	u := &upload{bucket: b, key: key, body: r, free: make(chan *part, partsInFlight)}
	for range partsInFlight {
		u.free <- &part{}
	}
	return u.run(ctx)
}

// release frees whoever writes into the other end of a pipe, and a Read of
// ours that waits for it.
func release(r io.Reader, err error) {
	if pipe, ok := r.(interface{ CloseWithError(error) error }); ok {
		_ = pipe.CloseWithError(err) // always nil for *io.PipeReader
	}
}

// run makes one request of a stream that fits into one part, else a multipart
// upload.
func (u *upload) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { release(u.body, context.Cause(ctx)) })
	defer stop()
	first, last, err := u.nextPart(ctx)
	if err != nil {
		return u.fail(ctx, err)
	}
	if last {
		if _, err := u.bucket.client.PutObject(ctx, u.bucket.putObject(u.key, first.reader(), first.size)); err != nil {
			return u.fail(ctx, err)
		}
		return nil
	}
	if err := u.begin(ctx); err != nil {
		return u.fail(ctx, err)
	}
	err = u.sendAll(ctx, first)
	if err == nil {
		err = u.complete(ctx)
	}
	if err != nil {
		return u.abort(ctx, u.fail(ctx, err))
	}
	return nil
}

// begin isn't stopped by the end of ctx: without its answer we couldn't abort
// what the store has begun.
func (u *upload) begin(ctx context.Context) error {
	request, cancel := withRequestTimeout(context.WithoutCancel(ctx))
	defer cancel()
	b := u.bucket
	out, err := b.client.CreateMultipartUpload(request, &s3.CreateMultipartUploadInput{
		Bucket:               &b.bucket,
		Key:                  aws.String(b.prefix + u.key),
		ChecksumAlgorithm:    b.config.checksum,
		ServerSideEncryption: b.config.encryption,
		SSEKMSKeyId:          optional(b.config.kmsKeyID),
		Tagging:              optional(b.config.tagging),
	})
	if err != nil {
		return b.fail(request, "write object", u.key, err)
	}
	u.id = out.UploadId
	return nil
}

// sendAll reads and sends until the stream ends. It returns when nothing is
// under way any more.
func (u *upload) sendAll(ctx context.Context, first *part) error {
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { release(u.body, context.Cause(ctx)) })
	readErr := u.readAndSend(ctx, group, first)
	if readErr == nil {
		// From here on the stream is at its end, and not to be disturbed.
		stop()
	}
	if readErr != nil && ctx.Err() == nil {
		// The stream broke: what is under way is of no use.
		group.Go(func() error { return readErr })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return readErr
}

func (u *upload) readAndSend(ctx context.Context, group *errgroup.Group, first *part) error {
	group.Go(func() error { return u.send(ctx, 1, first) })
	for number := 2; ; number++ {
		p, last, err := u.nextPart(ctx)
		switch {
		case err != nil:
			return err
		case p.size == 0:
			return nil
		case number > u.bucket.maxParts:
			return u.tooLarge()
		}
		group.Go(func() error { return u.send(ctx, number, p) })
		if last {
			return nil
		}
	}
}

func (u *upload) tooLarge() error {
	size := u.bucket.config.partSize
	return &opError{
		op:    u.bucket.describe("write object", u.key),
		cause: errTooLarge,
		detail: fmt.Sprintf("it is larger than %d parts of %d MiB, which is the most that can be stored (%d GiB)",
			u.bucket.maxParts, size>>20, int64(u.bucket.maxParts)*size>>30),
		hint: fmt.Sprintf("set the config key \"partSizeMiB\" of the location to more than %d", size>>20),
	}
}

var errTooLarge = errors.New("object too large")

// nextPart fills a free part, waiting for one. last says that the stream is at
// its end; a part that the end just fills is told from others by the empty one
// that follows.
func (u *upload) nextPart(ctx context.Context) (p *part, last bool, err error) {
	select {
	case p = <-u.free:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	last, err = p.fill(u.body, u.bucket.config.partSize)
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	if err != nil {
		return nil, false, &readError{err}
	}
	return p, last, nil
}

// readError is trouble with the stream, not with the store.
type readError struct{ err error }

func (e *readError) Error() string { return "read what is to be written: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// insist is for requests of an upload under way: when one is given up, all that
// was sent before it is lost.
func insist(o *s3.Options) { o.RetryMaxAttempts = uploadAttempts }

func (u *upload) send(ctx context.Context, number int, p *part) error {
	b := u.bucket
	out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket:            &b.bucket,
		Key:               aws.String(b.prefix + u.key),
		UploadId:          u.id,
		PartNumber:        aws.Int32(int32(number)),
		Body:              p.reader(),
		ContentLength:     &p.size,
		ChecksumAlgorithm: b.config.checksum,
	}, insist)
	if err != nil {
		return err
	}
	u.free <- p
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = append(u.parts, completedPart(number, out))
	return nil
}

func completedPart(number int, out *s3.UploadPartOutput) types.CompletedPart {
	return types.CompletedPart{
		PartNumber:        aws.Int32(int32(number)),
		ETag:              out.ETag,
		ChecksumCRC32:     out.ChecksumCRC32,
		ChecksumCRC32C:    out.ChecksumCRC32C,
		ChecksumCRC64NVME: out.ChecksumCRC64NVME,
		ChecksumSHA1:      out.ChecksumSHA1,
		ChecksumSHA256:    out.ChecksumSHA256,
	}
}

func (u *upload) complete(ctx context.Context) error {
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int {
		return int(aws.ToInt32(a.PartNumber) - aws.ToInt32(b.PartNumber))
	})
	_, err := u.bucket.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket:          &u.bucket.bucket,
		Key:             aws.String(u.bucket.prefix + u.key),
		UploadId:        u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
	}, insist)
	return err
}

// abort removes the parts that are stored, even if ctx has ended, and returns
// why it had to.
func (u *upload) abort(ctx context.Context, why error) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), abortTimeout, errTimeout)
	defer cancel()
	err := u.bucket.abortUpload(ctx, aws.String(u.bucket.prefix+u.key), u.id)
	if err == nil {
		return why
	}
	return fmt.Errorf("%w (and its unfinished upload could not be removed: %w)", why, u.fail(ctx, err))
}

// fail describes what went wrong, unless that is done already.
func (u *upload) fail(ctx context.Context, err error) error {
	const op = "write object"
	switch e := err.(type) {
	case *opError:
		return e
	case *readError:
		return &opError{op: u.bucket.describe(op, u.key), cause: e, detail: scrub(e.Error(), u.bucket.secrets.secrets()...)}
	default:
		return u.bucket.fail(ctx, op, u.key, err)
	}
}
