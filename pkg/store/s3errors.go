package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// errTimeout is the cause with which a request of ours is given up.
var errTimeout = errors.New("no answer in time")

// secretKeeper hands out credentials and remembers them, so that they can be
// kept out of error texts.
type secretKeeper struct {
	provider aws.CredentialsProvider

	mu   sync.Mutex
	last aws.Credentials // guarded by mu
}

// credentialsError tells trouble on the way to credentials from trouble with
// the store.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "get credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// Retrieve is called by the SDK for every request; the provider caches.
func (k *secretKeeper) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if k.provider == nil {
		return aws.Credentials{}, &credentialsError{errors.New("there are none")}
	}
	c, err := k.provider.Retrieve(ctx)
	if err != nil {
		return c, &credentialsError{err}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = c
	return c, nil
}

func (k *secretKeeper) secrets() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return []string{
		k.last.SecretAccessKey, url.QueryEscape(k.last.SecretAccessKey),
		k.last.SessionToken, url.QueryEscape(k.last.SessionToken),
	}
}

// fail makes an error of this package out of one of the SDK. op is a verb with
// what it applies to, as in "read object"; key may be empty.
func (b *s3Bucket) fail(ctx context.Context, op, key string, err error) *opError {
	e := &opError{op: b.describe(op, key), cause: err}
	b.classify(ctx, e)
	e.detail = scrub(e.detail, b.secrets.secrets()...)
	return e
}

// describe says what is tried, on what, and where.
func (b *s3Bucket) describe(op, key string) string {
	if key == "" {
		return fmt.Sprintf("%s bucket %q at %s", op, b.bucket, b.where())
	}
	return fmt.Sprintf("%s %q in bucket %q at %s", op, b.prefix+key, b.bucket, b.where())
}

// where names the server.
func (b *s3Bucket) where() string {
	switch {
	case b.config.endpoint != "":
		return b.config.endpoint
	case b.config.region != "":
		return "AWS " + b.config.region
	default:
		return "AWS"
	}
}

// classify fills in kind, detail and hint from e.cause.
func (b *s3Bucket) classify(ctx context.Context, e *opError) {
	var credentials *credentialsError
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	switch {
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTimeout):
		// The caller gave up; what the SDK makes of it doesn't matter.
		e.cause = errors.Join(context.Cause(ctx), ctx.Err())
		e.detail = context.Cause(ctx).Error()
	case errors.As(e.cause, &credentials):
		b.classifyCredentials(ctx, e, credentials)
	case errors.As(e.cause, &api) && api.ErrorCode() != "":
		e.detail = api.ErrorCode() + ": " + api.ErrorMessage()
		b.classifyCode(e, api.ErrorCode(), statusOf(e.cause))
		e.detail += requestID(e.cause)
	case errors.As(e.cause, &response) && response.HTTPStatusCode() != 0:
		status := response.HTTPStatusCode()
		e.detail = fmt.Sprintf("HTTP status %d", status) + requestID(e.cause)
		b.classifyCode(e, "", status)
	default:
		b.classifyNetwork(ctx, e)
	}
}

