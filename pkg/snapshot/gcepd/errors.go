package gcepd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/googleapi"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

const (
	hintQuota  = "have the quota raised (console: IAM & Admin, Quotas), or delete what is no longer needed"
	hintRights = "docs/snapshots-gcp.md has all rights that the account needs"
	hintKMS    = "grant the project's Compute Engine service agent the role roles/cloudkms.cryptoKeyEncrypterDecrypter on the key"
	hintAPI    = "switch the API on: gcloud services enable compute.googleapis.com --project PROJECT"
	hintRate   = "a disk can be snapshotted every ten minutes, and six times in an hour"
	hintType   = "this kind of disk isn't offered there"
	hintZone   = "the zone has no room for such a disk now; try again later"
)

// What a request may fail with beside the errors of package snapshot.
var (
	errExists   = errors.New("there is one of that name already")
	errNotReady = fmt.Errorf("%w: something is being done with it", snapshot.ErrInUse)
	errDenied   = errors.New("access denied")
)

// refusal is what the API says about a request or an operation that it didn't do.
type refusal struct {
	status int // of HTTP
	// reasons are the API's names for the cause. Answers write them like
	// "quotaExceeded", operations like "QUOTA_EXCEEDED"; here they are
	// "quotaexceeded".
	reasons []string
	message string
	// first is the main reason as the API writes it.
	first string
	// operation is the name of the operation that failed, or empty.
	operation string
}

// Error gives the API's words.
func (r *refusal) Error() string {
	text := fmt.Sprintf("HTTP status %d", r.status)
	if r.message != "" {
		text = strings.Join(strings.Fields(r.message), " ")
	}
	if r.first != "" {
		text = r.first + ": " + text
	}
	if r.operation != "" {
		text += fmt.Sprintf(" (operation %s)", r.operation)
	}
	return text
}

func (r *refusal) has(reasons ...string) bool {
	return slices.ContainsFunc(r.reasons, func(reason string) bool { return slices.Contains(reasons, reason) })
}

// refusalOf is the API's answer that an error tells of, or nil.
func refusalOf(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	var answer *googleapi.Error
	if !errors.As(err, &answer) {
		return nil
	}
	r = &refusal{status: answer.Code, message: answer.Message}
	for _, item := range answer.Errors {
		r.add(item.Reason)
	}
	for _, reason := range detailedReasons(answer.Body) {
		r.add(reason)
	}
	return r
}

// failureOf is the error of an operation that is done, or nil.
func failureOf(op *compute.Operation) error {
	if op.Error == nil || len(op.Error.Errors) == 0 {
		return nil
	}
	r := &refusal{status: int(op.HttpErrorStatusCode), operation: op.Name}
	var messages []string
	for _, e := range op.Error.Errors {
		r.add(e.Code)
		messages = append(messages, e.Message)
	}
	r.message = strings.Join(messages, "; ")
	return r
}

func (r *refusal) add(reason string) {
	if reason == "" {
		return
	}
	if r.first == "" {
		r.first = reason
	}
	r.reasons = append(r.reasons, strings.ToLower(strings.ReplaceAll(reason, "_", "")))
}

