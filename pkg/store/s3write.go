package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"
)

const (
	// deleteParallel is how many objects are deleted at once: one request
	// each, since not every server knows the request for many.
	deleteParallel = 8
	// conflictRetries is how often a create is repeated that met another one
	// under way.
	conflictRetries = 3
	conflictPause   = 200 * time.Millisecond
)

// putObject fills in what the location's config says about new objects.
func (b *s3Bucket) putObject(key string, body io.Reader, size int64) *s3.PutObjectInput {
	return &s3.PutObjectInput{
		Bucket:               &b.bucket,
		Key:                  aws.String(b.prefix + key),
		Body:                 body,
		ContentLength:        &size,
		ChecksumAlgorithm:    b.config.checksum,
		ServerSideEncryption: b.config.encryption,
		SSEKMSKeyId:          optional(b.config.kmsKeyID),
		Tagging:              optional(b.config.tagging),
	}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Create implements Bucket. It looks first, since some servers ignore the
// condition: on those, it still won't replace an object that is there.
func (b *s3Bucket) Create(ctx context.Context, key string, body []byte) error {
	const op = "create object"
	switch _, err := b.Stat(ctx, key); {
	case err == nil:
		return &opError{op: b.describe(op, key), kind: ErrExists}
	case !errors.Is(err, ErrNotExist):
		return err
	}
	ctx, cancel := withRequestTimeout(ctx)
	defer cancel()
	in := b.putObject(key, nil, int64(len(body)))
	in.IfNoneMatch = aws.String("*")
	for attempt := 0; ; attempt++ {
		in.Body = bytes.NewReader(body)
		_, err := b.client.PutObject(ctx, in)
		switch {
		case err == nil:
			b.found.Store(true)
			return nil
		case statusOf(err) == http.StatusNotImplemented && in.IfNoneMatch != nil:
			in.IfNoneMatch = nil
		case statusOf(err) == http.StatusConflict && attempt < conflictRetries:
			pause(ctx, conflictPause)
		default:
			return b.fail(ctx, op, key, err)
		}
	}
}

// pause waits, but not beyond the end of ctx; the next request tells of that.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Delete implements Bucket.
func (b *s3Bucket) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(deleteParallel)
	for _, key := range keys {
		group.Go(func() error { return b.deleteOne(ctx, key) })
	}
	return group.Wait()
}

func (b *s3Bucket) deleteOne(ctx context.Context, key string) error {
	ctx, cancel := withRequestTimeout(ctx)
	defer cancel()
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.bucket, Key: aws.String(b.prefix + key)})
	if err == nil {
		return nil
	}
	if e := b.fail(ctx, "delete object", key, err); e.kind != ErrNotExist {
		return e
	}
	return nil
}

// AbortUploads implements UploadAborter. An account that may not list uploads
// gets ErrDenied.
func (b *s3Bucket) AbortUploads(ctx context.Context, prefix string) (int, error) {
	const op = "abort unfinished uploads to"
	aborted := 0
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.bucket, Prefix: aws.String(b.prefix + prefix)})
	for pages.HasMorePages() {
		request, cancel := withRequestTimeout(ctx)
		page, err := pages.NextPage(request)
		if err != nil {
			err = b.fail(request, op, "", err)
		}
		cancel()
		if err != nil {
			return aborted, err
		}
		for _, u := range page.Uploads {
			if !strings.HasPrefix(aws.ToString(u.Key), b.prefix+prefix) {
				continue
			}
			if err := b.abortUpload(ctx, u.Key, u.UploadId); err != nil {
				return aborted, b.fail(ctx, op, "", err)
			}
			aborted++
		}
	}
	return aborted, nil
}

// abortUpload is content with an upload that is gone.
func (b *s3Bucket) abortUpload(ctx context.Context, key, id *string) error {
	ctx, cancel := withRequestTimeout(ctx)
	defer cancel()
	_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.bucket, Key: key, UploadId: id})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "NoSuchUpload" {
		return nil
	}
	return err
}