// Codes of S3 and of servers like it, by what they mean to us. XAdminUserNotFound
// is versitygw's for an unknown access key.
var (
	codesNoBucket   = []string{"NoSuchBucket", "InvalidBucketName"}
	codesNotExist   = []string{"NoSuchKey", "NotFound", "NoSuchVersion"}
	codesUnknownKey = []string{"InvalidAccessKeyId", "XAdminUserNotFound", "InvalidClientTokenId"}
	codesExpired    = []string{"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
	codesDenied     = []string{"AccessDenied", "Forbidden", "AllAccessDisabled", "AccountProblem", "Unauthorized", "UnauthorizedAccess", "AccessDeniedException"}
	codesRegion     = []string{"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "BadRequest", "MovedPermanently"}
	codesBusy       = []string{"SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "XMinioServerNotInitialized"}
	codesChecksum   = []string{"NotImplemented", "XAmzContentSHA256Mismatch", "InvalidDigest", "BadDigest", "XAmzContentChecksumMismatch"}
)

const (
	hintSecretKey = "the secret key doesn't belong to the access key: check the credentials secret of the location"
	hintRights    = "grant the account s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on the bucket's objects and s3:ListBucket on the bucket"
)

func (b *s3Bucket) hintNoBucket() string {
	return fmt.Sprintf("create the bucket %q, or correct spec.objectStorage.bucket of the location", b.bucket)
}

func (b *s3Bucket) classifyCode(e *opError, code string, status int) {
	is := func(codes []string) bool { return slices.Contains(codes, code) }
	region := regionOf(e.cause)
	switch {
	case is(codesNoBucket):
		e.kind, e.hint = ErrNoBucket, b.hintNoBucket()
	case is(codesNotExist):
		e.kind = ErrNotExist
	case is(codesUnknownKey):
		e.kind, e.hint = ErrDenied, "the store doesn't know this access key: check the credentials secret of the location"
	case code == "SignatureDoesNotMatch":
		e.kind, e.hint = ErrDenied, hintSecretKey
	case is(codesExpired):
		e.kind, e.hint = ErrDenied, "the credentials have expired or are not valid: renew them"
	case code == "RequestTimeTooSkewed":
		e.kind, e.hint = ErrDenied, "the clocks of this machine and of the store differ too much"
	case code == "PreconditionFailed" || status == http.StatusPreconditionFailed:
		e.kind = ErrExists
	case region != "" && region != b.config.region && (is(codesRegion) || status == http.StatusMovedPermanently || status == http.StatusBadRequest):
		e.hint = fmt.Sprintf("the bucket is in region %q: set the config key \"region\" of the location to it", region)
	case is(codesDenied), status == http.StatusForbidden, status == http.StatusUnauthorized:
		e.kind, e.hint = ErrDenied, hintRights
	case is(codesBusy), status == http.StatusTooManyRequests, status >= 500 && status != http.StatusNotImplemented:
		e.kind = ErrUnavailable
	case is(codesChecksum) && b.config.checksum != "":
		e.hint = "if the server doesn't know S3's checksums, set the config key \"checksumAlgorithm\" of the location to \"\""
	case status == http.StatusNotFound && code == "":
		e.kind = ErrNotExist
	case status == http.StatusBadRequest && code == "" && strings.HasPrefix(b.config.endpoint, "http://"):
		e.hint = "is this the port of an S3 server? If it speaks TLS, s3Url must start with https://"
	}
}

func (b *s3Bucket) classifyCredentials(ctx context.Context, e *opError, err *credentialsError) {
	var op *smithy.OperationError
	var api smithy.APIError
	e.detail = rootText(err.err)
	if errors.As(err.err, &op) && op.Service() == "STS" && !errors.As(err.err, &api) {
		e.cause = err.err
		b.classifyNetwork(ctx, e)
		e.detail = "get credentials from AWS STS: " + e.detail
		return
	}
	e.kind = ErrDenied
	e.detail = "no credentials: " + e.detail
	e.hint = "give the location a credentials secret (install --secret-file), or its pod an identity that the store trusts"
}

func (b *s3Bucket) classifyNetwork(ctx context.Context, e *opError) {
	var certificate *tls.CertificateVerificationError
	var unknownCA x509.UnknownAuthorityError
	var dns *net.DNSError
	var network net.Error
	err := e.cause
	e.detail = rootText(err)
	switch {
	case errors.As(err, &unknownCA):
		e.hint = "name the certificate of the store's CA in spec.objectStorage of the location: caCertRef, or caCert"
	case errors.As(err, &certificate):
		e.hint = "the store's certificate must be valid for the host in s3Url"
	case speaksPlainHTTP(err):
		e.hint = "the store speaks plain http: correct s3Url"
	case errors.Is(context.Cause(ctx), errTimeout), errors.Is(err, errTimeout):
		e.kind, e.detail = ErrUnavailable, fmt.Sprintf("no answer within %s", requestTimeout)
		e.hint = b.hintReach()
	case errors.As(err, &dns):
		e.kind, e.hint = ErrUnavailable, b.hintReach()
		if b.config.endpoint != "" && !b.config.pathStyle && strings.HasPrefix(dns.Name, b.bucket+".") {
			e.hint = "set the config key \"s3ForcePathStyle\" of the location to \"true\", unless the server has a host name for each bucket"
		}
	case errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.kind, e.hint = ErrUnavailable, b.hintReach()
	}
}

// speaksPlainHTTP says that a server didn't answer with TLS.
func speaksPlainHTTP(err error) bool {
	var notTLS tls.RecordHeaderError
	return errors.As(err, &notTLS) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

func (b *s3Bucket) hintReach() string {
	if b.config.endpoint == "" {
		return "check that AWS can be reached from here, and the config key \"region\" of the location"
	}
	return "check that the store runs and that s3Url of the location can be reached from here"
}

// rootText is the innermost readable part of an error: the SDK's wrappers
// repeat each other.
func rootText(err error) string {
	if err == nil {
		return ""
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return certificate.Error()
	}
	var u *url.Error
	if errors.As(err, &u) {
		// Without the URL: it may be a signed one.
		return u.Err.Error()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

func statusOf(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

func regionOf(err error) string {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		return response.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// requestID is what the store's operator needs to find the request.
func requestID(err error) string {
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.ServiceRequestID() != "" {
		return fmt.Sprintf(" (request %s)", response.ServiceRequestID())
	}
	return ""
}
