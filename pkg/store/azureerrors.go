package store

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

// fail makes an error of this package out of one of the SDK. op is a verb with
// what it applies to, as in "read object"; key may be empty.
func (b *azureBucket) fail(ctx context.Context, op, key string, err error) *opError {
	var done *opError
	if errors.As(err, &done) {
		return done
	}
	e := &opError{op: b.describe(op, key), cause: err}
	b.classify(ctx, e, key)
	e.detail = scrub(e.detail, b.account.secrets()...)
	return e
}

// describe says what is tried, on what, and where.
func (b *azureBucket) describe(op, key string) string {
	if key == "" {
		return fmt.Sprintf("%s container %q at %s", op, b.bucket, b.account.where())
	}
	return fmt.Sprintf("%s %q in container %q at %s", op, b.prefix+key, b.bucket, b.account.where())
}

// failKey is a storage account's key that we don't get.
func (b *azureBucket) failKey(ctx context.Context, err error) *opError {
	e := b.fail(ctx, "open", "", err)
	e.op = fmt.Sprintf("get the key of storage account %q in resource group %q", b.config.StorageAccount, b.account.resourceGroup())
	var response *azcore.ResponseError
	switch {
	case !errors.As(err, &response):
	case response.StatusCode == http.StatusForbidden:
		e.kind = ErrDenied
		e.hint = "set the config key \"useAAD\" of the location to \"true\", or grant the identity Microsoft.Storage/storageAccounts/listkeys/action on the account"
	case response.StatusCode == http.StatusNotFound:
		e.kind = ErrNoBucket
		e.hint = "correct the config keys \"storageAccount\", \"resourceGroup\" and \"subscriptionId\" of the location"
	}
	return e
}

// classify fills in kind, detail and hint from e.cause.
func (b *azureBucket) classify(ctx context.Context, e *opError, key string) {
	var credentials *credentialsError
	var response *azcore.ResponseError
	switch {
	case classifyCancelled(ctx, e):
	case errors.As(e.cause, &credentials):
		b.classifyIdentity(ctx, e, credentials)
	case errors.As(e.cause, &response):
		e.detail = fmt.Sprintf("HTTP status %d", response.StatusCode)
		if response.ErrorCode != "" {
			e.detail = response.ErrorCode + azureMessage(response.RawResponse)
		}
		b.classifyCode(e, key, response)
		if id := azureHeader(response, "x-ms-request-id"); id != "" {
			e.detail += fmt.Sprintf(" (request %s)", id)
		}
	case strings.Contains(e.cause.Error(), "not permitted for non-TLS protected"):
		e.kind, e.detail = ErrDenied, "a token must not travel over plain http"
		e.hint = "let storageAccountURI of the location start with https://"
	default:
		classifyNetwork(ctx, e, networkHints{Reach: b.hintReach(), URL: "storageAccountURI"})
	}
}

func (b *azureBucket) hintReach() string {
	if b.config.Endpoint != "" {
		return "check that the store runs and that storageAccountURI of the location can be reached from here"
	}
	return fmt.Sprintf("check that the storage account %q exists in this cloud and that %s can be reached from here", b.config.StorageAccount, b.account.where())
}

// Codes of Azure, by what they mean to us.
var (
	azureNoBucket = []bloberror.Code{bloberror.ContainerNotFound, bloberror.ContainerBeingDeleted, bloberror.ContainerDisabled, bloberror.InvalidResourceName}
	azureNotExist = []bloberror.Code{bloberror.BlobNotFound, bloberror.ResourceNotFound}
	azureExists   = []bloberror.Code{bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, bloberror.TargetConditionNotMet}
	azureLeased   = []bloberror.Code{bloberror.LeaseIDMissing, bloberror.LeaseIDMismatchWithBlobOperation}
	azureBusy     = []bloberror.Code{bloberror.ServerBusy, bloberror.InternalError, bloberror.OperationTimedOut, bloberror.MD5Mismatch, bloberror.CRC64Mismatch}
)

