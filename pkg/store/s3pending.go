package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// PendingUploads counts the uploads to keys that start with prefix which nobody has
// finished yet, and says when the oldest was begun, in UTC; zero when there is none
// or the server doesn't say. An account that may not list uploads is ErrDenied.
func (b *s3Bucket) PendingUploads(ctx context.Context, prefix string) (count int, oldest time.Time, err error) {
	count, oldest, err = b.countListed(ctx, b.prefix+prefix, prefix)
	if err != nil || count > 0 || b.prefix+prefix == "" {
		return count, oldest, err
	}
	// Some servers list only what has exactly the prefix as its key; see AbortUploads.
	count, oldest, err = b.countListed(ctx, "", prefix)
	if errors.Is(err, ErrDenied) {
		return 0, time.Time{}, nil
	}
	return count, oldest, err
}

// countListed counts those of the uploads listed below the prefix of the bucket that
// are to keys below our own.
func (b *s3Bucket) countListed(ctx context.Context, listed, prefix string) (count int, oldest time.Time, err error) {
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.bucket, Prefix: optional(listed)})
	for pages.HasMorePages() {
		request, cancel := withRequestTimeout(ctx)
		page, err := pages.NextPage(request)
		if err != nil {
			err = b.fail(request, "list unfinished uploads to", "", err)
		}
		cancel()
		if err != nil {
			return 0, time.Time{}, err
		}
		for _, u := range page.Uploads {
			if !strings.HasPrefix(aws.ToString(u.Key), b.prefix+prefix) {
				continue
			}
			if begun := aws.ToTime(u.Initiated).UTC(); count == 0 || begun.Before(oldest) {
				oldest = begun
			}
			count++
		}
	}
	return count, oldest, nil
}
