package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// maxResumes is how often in a row a broken read is taken up again without a
// byte having come.
const maxResumes = 3

// Get implements Bucket.
func (b *s3Bucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return b.GetRange(ctx, key, 0, -1)
}

// GetRange implements Bucket.
func (b *s3Bucket) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("read object %q: negative offset %d", b.prefix+key, offset)
	}
	if length == 0 {
		if _, err := b.Stat(ctx, key); err != nil {
			return nil, err
		}
		return http.NoBody, nil
	}
	r := &objectReader{ctx: ctx, bucket: b, key: key, next: offset, end: -1}
	if length > 0 {
		r.end = offset + length
	}
	if err := r.open(); err != nil {
		var api smithy.APIError
		if errors.As(err, &api) && api.ErrorCode() == "InvalidRange" {
			return http.NoBody, nil
		}
		return nil, b.fail(ctx, "read object", key, err)
	}
	return r, nil
}

// objectReader reads one object, or a range of it, and survives a connection
// that breaks: whoever writes a restored object for every one it reads is slow
// enough for a store to hang up.
type objectReader struct {
	// A reader has no context parameter; this is the one of the Get call.
	ctx    context.Context
	bucket *s3Bucket
	key    string
	etag   string // of the content we began to read
	next   int64  // offset of the next byte
	end    int64  // offset behind the last byte; negative: the object's end

	body    io.ReadCloser
	cancel  context.CancelCauseFunc
	resumes int // in a row
}

// open asks for the bytes from next on. Only the wait for the answer is
// bounded: the body takes as long as its reader.
func (r *objectReader) open() error {
	customer := r.bucket.customer
	in := &s3.GetObjectInput{
		Bucket:               &r.bucket.bucket,
		Key:                  aws.String(r.bucket.prefix + r.key),
		SSECustomerAlgorithm: customer.algorithm,
		SSECustomerKey:       customer.key,
		SSECustomerKeyMD5:    customer.md5,
	}
	if r.next > 0 || r.end >= 0 {
		last := ""
		if r.end >= 0 {
			last = fmt.Sprint(r.end - 1)
		}
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%s", r.next, last))
	}
	if r.etag != "" {
		in.IfMatch = &r.etag
	}
	ctx, cancel := context.WithCancelCause(r.ctx)
	ctx, answered := limitWait(ctx, cancel)
	defer answered()
	out, err := r.bucket.client.GetObject(ctx, in)
	if err != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errors.Join(errTimeout, err)
		}
		cancel(nil)
		return err
	}
	r.body, r.cancel = out.Body, cancel
	if r.next > 0 && out.ContentRange == nil {
		_ = r.Close() // the error below says more
		return errors.New("the server ignores ranges")
	}
	r.etag = aws.ToString(out.ETag)
	if out.ContentLength != nil {
		r.end = r.next + *out.ContentLength
	}
	return nil
}

// Read implements io.Reader.
func (r *objectReader) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		r.next += int64(n)
		if n > 0 {
			r.resumes = 0
		}
		switch {
		case err == nil, err == io.EOF:
			return n, err
		case r.next == r.end, r.ctx.Err() != nil, r.resumes == maxResumes:
			// At the end, an error is a checksum that doesn't match.
			return n, r.bucket.fail(r.ctx, "read object", r.key, err)
		}
		r.resumes++
		if err := r.reopen(); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (r *objectReader) reopen() error {
	// The connection is broken already; how it closes says nothing more.
	_ = r.Close()
	r.body, r.cancel = http.NoBody, func(error) {}
	err := r.open()
	if err == nil {
		return nil
	}
	e := r.bucket.fail(r.ctx, "read object", r.key, err)
	if e.kind == ErrExists {
		e.kind, e.detail = nil, "it was replaced while it was read"
	}
	return e
}

// Close implements io.Closer.
func (r *objectReader) Close() error {
	r.cancel(nil)
	return r.body.Close()
}

