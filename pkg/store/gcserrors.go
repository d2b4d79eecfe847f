package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
)

const (
	hintGCSRights = "grant the account storage.objects.create, storage.objects.get, storage.objects.list and storage.objects.delete on the bucket, for instance by the role roles/storage.objectUser"
	hintGCSKMS    = "grant the project's Cloud Storage service agent the role roles/cloudkms.cryptoKeyEncrypterDecrypter on the key that kmsKeyName names"
	hintGCSReach  = "check that Google Cloud Storage can be reached from here"
)

// Reasons of the JSON API by what they mean to us:
// https://cloud.google.com/storage/docs/json_api/v1/status-codes
var (
	gcsReasonsBusy   = []string{"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "concurrentLimitExceeded", "backendError", "internalError"}
	gcsReasonsLocked = []string{"retentionPolicyNotMet", "objectUnderActiveHold"}
)

// underHold is the text of a refusal that GCS gives the same reason as a missing
// right.
var underHold = regexp.MustCompile(`is under active \S+ hold`)

// tokenLike matches access tokens and signed assertions of Google's.
var tokenLike = regexp.MustCompile(`ya29\.[\w.-]+|eyJ[\w-]+\.[\w-]+\.[\w-]*`)

// fail makes an error of this package out of one of the SDK. op is a verb with
// what it applies to, as in "read object"; key may be empty.
func (b *gcsBucket) fail(ctx context.Context, op, key string, err error) *opError {
	e := &opError{op: b.describe(op, key), cause: err}
	b.classify(ctx, e)
	e.detail = tokenLike.ReplaceAllString(scrub(e.detail, b.tokens.secrets()...), "REDACTED")
	return e
}

// describe says what is tried, on what, and where.
func (b *gcsBucket) describe(op, key string) string {
	if key == "" {
		return fmt.Sprintf("%s bucket %q at %s", op, b.bucket, b.where())
	}
	return fmt.Sprintf("%s %q in bucket %q at %s", op, b.prefix+key, b.bucket, b.where())
}

// classify fills in kind, detail and hint from e.cause.
func (b *gcsBucket) classify(ctx context.Context, e *opError) {
	var credentials *credentialsError
	answer := answerOf(e.cause)
	switch {
	case classifyCancelled(ctx, e):
	case errors.As(e.cause, &credentials):
		classifyGoogleCredentials(ctx, e, credentials.err)
	case answer != nil:
		b.classifyAnswer(e, answer)
	case errors.Is(e.cause, errNoProgress):
		e.kind, e.detail, e.hint = ErrUnavailable, errNoProgress.Error(), b.hintReach()
	default:
		classifyNetwork(ctx, e, networkHints{Reach: b.hintReach(), URL: `the config key "storeEndpoint"`})
	}
}

// answerOf is the store's answer that an error tells of, or nil. Where an object's
// content was asked for, the SDK leaves it unread.
func answerOf(err error) *googleapi.Error {
	var answer *googleapi.Error
	if !errors.As(err, &answer) || answer.Message != "" {
		return answer
	}
	var body struct {
		Error struct {
			Message string                `json:"message"`
			Errors  []googleapi.ErrorItem `json:"errors"`
		} `json:"error"`
	}
	if json.Unmarshal([]byte(answer.Body), &body) != nil {
		return answer // some proxy's
	}
	read := *answer
	read.Message, read.Errors = body.Error.Message, body.Error.Errors
	return &read
}

// hasReason says that the store gives one of the reasons.
func hasReason(answer *googleapi.Error, reasons []string) bool {
	return slices.ContainsFunc(answer.Errors, func(i googleapi.ErrorItem) bool { return slices.Contains(reasons, i.Reason) })
}

func (b *gcsBucket) classifyAnswer(e *opError, answer *googleapi.Error) {
	e.detail = answerText(answer)
	switch status := answer.Code; {
	case hasReason(answer, gcsReasonsBusy), status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500 && status != http.StatusNotImplemented:
		e.kind = ErrUnavailable
	case hasReason(answer, gcsReasonsLocked), status == http.StatusForbidden && underHold.MatchString(answer.Message):
		e.kind = ErrLocked
	case status == http.StatusNotFound && (errors.Is(e.cause, storage.ErrBucketNotExist) || saysNoBucket(answer)):
		e.kind, e.hint = ErrNoBucket, b.hintNoBucket()
	case status == http.StatusNotFound:
		e.kind = ErrNotExist
	case status == http.StatusPreconditionFailed:
		e.kind = ErrExists
	case status == http.StatusGone:
		// A session that the store has forgotten; a new upload gets a new one.
		e.kind = ErrUnavailable
	case status == http.StatusUnauthorized:
		e.kind, e.hint = ErrDenied, "the store doesn't take this account's token: check the credentials secret of the location, or the identity of its pod"
	case mentionsKMS(answer):
		e.hint = hintGCSKMS
		if status == http.StatusForbidden {
			e.kind = ErrDenied
		}
	case status == http.StatusForbidden:
		e.kind, e.hint = ErrDenied, hintGCSRights
	case status == http.StatusBadRequest && strings.HasPrefix(b.endpoint(), "http://") && answer.Message == "":
		e.hint = "is this the port of a GCS server? If it speaks TLS, storeEndpoint must start with https://"
	}
}

// answerText is what the store says, for a person and for the store's support.
func answerText(answer *googleapi.Error) string {
	text := fmt.Sprintf("HTTP status %d", answer.Code)
	if answer.Message != "" {
		text = answer.Message
	}
	if len(answer.Errors) > 0 && answer.Errors[0].Reason != "" {
		text = answer.Errors[0].Reason + ": " + text
	}
	if id := answer.Header.Get("X-Guploader-Uploadid"); id != "" {
		text += fmt.Sprintf(" (request %s)", id)
	}
	return text
}

// saysNoBucket reads the text, since the reason is the same as for an object.
func saysNoBucket(answer *googleapi.Error) bool {
	return strings.Contains(strings.ToLower(answer.Message), "bucket does not exist")
}

func mentionsKMS(answer *googleapi.Error) bool {
	return strings.Contains(answer.Message, "Cloud KMS") || strings.Contains(answer.Message, "cloudkms.")
}

// classifyGoogleCredentials is for trouble on the way to a token.
func classifyGoogleCredentials(ctx context.Context, e *opError, err error) {
	var refused *tokenRefusal
	var universe *universeError
	switch {
	case errors.As(err, &universe):
		e.kind, e.detail = ErrDenied, universe.Error()
		e.hint = fmt.Sprintf("set the config key \"universeDomain\" of the location to %q, or take credentials of %q", universe.found, universe.configured)
	case errors.As(err, &refused):
		classifyRefusedToken(e, refused)
	case errors.Is(err, errTimeout), errors.Is(context.Cause(ctx), errTimeout), isNetwork(err):
		e.cause = err
		classifyNetwork(ctx, e, networkHints{Reach: "check that the token server that the credentials name can be reached from here", URL: "the credentials"})
		e.detail = "get a token: " + e.detail
	default:
		e.kind, e.detail = ErrDenied, "no credentials: "+strings.TrimPrefix(rootText(err), "credentials: ")
		e.hint = "give the location a credentials secret (install --secret-file), or its pod an identity that Google trusts"
	}
}

// classifyRefusedToken is for an answer of a token server, in Google's words.
func classifyRefusedToken(e *opError, refused *tokenRefusal) {
	e.kind, e.detail = ErrDenied, refused.Error()
	switch {
	case refused.temporary():
		e.kind = ErrUnavailable
	case strings.Contains(refused.text, "reasonable timeframe"):
		e.hint = "the clocks of this machine and of Google differ too much" + bothClocks(refused.date)
	case strings.Contains(refused.text, "Invalid JWT Signature"):
		e.hint = "the key in the credentials secret is no longer one of the service account's: create a new one"
	case strings.Contains(refused.text, "account not found"):
		e.hint = "the service account of the credentials secret does not exist any more: restore it, or use another"
	default:
		e.hint = "check the credentials secret of the location, or that the pool and the service account trust this cluster"
	}
}

// bothClocks tells ours and theirs, if an answer told that.
func bothClocks(theirs time.Time) string {
	if theirs.IsZero() {
		return ""
	}
	const format = "2006-01-02 15:04:05 UTC"
	return fmt.Sprintf(": here it is %s, there %s", time.Now().UTC().Format(format), theirs.UTC().Format(format))
}

func (b *gcsBucket) hintNoBucket() string {
	return fmt.Sprintf("create the bucket %q, or correct spec.objectStorage.bucket of the location", b.bucket)
}

func (b *gcsBucket) hintReach() string {
	if b.config.Endpoint == "" {
		return hintGCSReach
	}
	return "check that the store runs and that storeEndpoint of the location can be reached from here"
}

// gcsRetryable says whether a call may succeed when it is repeated at once.
func gcsRetryable(err error) bool {
	var credentials *credentialsError
	var refused *tokenRefusal
	answer := answerOf(err)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, errTimeout), errors.Is(err, errNoProgress), isMistake(err):
		return false
	case errors.As(err, &credentials):
		if errors.As(credentials.err, &refused) {
			return refused.temporary()
		}
		return isNetwork(credentials.err)
	case answer != nil:
		return storage.ShouldRetry(err) || hasReason(answer, gcsReasonsBusy)
	default:
		return storage.ShouldRetry(err) || isNetwork(err)
	}
}
