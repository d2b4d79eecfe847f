package ebs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// codeVolumeRate is for snapshots of one volume in quick succession.
const codeVolumeRate = "SnapshotCreationPerVolumeRateExceeded"

// Codes of EC2 by what they mean to us:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
var (
	codesNotExist = []string{"InvalidSnapshot.NotFound", "InvalidVolume.NotFound"}
	codesQuota    = []string{
		"SnapshotLimitExceeded", "PendingSnapshotLimitExceeded", "ConcurrentSnapshotLimitExceeded", "VolumeLimitExceeded",
		"MaxIOPSLimitExceeded", "VolumeIOPSLimit",
	}
	codesNoZone = []string{"InvalidZone.NotFound", "VolumeTypeNotAvailableInZone"}
	codesDenied = []string{"UnauthorizedOperation", "AccessDenied"}
	codesWho    = []string{"AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "MissingAuthenticationToken", "ExpiredToken"}
)

// hints say what to do about a code.
var hints = map[string]string{
	"InvalidVolume.NotFound":      "the config key \"region\" of the location, and its credentials' account, must be those of the volume",
	"InvalidSnapshot.NotFound":    "it was deleted, or belongs to another region or account than the location's",
	"IdempotentParameterMismatch": "an earlier attempt asked for another volume, and the settings of the location have changed since then: delete its volume, and restore again",
	"InsufficientVolumeCapacity":  "AWS has no room for such a disk in this zone now: try again later",
	"OptInRequired":               "the account must be signed up for the region",
	"RequestExpired":              "the credentials have expired, or the clock of this machine is wrong",
	"RequestLimitExceeded":        "the account sends more requests to EC2 than it may, whoever sends them: try again later",
	codeVolumeRate:                "snapshots of one volume must be 15 seconds apart: keep other backups of it away from this time",
}

const (
	hintWho   = "check the credentials of the location: the secret of its credential, or the identity of the pod"
	hintQuota = "ask AWS for more (Service Quotas, Amazon EBS), or delete what isn't needed"
	hintLock  = "its lock must end or be taken off first (aws ec2 describe-locked-snapshots)"
	hintKey   = "the account must have the rights for the KMS keys of the snapshot and of the config key \"ebsKmsKeyId\": see docs/snapshots-aws.md"
)

// errNotSent marks what failed before a request was sent.
var errNotSent = errors.New("nothing was sent")

// failure is a request that failed.
type failure struct {
	op string
	// kind is an error of package snapshot or store, or nil.
	kind, cause  error
	detail, hint string
}

func (e *failure) Error() string {
	text := e.op + ": " + e.detail
	if e.hint != "" {
		text += "; hint: " + e.hint
	}
	return text
}

// Unwrap gives what there is of kind and cause.
func (e *failure) Unwrap() []error {
	return slices.DeleteFunc([]error{e.kind, e.cause}, func(err error) bool { return err == nil })
}

// fail makes an error for people out of one of the SDK.
func (s *snapshotter) fail(ctx context.Context, op string, err error) error {
	e := &failure{op: fmt.Sprintf("snapshot location %q: %s in AWS %s", s.config.Location, op, s.region), cause: err}
	var api smithy.APIError
	noCredentials := s.account.NoCredentials(err)
	if noCredentials {
		e.kind, e.cause = store.ErrDenied, errors.Join(errNotSent, err)
	}
	if errors.As(err, &api) && ctx.Err() == nil && !noCredentials {
		e.detail = s.account.Scrub(api.ErrorCode() + ": " + withoutCipher(api.ErrorMessage()) + requestID(err))
		e.classify(api.ErrorCode(), api.ErrorMessage())
		return e
	}
	trouble := s.account.Explain(ctx, err)
	e.detail, e.hint = trouble.Text, trouble.Hint
	if trouble.Temporary {
		e.kind = store.ErrUnavailable
	}
	return e
}

// classify fills in kind and hint.
func (e *failure) classify(code, message string) {
	e.hint = hints[code]
	switch {
	case slices.Contains(codesNotExist, code):
		e.kind = snapshot.ErrNotExist
	case code == "InvalidSnapshot.InUse":
		e.kind, e.hint = snapshot.ErrInUse, "deregister the image that uses it, or wait until nobody does"
	case strings.Contains(message, " locked"):
		e.kind, e.hint = snapshot.ErrInUse, hintLock
	case slices.Contains(codesQuota, code):
		e.kind, e.hint = snapshot.ErrQuota, hintQuota
	case slices.Contains(codesNoZone, code), code == "InvalidParameterValue" && strings.Contains(strings.ToLower(message), "availability zone"):
		e.kind = snapshot.ErrNoZone
	case slices.Contains(codesDenied, code):
		e.kind, e.hint = store.ErrDenied, "docs/snapshots-aws.md has the policy that the account needs"
		if right := deniedRight(message); right != "" {
			e.hint = fmt.Sprintf("allow %s; docs/snapshots-aws.md has the whole policy", right)
		}
	case slices.Contains(codesWho, code):
		e.kind, e.hint = store.ErrDenied, hintWho
	case strings.Contains(strings.ToLower(code), "kms"):
		e.hint = hintKey
	}
}

// deniedRight is the action that a message says isn't allowed.
func deniedRight(message string) string {
	_, rest, _ := strings.Cut(message, "not authorized to perform: ")
	right, _, _ := strings.Cut(rest, " ")
	return right
}

// withoutCipher leaves out of a refusal what only AWS can read.
func withoutCipher(message string) string {
	text, _, _ := strings.Cut(message, "Encoded authorization failure message:")
	return strings.TrimRight(strings.TrimSpace(text), ".")
}

// codeOf is the code with which EC2 refused, or empty.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// unclear says that a request which failed may have been carried out.
func unclear(err error) bool {
	var op *net.OpError
	var response *smithyhttp.ResponseError
	switch {
	case throttled(err), errors.Is(err, errNotSent), errors.As(err, &op) && op.Op == "dial":
		return false
	case errors.As(err, &response) && response.HTTPStatusCode() != 0:
		return response.HTTPStatusCode() >= http.StatusInternalServerError
	}
	return true
}

// requestID is what AWS needs to find the request.
func requestID(err error) string {
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.ServiceRequestID() != "" {
		return fmt.Sprintf(" (request %s)", response.ServiceRequestID())
	}
	return ""
}