// detailedReasons reads the ErrorInfos of an answer, which tell more than its errors:
// https://cloud.google.com/compute/docs/quotas-limits
func detailedReasons(body string) []string {
	var answer struct {
		Error struct {
			Details []struct {
				Reason string `json:"reason"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal([]byte(body), &answer) != nil {
		return nil // some proxy's
	}
	var reasons []string
	for _, d := range answer.Error.Details {
		reasons = append(reasons, d.Reason)
	}
	return reasons
}

// apiError is something tried with Compute Engine that failed.
type apiError struct {
	op     string
	kind   error // for errors.Is, or nil
	detail string
	hint   string
	cause  error // not printed: it may hold what must not be shown
}

func (e *apiError) Error() string {
	parts := []string{e.op}
	if e.kind != nil {
		parts = append(parts, e.kind.Error())
	}
	text := strings.Join(append(parts, e.detail), ": ")
	if e.hint != "" {
		text += "; hint: " + e.hint
	}
	return text
}

// Unwrap gives the kind and the cause.
func (e *apiError) Unwrap() []error {
	if e.kind == nil {
		return []error{e.cause}
	}
	return []error{e.kind, e.cause}
}

// failed makes an error of this package out of one of the SDK. op says what was
// tried, on what, and where.
func (s *Snapshotter) failed(ctx context.Context, op string, err error) error {
	e := &apiError{op: op, cause: err}
	if r := refusalOf(err); r != nil {
		e.hint, e.kind = r.meaning()
		e.detail = s.google.Scrub(r.Error())
	} else {
		trouble := s.google.Explain(ctx, err)
		e.detail, e.hint = trouble.Text, trouble.Hint
	}
	return s.config.Errorf("%w", e)
}

var (
	// rightName is a right of IAM in a refusal's text.
	rightName = regexp.MustCompile(`\bcompute\.[A-Za-z]+\.[A-Za-z]+`)
	// unknownPlace is the text about a zone or region that isn't there.
	unknownPlace = regexp.MustCompile(`Unknown (zone|region)|'projects/[^/']+/(zones|regions)/[^/']+' was not found`)
	// missingResource is the text about a disk or snapshot that isn't there.
	missingResource = regexp.MustCompile(`/(disks|snapshots)/[^/']+' was not found`)
)

// meaning is which error of ours a refusal is, if any, and what to do about it.
func (r *refusal) meaning() (hint string, kind error) {
	switch {
	case unknownPlace.MatchString(r.message):
		return "", snapshot.ErrNoZone
	case r.isMissing() && missingResource.MatchString(r.message):
		return "", snapshot.ErrNotExist
	case r.isMissing() && strings.Contains(r.message, "/diskTypes/"):
		return hintType, snapshot.ErrNoZone
	case r.has("zoneresourcepoolexhausted", "zoneresourcepoolexhaustedwithdetails"):
		return hintZone, snapshot.ErrNoZone
	case r.has("resourceoperationrateexceeded"):
		return hintRate, nil
	case r.has("quotaexceeded", "limitexceeded"):
		return hintQuota, snapshot.ErrQuota
	case r.has("resourceinusebyanotherresource"):
		return "", snapshot.ErrInUse
	case r.has("resourcenotready"):
		return "", errNotReady
	case r.has("alreadyexists", "resourcealreadyexists"), r.status == http.StatusConflict:
		return "", errExists
	case r.has("servicedisabled", "accessnotconfigured"):
		return hintAPI, errDenied
	case r.status == http.StatusUnauthorized:
		return "the API doesn't take this account's token: check the credentials of the location, or the identity of its pod", errDenied
	case strings.Contains(r.message, "cloudkms.") || strings.Contains(r.message, "Cloud KMS"):
		return hintKMS, errDenied
	case r.isDenied():
		return r.rightsHint(), errDenied
	}
	return "", nil
}

// isDenied says that a right is missing.
func (r *refusal) isDenied() bool {
	return r.status == http.StatusForbidden && !r.isThrottled() || r.has("forbidden", "permissionserror", "permissiondenied")
}

func (r *refusal) rightsHint() string {
	if right := rightName.FindString(r.message); right != "" {
		return fmt.Sprintf("grant the account %s; %s", right, hintRights)
	}
	return hintRights
}

// refusesLabels says that the request might do without labels.
func (r *refusal) refusesLabels() bool {
	return r.isDenied() && strings.Contains(r.message, ".setLabels") ||
		r.status == http.StatusBadRequest && strings.Contains(r.message, "labels")
}

// isThrottled says that the same request will be taken later.
// https://cloud.google.com/compute/api-quota has the first reason with status 403.
func (r *refusal) isThrottled() bool {
	if r.has("resourceoperationrateexceeded") {
		return false
	}
	return r.status == http.StatusTooManyRequests ||
		r.has("ratelimitexceeded", "userratelimitexceeded", "concurrentoperationsquotaexceeded")
}

// isBroken says that the API had trouble of its own.
func (r *refusal) isBroken() bool {
	return r.status == http.StatusRequestTimeout || r.status >= 500 && r.status != http.StatusNotImplemented
}

func (r *refusal) isMissing() bool {
	return r.status == http.StatusNotFound || r.has("notfound", "resourcenotfound")
}

// isMissing says that the resource isn't there. The same status may be about its
// project, which says nothing of it.
func isMissing(err error, kind, name string) bool {
	r := refusalOf(err)
	return r != nil && r.isMissing() && strings.Contains(r.message, "/"+kind+"/"+name+"' was not found")
}

// isKind says what an error of the SDK means.
func isKind(err, kind error) bool {
	r := refusalOf(err)
	if r == nil {
		return false
	}
	_, meaning := r.meaning()
	return errors.Is(meaning, kind)
}