const (
	hintAzureRights  = "grant the identity the role \"Storage Blob Data Contributor\" on the container; it takes some minutes to have effect"
	hintAzureKey     = "the key doesn't belong to the storage account: check the credentials secret of the location"
	hintAzureRefused = "check that the key in the credentials secret of the location belongs to the storage account, and that the account's firewall lets this network in"
	hintAzureNetwork = "the storage account refuses this: look at its firewall and at what the identity may do"
	hintAzureLease   = "somebody holds a lease on the blob: it ends when they give it back, or with \"az storage blob lease break\""
	hintAzureHTTPS   = "the storage account asks for https: let storageAccountURI of the location start with https://"
)

func (b *azureBucket) classifyCode(e *opError, key string, response *azcore.ResponseError) {
	code, status := bloberror.Code(response.ErrorCode), response.StatusCode
	is := func(codes []bloberror.Code) bool { return slices.Contains(codes, code) }
	switch {
	case is(azureNoBucket):
		e.kind, e.hint = ErrNoBucket, fmt.Sprintf("create the container %q, or correct spec.objectStorage.bucket of the location", b.bucket)
	case is(azureNotExist):
		e.kind = ErrNotExist
	case is(azureExists):
		e.kind = ErrExists
	case code == bloberror.BlobImmutableDueToPolicy:
		e.kind = &LockedError{Key: key}
	case is(azureLeased):
		e.kind, e.hint = &LockedError{Key: key, Hold: true}, hintAzureLease
	case is(azureBusy), status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500 && status != http.StatusNotImplemented:
		e.kind = ErrUnavailable
	case code == bloberror.InvalidBlockList:
		// Its commit threw away what we had sent.
		e.kind, e.detail = ErrUnavailable, "somebody else wrote this object at the same time: "+e.detail
	case code == bloberror.BlobArchived:
		e.hint = "the blob is in the archive tier: rehydrate it with \"az storage blob set-tier\" first"
	case code == "AccountRequiresHttps":
		e.kind, e.hint = ErrDenied, hintAzureHTTPS
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		e.kind, e.hint = ErrDenied, b.hintDenied(code, response)
	case status == http.StatusNotFound && code == "":
		e.kind = ErrNotExist
	case status == http.StatusBadRequest && code == "" && strings.HasPrefix(b.config.Endpoint, "http://"):
		e.hint = "is this the port of an Azure Blob server? If it speaks TLS, storageAccountURI must start with https://"
	}
}

func (b *azureBucket) hintDenied(code bloberror.Code, response *azcore.ResponseError) string {
	signed := b.account.sharedKey() != nil
	server, err := http.ParseTime(azureHeader(response, "Date"))
	here := time.Now()
	switch {
	case code == "KeyBasedAuthenticationNotPermitted":
		return "the storage account takes no keys: set the config key \"useAAD\" of the location to \"true\" and give its pod an identity"
	case code == bloberror.AuthorizationFailure && signed:
		return hintAzureRefused
	case code == bloberror.AuthorizationFailure:
		return hintAzureNetwork
	case code != bloberror.AuthenticationFailed && code != bloberror.InvalidAuthenticationInfo:
		return hintAzureRights
	case err == nil && here.Sub(server).Abs() > clockTolerance:
		return fmt.Sprintf("the clocks differ too much: the store's says %s, this machine's %s", server.UTC().Format(time.DateTime), here.UTC().Format(time.DateTime))
	case signed:
		return hintAzureKey
	default:
		return "the store doesn't take this token: is the identity of the storage account's tenant?"
	}
}

