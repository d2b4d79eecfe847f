package store

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// answerTimeout is how long one attempt at a request of little data may take.
const answerTimeout = 30 * time.Second

// Amazon is how to reach another service of AWS than S3: with credentials of the same
// form, and the same care for the network. It is safe for concurrent use.
type Amazon struct {
	config  aws.Config
	secrets *secretKeeper
}

// AmazonIdentity says who is to ask, and where.
type AmazonIdentity struct {
	// CredentialsFile is that of the location's credential; it is optional.
	CredentialsFile string
	// ConfiguredFile is the config key credentialsFile, used if there is no such
	// file as CredentialsFile. If both are empty, the SDK's own search counts.
	ConfiguredFile string
	// Profile is the one in the file; empty for the default.
	Profile string
	// CACert is trusted beside the system's certificates (PEM); it may be empty.
	CACert []byte
	// Region is where the service is asked.
	Region string
	// MaxAttempts is how often a request is sent at most, MaxBackoff the longest
	// pause between two.
	MaxAttempts int
	MaxBackoff  time.Duration
}

// OpenAmazon reads the configuration. It sends nothing.
func OpenAmazon(ctx context.Context, id AmazonIdentity) (*Amazon, error) {
	l := Location{CredentialsFile: id.CredentialsFile, CACert: id.CACert}
	c := settings.S3{Region: id.Region, Profile: id.Profile, CredentialsFile: id.ConfiguredFile}
	cfg, err := loadAWSConfig(ctx, l, c)
	if err != nil {
		return nil, err
	}
	keeper := &secretKeeper{provider: cfg.Credentials}
	keeper.load = func(ctx context.Context) (aws.CredentialsProvider, error) {
		again, err := loadAWSConfig(ctx, l, c)
		return again.Credentials, err
	}
	cfg.Credentials = keeper
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff, o.RateLimiter = id.MaxAttempts, id.MaxBackoff, ratelimit.None
			o.Retryables = append([]retry.IsErrorRetryable{
				retry.IsErrorRetryableFunc(neverBetter), retry.IsErrorRetryableFunc(keeper.retryExpired),
			}, o.Retryables...)
		})
	}
	if client, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = client.WithTimeout(answerTimeout)
	}
	return &Amazon{cfg, keeper}, nil
}

// Config is what a client of the SDK is made of.
func (a *Amazon) Config() aws.Config { return a.config.Copy() }

// Explain says why a request got no answer. ctx is that of the request.
func (a *Amazon) Explain(ctx context.Context, err error) Trouble {
	e := &opError{cause: err}
	var credentials *credentialsError
	switch {
	case classifyCancelled(ctx, e):
		return Trouble{Text: e.detail}
	case errors.As(err, &credentials):
		(&s3Bucket{config: settings.S3{Region: a.config.Region}}).classifyCredentials(ctx, e, credentials)
	default:
		classifyNetwork(ctx, e, networkHints{Reach: "check that AWS can be reached from here, and the config key \"region\" of the location", URL: "the API"})
		if unknownCA := (x509.UnknownAuthorityError{}); errors.As(err, &unknownCA) {
			e.hint = "name a file with the certificate of the CA in the Job's environment: AWS_CA_BUNDLE"
		}
	}
	return Trouble{Text: a.Scrub(e.detail), Hint: e.hint, Temporary: errors.Is(e.kind, ErrUnavailable) && !isMistake(err)}
}

// NoCredentials says that a request wasn't sent since there are no credentials: the
// error is that of whoever gives them, not the service's.
func (a *Amazon) NoCredentials(err error) bool {
	var credentials *credentialsError
	return errors.As(err, &credentials)
}

// Scrub takes the secrets out of a text and makes it one line.
func (a *Amazon) Scrub(text string) string { return scrub(text, a.secrets.secrets()...) }
