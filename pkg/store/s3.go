package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

const (
	maxAttempts = 3
	maxBackoff  = 2 * time.Second
	// discoveryRegion answers for buckets of all regions of the standard
	// partition.
	discoveryRegion = "us-east-1"
	// maxUploadParts is S3's limit: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
	maxUploadParts = 10000
)

// s3Bucket is a Bucket on S3 or on a server that speaks its protocol.
type s3Bucket struct {
	client   *s3.Client
	bucket   string
	prefix   string // empty, or with a slash at its end
	config   settings.S3
	customer customerKey
	maxParts int
	secrets  *secretKeeper
	// found says that the bucket is known to exist: a HEAD of a missing
	// object looks the same as one in a missing bucket.
	found atomic.Bool
}

var (
	_ Bucket        = (*s3Bucket)(nil)
	_ UploadAborter = (*s3Bucket)(nil)
	_ Inspector     = (*s3Bucket)(nil)
)

func openS3(ctx context.Context, l Location) (*s3Bucket, error) {
	c, err := settings.ParseS3(l.Config)
	if err != nil {
		return nil, err
	}
	b := &s3Bucket{bucket: l.Bucket, prefix: l.Prefix, config: c, maxParts: maxUploadParts, secrets: &secretKeeper{}}
	if b.customer, err = loadCustomerKey(l, c); err != nil {
		return nil, err
	}
	cfg, err := loadAWSConfig(ctx, l, c, b.secrets.retryExpired)
	if err != nil {
		return nil, err
	}
	b.secrets.fixed = []string{aws.ToString(b.customer.key)}
	b.secrets.provider = cfg.Credentials
	b.secrets.load = func(ctx context.Context) (aws.CredentialsProvider, error) {
		again, err := loadAWSConfig(ctx, l, c)
		return again.Credentials, err
	}
	cfg.Credentials = b.secrets
	if b.config.Region == "" {
		if b.config.Region, err = b.discoverRegion(ctx, cfg, ""); err != nil {
			return nil, err
		}
	}
	cfg.Region = b.config.Region
	b.client = s3.NewFromConfig(cfg, b.clientOptions)
	return b, nil
}

// clientOptions are those that come from the location's config.
func (b *s3Bucket) clientOptions(o *s3.Options) {
	o.UsePathStyle = b.config.PathStyle
	if b.config.Endpoint != "" {
		o.BaseEndpoint = aws.String(b.config.Endpoint)
	}
	if b.config.Checksum == "" {
		// Servers that know no checksums reject requests that carry one.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
	o.DisableLogOutputChecksumValidationSkipped = true
}

// loadAWSConfig sets up what doesn't depend on the region. retryables say more
// about which errors are worth another attempt.
func loadAWSConfig(ctx context.Context, l Location, c settings.S3, retryables ...retry.IsErrorRetryableFunc) (aws.Config, error) {
	transport, err := transportOptions(l, c.Insecure)
	if err != nil {
		return aws.Config{}, err
	}
	// The SDK's own kind of client, from which it derives clients with other
	// timeouts, for instance for a node's metadata service. The read timeout would
	// end an upload that is merely slow; see stallConn.
	client := awshttp.NewBuildableClient().WithReadTimeout(0).WithTransportOptions(transport)
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithRegion(c.Region),
		config.WithLogger(logging.Nop{}),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff
				own := []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(neverBetter)}
				for _, f := range retryables {
					own = append(own, f)
				}
				o.Retryables = append(own, o.Retryables...)
			})
		}),
	}
	file, err := credentialsFile(l, c)
	if err != nil {
		return aws.Config{}, err
	}
	profile := c.Profile
	if file != "" {
		// One file is both credentials and shared config, as in Velero.
		options = append(options, config.WithSharedCredentialsFiles([]string{file}), config.WithSharedConfigFiles([]string{file}))
		if profile == "" {
			// Naming the profile makes the file win over the environment and
			// over the pod's web identity.
			profile = "default"
		}
	}
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, loadError(err, file)
	}
	return cfg, nil
}

// neverBetter says no to a repetition of what can't become better: the SDK takes
// a server's wrong certificate or protocol for a broken connection.
func neverBetter(err error) aws.Ternary {
	if isMistake(err) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

// credentialsFile picks the file to use, or none. The one that the location's
// mount may have brought is optional; the one named in config is not.
func credentialsFile(l Location, c settings.S3) (string, error) {
	if l.CredentialsFile != "" {
		_, err := os.Stat(l.CredentialsFile)
		if err == nil {
			return l.CredentialsFile, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read credentials file: %w", err)
		}
	}
	if c.CredentialsFile == "" {
		return "", nil
	}
	if _, err := os.Stat(c.CredentialsFile); err != nil {
		return "", fmt.Errorf("config key \"credentialsFile\": %w", err)
	}
	return c.CredentialsFile, nil
}

// loadError words what config.LoadDefaultConfig says without the content of
// the file, which its text may quote.
func loadError(err error, file string) error {
	var missing config.SharedConfigProfileNotExistError
	var pathError *fs.PathError
	switch {
	case errors.As(err, &missing):
		if file == "" {
			return fmt.Errorf("no profile %q in the AWS configuration; hint: correct the config key \"profile\"", missing.Profile)
		}
		return fmt.Errorf("no profile %q in credentials file %q; hint: correct the location's config key \"profile\", or the file: its first line is [%s]", missing.Profile, file, missing.Profile)
	case errors.As(err, &pathError):
		return fmt.Errorf("read credentials: %w", pathError)
	case file != "":
		return fmt.Errorf("credentials file %q is not a valid AWS credentials file", file)
	default:
		return fmt.Errorf("load AWS configuration: %s", scrub(err.Error()))
	}
}

// discoverRegion asks AWS where the bucket is. The answer's header tells even
// when the request is refused, so it needs no credentials.
func (b *s3Bucket) discoverRegion(ctx context.Context, cfg aws.Config, endpoint string) (string, error) {
	cfg.Region = discoveryRegion
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.Credentials = aws.AnonymousCredentials{}
		o.UsePathStyle = b.config.PathStyle
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errTimeout)
	defer cancel()
	out, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.bucket})
	region := ""
	if err == nil {
		region = aws.ToString(out.BucketRegion)
	} else if response := (*smithyhttp.ResponseError)(nil); errors.As(err, &response) {
		region = response.Response.Header.Get("X-Amz-Bucket-Region")
	}
	switch {
	case region != "":
		return region, nil
	case err == nil:
		err = errors.New("the answer names no region")
	}
	e := b.fail(ctx, "look up the region of", "", err)
	if e.kind == ErrNotExist {
		e.kind, e.hint = ErrNoBucket, b.hintNoBucket()
	}
	if e.hint == "" || e.kind == ErrDenied {
		e.hint = "set the config key \"region\" of the location"
	}
	return "", e
}