// Stat implements Bucket.
func (b *s3Bucket) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	if err := checkKey(key); err != nil {
		return ObjectInfo{}, err
	}
	start := time.Now()
	out, err := b.look(ctx, key)
	if err != nil && b.secrets.renewedSince(start) {
		// A HEAD request isn't told that its token has expired.
		out, err = b.look(ctx, key)
	}
	if err != nil {
		return ObjectInfo{}, err
	}
	b.found.Store(true)
	return ObjectInfo{
		Key:     key,
		Size:    aws.ToInt64(out.ContentLength),
		ModTime: aws.ToTime(out.LastModified).UTC(),
		ETag:    aws.ToString(out.ETag),
	}, nil
}

func (b *s3Bucket) look(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	out, err := b.headObject(request, key)
	if err != nil {
		return nil, b.explainHead(ctx, b.fail(request, "look at object", key, err), key)
	}
	return out, nil
}

// headObject gives the errors of the SDK.
func (b *s3Bucket) headObject(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	return b.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket:               &b.bucket,
		Key:                  aws.String(b.prefix + key),
		SSECustomerAlgorithm: b.customer.algorithm,
		SSECustomerKey:       b.customer.key,
		SSECustomerKeyMD5:    b.customer.md5,
	})
}

// explainHead finds out what a refused HEAD request means: its answer has no
// body, so a missing bucket and a wrong key can look like a missing object.
// Listing gives the reason, if the account may list; else the error stays.
func (b *s3Bucket) explainHead(ctx context.Context, e *opError, key string) error {
	status := statusOf(e.cause)
	ambiguous := status == http.StatusNotFound && !b.found.Load() || status == http.StatusForbidden || status == http.StatusBadRequest
	if !ambiguous {
		return e
	}
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	_, err := b.client.ListObjectsV2(request, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: aws.String(b.prefix + key), MaxKeys: aws.Int32(1)})
	if err == nil {
		b.found.Store(true)
		return e
	}
	reason := b.fail(request, "look at object", key, err)
	var api smithy.APIError
	if status == http.StatusNotFound && errors.As(err, &api) && api.ErrorCode() == "AccessDenied" {
		// It may read but not list: then 404 is what it says.
		return e
	}
	return reason
}

// List implements Bucket.
func (b *s3Bucket) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: aws.String(b.prefix + prefix)}
		for page, err := range b.pages(ctx, in) {
			if err != nil {
				yield(ObjectInfo{}, err)
				return
			}
			for _, o := range page.Contents {
				info := ObjectInfo{
					Key:     strings.TrimPrefix(aws.ToString(o.Key), b.prefix),
					Size:    aws.ToInt64(o.Size),
					ModTime: aws.ToTime(o.LastModified).UTC(),
					ETag:    aws.ToString(o.ETag),
				}
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// Prefixes implements Bucket.
func (b *s3Bucket) Prefixes(ctx context.Context, prefix string) ([]string, error) {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	var names []string
	in := &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: aws.String(b.prefix + prefix), Delimiter: aws.String("/")}
	for page, err := range b.pages(ctx, in) {
		if err != nil {
			return nil, err
		}
		for _, p := range page.CommonPrefixes {
			name := strings.TrimPrefix(aws.ToString(p.Prefix), b.prefix+prefix)
			names = append(names, strings.TrimSuffix(name, "/"))
		}
	}
	return names, nil
}

// pages yields the pages of a list, each within the time of one request.
func (b *s3Bucket) pages(ctx context.Context, in *s3.ListObjectsV2Input) iter.Seq2[*s3.ListObjectsV2Output, error] {
	return func(yield func(*s3.ListObjectsV2Output, error) bool) {
		pages := s3.NewListObjectsV2Paginator(b.client, in)
		for pages.HasMorePages() {
			request, cancel := withRequestTimeout(ctx)
			page, err := pages.NextPage(request)
			if err != nil {
				err = b.fail(request, "list objects in", "", err)
			}
			cancel()
			if !yield(page, err) || err != nil {
				return
			}
		}
	}
}