// classifyIdentity is for trouble on the way to a token.
func (b *azureBucket) classifyIdentity(ctx context.Context, e *opError, err *credentialsError) {
	var refused *azidentity.AuthenticationFailedError
	kind := b.account.identity.kind
	answered := errors.As(err, &refused) && refused.RawResponse != nil
	if !answered && (isNetwork(err) || isMistake(err) || errors.Is(err, errTimeout)) {
		e.cause = networkCause(err)
		classifyNetwork(ctx, e, networkHints{Reach: "check that " + b.tokenSource() + " can be reached from here", URL: "activeDirectoryAuthorityURI"})
		e.detail = fmt.Sprintf("get a token with %s: %s", kind, e.detail)
		e.cause = err
		return
	}
	e.kind = ErrDenied
	e.detail = fmt.Sprintf("no credentials: get a token with %s: %s", kind, strings.SplitN(err.err.Error(), "\n", 2)[0])
	if answered {
		e.detail = fmt.Sprintf("no credentials: get a token with %s: %s", kind, entraRefusal(refused.RawResponse))
		if status := refused.RawResponse.StatusCode; status >= 500 || status == http.StatusTooManyRequests {
			e.kind = ErrUnavailable
		}
	}
	e.hint = hintEntra(e.detail)
}

// networkCause is the error of the connection alone: what the SDK puts around it
// quotes requests.
func networkCause(err error) error {
	var list interface{ Unwrap() []error }
	if !errors.As(err, &list) {
		return err
	}
	inner := list.Unwrap()
	return inner[len(inner)-1]
}

// tokenSource is who gives us tokens.
func (b *azureBucket) tokenSource() string {
	if b.account.identity.kind == "managed identity" {
		return "the node's metadata service"
	}
	return b.account.cloud.ActiveDirectoryAuthorityHost
}

// entraRefusal is the first line of what Microsoft Entra or the node says.
func entraRefusal(response *http.Response) string {
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	body, err := runtime.Payload(response)
	if err != nil || json.Unmarshal(body, &answer) != nil || answer.Error == "" {
		return fmt.Sprintf("HTTP status %d", response.StatusCode)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(answer.Description), "\n")
	return strings.TrimSuffix(answer.Error+": "+strings.TrimSpace(first), ": ")
}

// hintEntra knows the codes of Microsoft Entra that a new location meets:
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
func hintEntra(detail string) string {
	for _, known := range []struct{ code, hint string }{
		{"AADSTS7000215", "the client secret is wrong: check the credentials secret of the location; it is the secret's value, not its id"},
		{"AADSTS7000222", "the client secret has expired: make a new one and put it into the credentials secret of the location"},
		{"AADSTS700016", "the application isn't in this tenant: check AZURE_CLIENT_ID and AZURE_TENANT_ID"},
		{"AADSTS90002", "there is no such tenant: check AZURE_TENANT_ID and AZURE_CLOUD_NAME"},
		{"AADSTS70021", "add a federated credential to the identity, with the cluster's issuer and subject system:serviceaccount:NAMESPACE:velero (and one for velero-restore)"},
		{"AADSTS700213", "add a federated credential to the identity, with the cluster's issuer and subject system:serviceaccount:NAMESPACE:velero (and one for velero-restore)"},
		{"AADSTS700024", "the token of the service account isn't valid now: compare the clocks of this node and of Azure"},
		{"AADSTS50126", "the user name or the password is wrong: check the credentials secret of the location"},
	} {
		if strings.Contains(detail, known.code+":") {
			return known.hint
		}
	}
	return "give the location a credentials secret (install --secret-file), or its pod an identity: workload identity (label azure.workload.identity/use=true on the pod) or a managed identity of the node"
}

// azureMessage is the first line of the message in a response, which goes on with
// what changes with each request, and then may quote signatures.
func azureMessage(response *http.Response) string {
	if response == nil {
		return ""
	}
	body, err := runtime.Payload(response)
	if err != nil || len(body) == 0 {
		return ""
	}
	var blob struct{ Message string }
	var manager struct {
		Error struct{ Message string }
	}
	message := ""
	if xml.Unmarshal(body, &blob) == nil {
		message = blob.Message
	} else if json.Unmarshal(body, &manager) == nil {
		message = manager.Error.Message
	}
	first, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	if first == "" {
		return ""
	}
	return ": " + strings.TrimSpace(first)
}

func azureHeader(response *azcore.ResponseError, name string) string {
	if response.RawResponse == nil {
		return ""
	}
	return response.RawResponse.Header.Get(name)
}
