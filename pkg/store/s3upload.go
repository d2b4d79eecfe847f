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
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	abortTimeout = 15 * time.Second
	// partBackoff is the longest pause between two attempts of an upload under way.
	partBackoff = 8 * time.Second
)

// upload writes one object from a stream. The SDK's transfer manager does the
// same, but keeps more whole parts in memory (the first one grown by
// io.ReadAll), prints to the standard logger, and can leave an upload behind
// that is cancelled while it begins.
type upload struct {
	bucket *s3Bucket
	key    string
	stream *parts

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
	u := &upload{bucket: b, key: key, stream: newParts(r, b.config.PartSize, b.maxParts)}
	return u.run(ctx)
}

// run makes one request of a stream that fits into one part, else a multipart
// upload.
func (u *upload) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { release(u.stream.body, context.Cause(ctx)) })
	defer stop()
	first, last, err := u.stream.next(ctx)
	if err != nil {
		return u.fail(ctx, err)
	}
	if last {
		return u.putOne(ctx, first)
	}
	if err := u.begin(ctx); err != nil {
		return u.fail(ctx, err)
	}
	err = u.stream.sendAll(ctx, first, u.send)
	if err == nil {
		err = u.complete(ctx)
	}
	if err != nil {
		return u.abort(ctx, u.fail(ctx, err))
	}
	return nil
}

// putOne writes a stream that fits into one part.
func (u *upload) putOne(ctx context.Context, p *part) error {
	in, err := u.bucket.putObject(u.key, p.reader(), p.size)
	if err == nil {
		err = u.bucket.put(ctx, in)
	}
	if err != nil {
		return u.fail(ctx, err)
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
		ChecksumAlgorithm:    types.ChecksumAlgorithm(b.config.Checksum),
		ServerSideEncryption: types.ServerSideEncryption(b.config.Encryption),
		SSEKMSKeyId:          optional(b.config.KMSKeyID),
		SSECustomerAlgorithm: b.customer.algorithm,
		SSECustomerKey:       b.customer.key,
		SSECustomerKeyMD5:    b.customer.md5,
		StorageClass:         types.StorageClass(b.config.StorageClass),
		Tagging:              optional(b.config.Tagging),
	})
	if err != nil {
		return b.fail(request, "write object", u.key, err)
	}
	u.id = out.UploadId
	return nil
}

// tooLarge says which limit was met.
func (u *upload) tooLarge() error {
	size := u.bucket.config.PartSize
	return &opError{
		op:    u.bucket.describe("write object", u.key),
		cause: errTooManyParts,
		detail: fmt.Sprintf("it is larger than %d parts of %d MiB, which is the most that can be stored (%d GiB)",
			u.bucket.maxParts, size>>20, int64(u.bucket.maxParts)*size>>30),
		hint: fmt.Sprintf("set the config key \"partSizeMiB\" of the location to more than %d", size>>20),
	}
}

// insist is for requests of an upload under way: when one is given up, all that
// was sent before it is lost.
func insist(o *s3.Options) {
	o.Retryer = retry.AddWithMaxBackoffDelay(retry.AddWithMaxAttempts(o.Retryer, uploadAttempts), partBackoff)
}

// send is called for two parts at a time.
func (u *upload) send(ctx context.Context, number int, p *part) error {
	b := u.bucket
	body := p.reader()
	sum, err := b.contentMD5(body)
	if err != nil {
		return err
	}
	out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket:            &b.bucket,
		Key:               aws.String(b.prefix + u.key),
		UploadId:          u.id,
		PartNumber:        aws.Int32(int32(number)),
		Body:              body,
		ContentLength:     &p.size,
		ContentMD5:        sum,
		ChecksumAlgorithm: types.ChecksumAlgorithm(b.config.Checksum),

		SSECustomerAlgorithm: b.customer.algorithm,
		SSECustomerKey:       b.customer.key,
		SSECustomerKeyMD5:    b.customer.md5,
	}, insist)
	if err == nil {
		err = b.customer.used(out.SSECustomerAlgorithm)
	}
	if err != nil {
		return err
	}
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

		SSECustomerAlgorithm: u.bucket.customer.algorithm,
		SSECustomerKey:       u.bucket.customer.key,
		SSECustomerKeyMD5:    u.bucket.customer.md5,
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
	if errors.Is(err, errTooManyParts) {
		return u.tooLarge()
	}
	switch e := err.(type) {
	case *opError:
		return e
	case *readError:
		return &opError{op: u.bucket.describe(op, u.key), cause: e, detail: scrub(e.Error(), u.bucket.secrets.secrets()...)}
	default:
		return u.bucket.fail(ctx, op, u.key, err)
	}
}
