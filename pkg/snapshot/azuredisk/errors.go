package azuredisk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// fail makes an error of this package out of one of the SDK. op says what was tried,
// on what.
func (s *snapshotter) fail(ctx context.Context, op string, err error) error {
	var refusal *azcore.ResponseError
	if !errors.As(err, &refusal) || ctx.Err() != nil {
		return s.location.Errorf("%w", s.manager.Explain(ctx, op, err))
	}
	hint, kind := s.classify(refusal)
	return s.report(op, kind, hint, refusal)
}

// failMissing is fail for a request about something that may be missing.
func (s *snapshotter) failMissing(ctx context.Context, op string, err error) error {
	var refusal *azcore.ResponseError
	if ctx.Err() == nil && errors.As(err, &refusal) && isMissing(refusal) {
		hint, _ := s.classify(refusal)
		return s.report(op, snapshot.ErrNotExist, hint, refusal)
	}
	return s.fail(ctx, op, err)
}

// isMissing says that there is no such resource, and not that there is no such
// subscription.
func isMissing(refusal *azcore.ResponseError) bool {
	return refusal.StatusCode == http.StatusNotFound && refusal.ErrorCode != codeNoSubscription
}

func (s *snapshotter) report(op string, kind error, hint string, refusal *azcore.ResponseError) error {
	if hint != "" {
		hint = "; hint: " + hint
	}
	if kind == nil {
		return s.location.Errorf("%s: %s%s", op, describe(refusal), hint)
	}
	return s.location.Errorf("%s: %w: %s%s", op, kind, describe(refusal), hint)
}

// describe is the code, the message and the request's id.
func describe(refusal *azcore.ResponseError) string {
	text := refusal.ErrorCode
	if text == "" {
		text = fmt.Sprintf("HTTP status %d", refusal.StatusCode)
	}
	if message := messageOf(refusal); message != "" {
		text += ": " + message
	}
	if refusal.RawResponse == nil {
		return text
	}
	for _, header := range []string{"x-ms-request-id", "x-ms-correlation-request-id"} {
		if id := refusal.RawResponse.Header.Get(header); id != "" {
			return fmt.Sprintf("%s (request %s)", text, id)
		}
	}
	return text
}

// messageOf is the message in an answer, in one line: of a request that was refused,
// or of an operation that failed.
func messageOf(refusal *azcore.ResponseError) string {
	if refusal.RawResponse == nil {
		return ""
	}
	var answer struct {
		Error struct {
			Message string
			Details []struct{ Message string }
		}
	}
	body, err := runtime.Payload(refusal.RawResponse)
	if err != nil || json.Unmarshal(body, &answer) != nil {
		return ""
	}
	message := answer.Error.Message
	for _, detail := range answer.Error.Details {
		if !strings.Contains(message, detail.Message) {
			message += " " + detail.Message
		}
	}
	return strings.TrimSuffix(strings.Join(strings.Fields(message), " "), ".")
}

// Codes of the resource manager and of disks that ask for something of a person:
// https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors
const (
	codeNoSubscription = "SubscriptionNotFound"
	codeNoGroup        = "ResourceGroupNotFound"
	codePolicy         = "RequestDisallowedByPolicy"
	codeLocked         = "ScopeLocked"
)

var (
	quotaCodes  = []string{"QuotaExceeded", "ResourceQuotaExceeded", "ResourceGroupQuotaExceeded", "SubscriptionQuotaExceeded"}
	deniedCodes = []string{"AuthorizationFailed", "LinkedAuthorizationFailed"}
	tokenCodes  = []string{"InvalidAuthenticationToken", "InvalidAuthenticationTokenTenant", "ExpiredAuthenticationToken", "AuthenticationFailed"}
)

const hintQuota = "ask Azure for a higher limit (`az vm list-usage` shows them), or delete snapshots that nobody needs: a disk can have 500 incremental ones"

// classify tells what an answer means and what a person can do about it.
func (s *snapshotter) classify(refusal *azcore.ResponseError) (hint string, kind error) {
	code, message := refusal.ErrorCode, messageOf(refusal)
	switch {
	case slices.Contains(deniedCodes, code):
		return hintDenied(message), nil
	case slices.Contains(tokenCodes, code):
		return "is the identity one of the subscription's tenant? Check AZURE_TENANT_ID in the " + s.manager.CredentialsSource(), nil
	case code == codePolicy:
		return "a policy of the subscription forbids this: exempt the resource group from it; if it asks for tags, set them in the config key \"tags\"", nil
	case code == codeLocked:
		return "take the lock away (`az lock list` shows it), and try again", snapshot.ErrInUse
	case code == codeNoSubscription:
		return "correct the config key \"subscriptionId\" of the snapshot location, or AZURE_SUBSCRIPTION_ID in the " + s.manager.CredentialsSource(), nil
	case code == codeNoGroup:
		return "correct the config key \"resourceGroup\" of the snapshot location (it must exist), or AZURE_RESOURCE_GROUP in the " + s.manager.CredentialsSource(), nil
	case isZone(code, message):
		return "", snapshot.ErrNoZone
	case isQuota(code, message):
		return hintQuota, snapshot.ErrQuota
	case refusal.StatusCode == http.StatusTooManyRequests:
		return "Azure limits how many requests a subscription makes: try again later", nil
	}
	return "", nil
}

// isZone knows the codes about zones by their name; those about sizes say it in the
// message.
func isZone(code, message string) bool {
	if strings.Contains(code, "AvailabilityZone") || strings.Contains(code, "MultiZone") {
		return true
	}
	about := code == "SkuNotAvailable" || code == "NotAvailableForSubscription" || code == "InvalidParameter"
	return about && strings.Contains(strings.ToLower(message), "zone")
}

func isQuota(code, message string) bool {
	if slices.Contains(quotaCodes, code) {
		return true
	}
	text := strings.ToLower(message)
	refused := code == "OperationNotAllowed" || code == "Conflict" || code == "BadRequest"
	return refused && (strings.Contains(text, "quota") || strings.Contains(text, "maximum number") || strings.Contains(text, "limit"))
}

var deniedAction = regexp.MustCompile(`action\(?s?\)? '([^']+)'`)

// hintDenied names the right that is missing: the last one in the message, since the
// first may be one that we do have.
func hintDenied(message string) string {
	found := deniedAction.FindAllStringSubmatch(message, -1)
	if len(found) == 0 {
		return "give the identity a role with the rights in docs/snapshots-azure.md on the resource groups of the disks and of the snapshots"
	}
	return fmt.Sprintf("give the identity a role with %s on the resource group; it takes some minutes to have effect", found[len(found)-1][1])
}
