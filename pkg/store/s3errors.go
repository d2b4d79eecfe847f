package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// fail makes an error of this package out of one of the SDK. op is a verb with
// what it applies to, as in "read object"; key may be empty.
func (b *s3Bucket) fail(ctx context.Context, op, key string, err error) *opError {
	e := &opError{op: b.describe(op, key), cause: err}
	b.classify(ctx, e)
	if isLocked(codeOf(err), e.detail) {
		e.kind, e.hint = &LockedError{Key: key}, ""
	}
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
	case b.config.Endpoint != "":
		return b.config.Endpoint
	case b.config.Region != "":
		return "AWS " + b.config.Region
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
	case classifyCancelled(ctx, e):
	case errors.As(e.cause, &credentials):
		b.classifyCredentials(ctx, e, credentials)
	case errors.Is(e.cause, errNotEncrypted):
		e.detail = errNotEncrypted.Error()
		e.hint = "nothing was stored: use a server that knows SSE-C, or remove the config key \"customerKeyEncryption…\" of the location"
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
	codesExpired    = []string{"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired", "AuthFailure"}
	codesDenied     = []string{"AccessDenied", "Forbidden", "AllAccessDisabled", "AccountProblem", "Unauthorized", "UnauthorizedAccess", "AccessDeniedException"}
	codesRegion     = []string{"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "BadRequest", "MovedPermanently"}
	codesBusy       = []string{"SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "XMinioServerNotInitialized"}
	codesChecksum   = []string{"NotImplemented", "XAmzContentSHA256Mismatch", "InvalidDigest", "BadDigest", "XAmzContentChecksumMismatch"}
)

const (
	hintSecretKey = "the secret key doesn't belong to the access key: check the credentials secret of the location"
	hintRights    = "grant the account s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the bucket's objects, s3:ListBucket and s3:ListBucketMultipartUploads on the bucket"
	hintKMSRights = "grant the account kms:GenerateDataKey and kms:Decrypt on the key that encrypts the bucket's objects"
	hintCustomer  = "the object is encrypted with a customer's key, and the location has another one or none: see its config key \"customerKeyEncryptionSecret\""
)

// Words in the messages of the stores, where the code says too little.
const (
	wordsKMS      = "kms:"
	wordsCustomer = "Server Side Encryption"
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
		e.kind, e.hint = ErrDenied, hintClocks(e.cause)
	case code == "PreconditionFailed" || status == http.StatusPreconditionFailed:
		e.kind = ErrExists
	case region != "" && region != b.config.Region && (is(codesRegion) || status == http.StatusMovedPermanently || status == http.StatusBadRequest):
		e.hint = fmt.Sprintf("the bucket is in region %q: set the config key \"region\" of the location to it", region)
	case is(codesDenied) && strings.Contains(e.detail, wordsKMS):
		e.kind, e.hint = ErrDenied, hintKMSRights
	case status == http.StatusBadRequest && strings.Contains(e.detail, wordsCustomer):
		e.kind, e.hint = ErrDenied, hintCustomer
	case code == "InvalidStorageClass":
		e.hint = "correct the config key \"storageClass\" of the location"
	case status == http.StatusNotImplemented && b.config.Encryption != "" && strings.Contains(e.detail, "KMS"):
		e.hint = "the server has no keys to encrypt with: remove the config keys \"kmsKeyId\" and \"serverSideEncryption\" of the location, or set the server up"
	case is(codesDenied), status == http.StatusForbidden, status == http.StatusUnauthorized:
		e.kind, e.hint = ErrDenied, hintRights
		if b.customer.key != nil {
			e.hint += "; or " + hintCustomer
		}
	case is(codesBusy), status == http.StatusTooManyRequests, status >= 500 && status != http.StatusNotImplemented:
		e.kind = ErrUnavailable
	case is(codesChecksum) && b.config.Checksum != "":
		e.hint = "if the server doesn't know S3's checksums, set the config key \"checksumAlgorithm\" of the location to \"\""
	case status == http.StatusNotFound && code == "":
		e.kind = ErrNotExist
	case status == http.StatusBadRequest && code == "" && strings.HasPrefix(b.config.Endpoint, "http://"):
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
	if op != nil && op.Operation() == "AssumeRoleWithWebIdentity" {
		e.hint = "the role's trust policy must name the service account of this pod (system:serviceaccount:NAMESPACE:NAME, audience sts.amazonaws.com) and the cluster's identity provider"
		return
	}
	e.hint = "give the location a credentials secret (install --secret-file), or its pod an identity that the store trusts"
}

func (b *s3Bucket) classifyNetwork(ctx context.Context, e *opError) {
	classifyNetwork(ctx, e, networkHints{Reach: b.hintReach(), URL: "s3Url"})
	var dns *net.DNSError
	if errors.As(e.cause, &dns) && b.config.Endpoint != "" && !b.config.PathStyle && strings.HasPrefix(dns.Name, b.bucket+".") {
		e.hint = "set the config key \"s3ForcePathStyle\" of the location to \"true\", unless the server has a host name for each bucket"
	}
}

func (b *s3Bucket) hintReach() string {
	if b.config.Endpoint == "" {
		return "check that AWS can be reached from here, and the config key \"region\" of the location"
	}
	return "check that the store runs and that s3Url of the location can be reached from here"
}

// hintClocks tells both clocks.
func hintClocks(err error) string {
	server := serverTime(err)
	if server.IsZero() {
		return "the clocks of this machine and of the store differ too much"
	}
	return fmt.Sprintf("correct the clock of this machine, which says %s, or of the store, which says %s",
		time.Now().UTC().Format(time.DateTime), server.Format(time.DateTime))
}

// serverTime is what the store's clock said when it refused, or zero.
func serverTime(err error) time.Time {
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.Response == nil {
		return time.Time{}
	}
	t, err := http.ParseTime(response.Response.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
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
