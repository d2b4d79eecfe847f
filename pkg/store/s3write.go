package store

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
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
func (b *s3Bucket) putObject(key string, body io.ReadSeeker, size int64) (*s3.PutObjectInput, error) {
	sum, err := b.contentMD5(body)
	if err != nil {
		return nil, err
	}
	return &s3.PutObjectInput{
		Bucket:               &b.bucket,
		Key:                  aws.String(b.prefix + key),
		Body:                 body,
		ContentLength:        &size,
		ContentMD5:           sum,
		ChecksumAlgorithm:    types.ChecksumAlgorithm(b.config.Checksum),
		ServerSideEncryption: types.ServerSideEncryption(b.config.Encryption),
		SSEKMSKeyId:          optional(b.config.KMSKeyID),
		SSECustomerAlgorithm: b.customer.algorithm,
		SSECustomerKey:       b.customer.key,
		SSECustomerKeyMD5:    b.customer.md5,
		StorageClass:         types.StorageClass(b.config.StorageClass),
		Tagging:              optional(b.config.Tagging),
	}, nil
}

// contentMD5 is the checksum that servers without S3's newer ones know; a bucket
// with object lock asks for one or the other. It leaves the body at its beginning.
func (b *s3Bucket) contentMD5(body io.ReadSeeker) (*string, error) {
	if b.config.Checksum != "" {
		return nil, nil
	}
	h := md5.New()
	if _, err := io.Copy(h, body); err != nil {
		return nil, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return aws.String(base64.StdEncoding.EncodeToString(h.Sum(nil))), nil
}

// put writes one object with one request. It gives the errors of the SDK.
func (b *s3Bucket) put(ctx context.Context, in *s3.PutObjectInput) error {
	out, err := b.client.PutObject(ctx, in)
	if err != nil {
		return err
	}
	if err := b.customer.used(out.SSECustomerAlgorithm); err != nil {
		// What it says about this object doesn't matter any more.
		_, _ = b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: in.Key})
		return err
	}
	b.found.Store(true)
	return nil
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
	return b.createIfAbsent(ctx, key, body, true)
}

// createIfAbsent leaves it to the server to keep what is there. If fallback is set
// and it knows no conditions, the object is written without one.
func (b *s3Bucket) createIfAbsent(ctx context.Context, key string, body []byte, fallback bool) error {
	const op = "create object"
	in, err := b.putObject(key, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return b.fail(ctx, op, key, err)
	}
	in.IfNoneMatch = aws.String("*")
	for attempt := 0; ; attempt++ {
		in.Body = bytes.NewReader(body)
		err := b.put(ctx, in)
		switch {
		case err == nil:
			return nil
		case fallback && statusOf(err) == http.StatusNotImplemented && in.IfNoneMatch != nil:
			in.IfNoneMatch = nil
		case statusOf(err) == http.StatusConflict && attempt < conflictRetries:
			pause(ctx, conflictPause)
		default:
			return b.fail(ctx, op, key, err)
		}
	}
}

// Delete implements Bucket.
func (b *s3Bucket) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			return err
		}
	}
	there, err := b.checkDeletes(ctx, keys)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(deleteParallel)
	for _, key := range there {
		group.Go(func() error { return b.deleteOne(ctx, key) })
	}
	return group.Wait()
}

// CheckLocks implements LockChecker.
func (b *s3Bucket) CheckLocks(ctx context.Context, keys ...string) error {
	_, err := b.checkDeletes(ctx, keys)
	return err
}

// checkDeletes gives the keys that are there, or fails before anything is deleted
// if one is locked.
func (b *s3Bucket) checkDeletes(ctx context.Context, keys []string) ([]string, error) {
	exists := make([]bool, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(deleteParallel)
	for i, key := range keys {
		group.Go(func() (err error) {
			exists[i], err = b.checkDelete(ctx, key)
			return err
		})
	}
	err := group.Wait()
	var there []string
	for i, key := range keys {
		if exists[i] {
			there = append(there, key)
		}
	}
	return there, err
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
// gets ErrDenied. MinIO lists only the uploads to one key, or all of the bucket:
// so where the prefix finds none, all are looked through, if the account may.
func (b *s3Bucket) AbortUploads(ctx context.Context, prefix string) (int, error) {
	aborted, err := b.abortListed(ctx, b.prefix+prefix, prefix)
	if err != nil || aborted > 0 || b.prefix+prefix == "" {
		return aborted, err
	}
	aborted, err = b.abortListed(ctx, "", prefix)
	if errors.Is(err, ErrDenied) {
		return aborted, nil
	}
	return aborted, err
}

// abortListed aborts those of the uploads listed below the prefix of the bucket that
// are to keys below our own.
func (b *s3Bucket) abortListed(ctx context.Context, listed, prefix string) (aborted int, err error) {
	const op = "abort unfinished uploads to"
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.bucket, Prefix: optional(listed)})
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
