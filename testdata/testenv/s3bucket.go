package testenv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// CreateBucket makes a bucket; one that is there is fine.
func (s *S3Server) CreateBucket(ctx context.Context, name string) error {
	return s.createBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
}

// CreateLockingBucket makes a bucket that keeps versions and in which objects can
// be locked; of itself it locks none. Versity needs StartOptions.Versions.
func (s *S3Server) CreateLockingBucket(ctx context.Context, name string) error {
	return s.createBucket(ctx, &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: aws.Bool(true)})
}

func (s *S3Server) createBucket(ctx context.Context, in *s3.CreateBucketInput) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	_, err = client.CreateBucket(ctx, in)
	var owned *types.BucketAlreadyOwnedByYou
	if err != nil && !errors.As(err, &owned) {
		return fmt.Errorf("create bucket %q at %s: %w", *in.Bucket, s.URL, err)
	}
	return nil
}

// KeepVersions makes the bucket keep versions. Versity needs StartOptions.Versions.
func (s *S3Server) KeepVersions(ctx context.Context, bucket string) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	_, err = client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket:                  &bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		return fmt.Errorf("keep versions in bucket %q at %s: %w", bucket, s.URL, err)
	}
	return nil
}

// LockNew makes the bucket lock each new object in compliance mode for days.
func (s *S3Server) LockNew(ctx context.Context, bucket string, days int32) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	_, err = client.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{
		Bucket: &bucket,
		ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule:              &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeCompliance, Days: &days}},
		},
	})
	if err != nil {
		return fmt.Errorf("lock new objects of bucket %q at %s: %w", bucket, s.URL, err)
	}
	return nil
}

// Retain locks the object's version that is the latest until then, so that nobody
// can unlock it.
func (s *S3Server) Retain(ctx context.Context, bucket, key string, until time.Time) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	_, err = client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
		Bucket: &bucket, Key: &key,
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: &until},
	})
	if err != nil {
		return fmt.Errorf("retain %q in bucket %q at %s: %w", key, bucket, s.URL, err)
	}
	return nil
}

// Hold puts a legal hold on the object's version that is the latest, or takes it
// away.
func (s *S3Server) Hold(ctx context.Context, bucket, key string, on bool) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	status := types.ObjectLockLegalHoldStatusOff
	if on {
		status = types.ObjectLockLegalHoldStatusOn
	}
	_, err = client.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
		Bucket: &bucket, Key: &key, LegalHold: &types.ObjectLockLegalHold{Status: status},
	})
	if err != nil {
		return fmt.Errorf("hold %q in bucket %q at %s: %w", key, bucket, s.URL, err)
	}
	return nil
}

// BeginUpload begins a multipart upload and leaves it, with a part if there is a body.
func (s *S3Server) BeginUpload(ctx context.Context, bucket, key, body string) error {
	client, err := s.Client()
	if err != nil {
		return err
	}
	upload, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err == nil && body != "" {
		_, err = client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &bucket, Key: &key, UploadId: upload.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader(body),
		})
	}
	if err != nil {
		return fmt.Errorf("begin upload of %q in bucket %q at %s: %w", key, bucket, s.URL, err)
	}
	return nil
}

// Uploads lists the keys of the bucket's unfinished multipart uploads.
func (s *S3Server) Uploads(ctx context.Context, bucket string) ([]string, error) {
	client, err := s.Client()
	if err != nil {
		return nil, err
	}
	out, err := client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		return nil, fmt.Errorf("list uploads in bucket %q at %s: %w", bucket, s.URL, err)
	}
	var keys []string
	for _, u := range out.Uploads {
		keys = append(keys, aws.ToString(u.Key))
	}
	return keys, nil
}

// Client returns an administrator's client of the server.
func (s *S3Server) Client() (*s3.Client, error) {
	httpClient, err := trusting(s.CACert)
	if err != nil {
		return nil, err
	}
	return s3.New(s3.Options{
		BaseEndpoint: &s.URL,
		Region:       s3Region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		HTTPClient:   httpClient,
	}), nil
}
