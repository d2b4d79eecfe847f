package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// tokenPause is how long nobody is asked again who couldn't be reached: the SDK lets
// all requests that need a token wait in line.
const tokenPause = 2 * time.Second

// azureIdentity gets tokens from Microsoft Entra or from the node. It may be used
// concurrently.
type azureIdentity struct {
	credential azcore.TokenCredential
	// kind names the way, for a person.
	kind string

	mu     sync.Mutex
	failed error     // guarded by mu; that nobody could be reached
	until  time.Time // guarded by mu; how long failed counts
}

// GetToken implements azcore.TokenCredential. The SDK drops the error of a request
// that got no answer; here it stays in the chain.
func (i *azureIdentity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	i.mu.Lock()
	failed, until := i.failed, i.until
	i.mu.Unlock()
	if time.Now().Before(until) {
		return azcore.AccessToken{}, failed
	}
	ctx, cancel := withRequestTimeout(ctx)
	defer cancel()
	last := &lastFailure{}
	token, err := i.credential.GetToken(context.WithValue(ctx, lastFailureKey{}, last), o)
	if err == nil {
		return token, nil
	}
	if errors.Is(context.Cause(ctx), errTimeout) {
		err = errors.Join(err, errTimeout)
	}
	err = &credentialsError{errors.Join(err, last.get())}
	if ctx.Err() == nil && isNetwork(err) || errors.Is(err, errTimeout) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.failed, i.until = err, time.Now().Add(tokenPause)
	}
	return token, err
}

// lastFailure is why the last request for a token got no answer. It travels in the
// requests' context.
type lastFailure struct {
	mu  sync.Mutex
	err error // guarded by mu
}

type lastFailureKey struct{}

func (f *lastFailure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// tokenClient sends the requests for tokens.
type tokenClient struct{ *http.Client }

// Do implements policy.Transporter.
func (c tokenClient) Do(r *http.Request) (*http.Response, error) {
	response, err := c.Client.Do(r)
	if f, ok := r.Context().Value(lastFailureKey{}).(*lastFailure); ok {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = err
	}
	return response, err
}

// newAzureIdentity takes the first of: what the credentials file holds, the pod's
// workload identity, the node's managed identity. It makes no request.
func newAzureIdentity(a *azureAccount) (*azureIdentity, error) {
	v := a.variables
	var credential azcore.TokenCredential
	var err error
	kind := ""
	switch {
	case v.get(azureSecret) != "":
		kind = "a client secret"
		credential, err = a.secretIdentity()
	case v.get(azureCertificate) != "" || v.get(azureCertificatePath) != "":
		kind = "a client certificate"
		credential, err = a.certificateIdentity()
	case v.get(azureUsername) != "":
		kind = "a user's password"
		credential, err = a.passwordIdentity()
	case os.Getenv(azureTokenFile) != "":
		kind = "workload identity"
		credential, err = a.workloadIdentity()
	default:
		kind = "managed identity"
		credential, err = a.managedIdentity()
	}
	if err != nil {
		return nil, fmt.Errorf("sign in to Azure with %s: %s", kind, scrub(err.Error(), a.secrets()...))
	}
	return &azureIdentity{credential: credential, kind: kind}, nil
}

// identityOptions are those of all clients that get tokens.
func (a *azureAccount) identityOptions() policy.ClientOptions {
	o := a.clientOptions()
	o.Transport = tokenClient{a.client()}
	return o
}

// tenants are those that the identity may get tokens of beside its own.
func (a *azureAccount) tenants() []string {
	return strings.FieldsFunc(a.variables.get(azureTenants), func(r rune) bool { return r == ';' || r == ' ' })
}

func (a *azureAccount) secretIdentity() (azcore.TokenCredential, error) {
	v := a.variables
	return azidentity.NewClientSecretCredential(v.find(azureTenant), v.find(azureClient), v.get(azureSecret), &azidentity.ClientSecretCredentialOptions{
		ClientOptions:              a.identityOptions(),
		AdditionallyAllowedTenants: a.tenants(),
		DisableInstanceDiscovery:   !a.cloud.known,
	})
}

func (a *azureAccount) certificateIdentity() (azcore.TokenCredential, error) {
	v := a.variables
	body := []byte(v.get(azureCertificate))
	if len(body) == 0 {
		var err error
		if body, err = os.ReadFile(v.get(azureCertificatePath)); err != nil {
			return nil, fmt.Errorf("%s: %w", azureCertificatePath, err)
		}
	}
	certificates, key, err := azidentity.ParseCertificates(body, []byte(v.get(azureCertificatePassword)))
	if err != nil {
		// Its text may quote what was to be parsed.
		return nil, errors.New("the certificate can't be read; hint: it is PEM or PKCS#12, with its private key; in the credentials file it stands in double quotes")
	}
	chain := strings.ToLower(v.get(azureSendChain))
	return azidentity.NewClientCertificateCredential(v.find(azureTenant), v.find(azureClient), certificates, key, &azidentity.ClientCertificateCredentialOptions{
		ClientOptions:              a.identityOptions(),
		AdditionallyAllowedTenants: a.tenants(),
		DisableInstanceDiscovery:   !a.cloud.known,
		SendCertificateChain:       chain == "1" || chain == "true",
	})
}

func (a *azureAccount) passwordIdentity() (azcore.TokenCredential, error) {
	v := a.variables
	//lint:ignore SA1019 Velero takes such credentials, and a location may have them; who uses it is told by Entra.
	return azidentity.NewUsernamePasswordCredential(v.find(azureTenant), v.find(azureClient), v.get(azureUsername), v.get(azurePassword), &azidentity.UsernamePasswordCredentialOptions{
		ClientOptions:              a.identityOptions(),
		AdditionallyAllowedTenants: a.tenants(),
		DisableInstanceDiscovery:   !a.cloud.known,
	})
}

func (a *azureAccount) workloadIdentity() (azcore.TokenCredential, error) {
	v := a.variables
	return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions:              a.identityOptions(),
		AdditionallyAllowedTenants: a.tenants(),
		ClientID:                   v.find(azureClient),
		TenantID:                   v.find(azureTenant),
		DisableInstanceDiscovery:   !a.cloud.known,
	})
}

func (a *azureAccount) managedIdentity() (azcore.TokenCredential, error) {
	o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: a.identityOptions()}
	o.Retry.ShouldRetry = func(response *http.Response, err error) bool {
		// The node answers so while it updates itself:
		// https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling
		busy := err == nil && (response.StatusCode == http.StatusNotFound || response.StatusCode == http.StatusGone)
		return busy || azureShouldRetry(response, err)
	}
	if id := a.variables.find(azureClient); id != "" {
		o.ID = azidentity.ClientID(id)
	}
	return azidentity.NewManagedIdentityCredential(o)
}
