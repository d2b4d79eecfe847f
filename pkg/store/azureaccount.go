package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// azureCloud is one of Azure's clouds.
type azureCloud struct {
	cloud.Configuration
	suffix string // of the host names of storage accounts
	// known says that the authority is Microsoft's, and not one that the SDK would
	// ask Microsoft about.
	known bool
}

var (
	azurePublic     = azureCloud{cloud.AzurePublic, "blob.core.windows.net", true}
	azureChina      = azureCloud{cloud.AzureChina, "blob.core.chinacloudapi.cn", true}
	azureGovernment = azureCloud{cloud.AzureGovernment, "blob.core.usgovcloudapi.net", true}
)

// chooseCloud is the cloud that the credentials name, else the one whose authority
// the pod's workload identity names. A location may name an authority of its own.
func chooseCloud(c settings.Azure, v azureVariables) (azureCloud, error) {
	var chosen azureCloud
	environment := ""
	switch name := v.find(azureCloudName); strings.ToLower(name) {
	case "":
		chosen, environment = azurePublic, os.Getenv(azureAuthority)
	case "azurecloud", "azurepubliccloud":
		chosen = azurePublic
	case "azurechinacloud":
		chosen = azureChina
	case "azureusgovernment", "azureusgovernmentcloud":
		chosen = azureGovernment
	default:
		return azureCloud{}, fmt.Errorf("%s %q in the %s is not known; hint: it is AzurePublicCloud, AzureChinaCloud or AzureUSGovernmentCloud", azureCloudName, name, v.source())
	}
	authority := c.Authority
	if authority == "" {
		authority = environment
	}
	for _, candidate := range []azureCloud{azurePublic, azureChina, azureGovernment} {
		if strings.TrimSuffix(authority, "/")+"/" == candidate.ActiveDirectoryAuthorityHost {
			return candidate, nil
		}
	}
	if authority != "" {
		chosen.ActiveDirectoryAuthorityHost, chosen.known = authority, false
	}
	return chosen, nil
}

// azureAccount is a storage account, and what we are to it.
type azureAccount struct {
	config    settings.Azure
	variables azureVariables
	cloud     azureCloud
	transport *http.Transport
	// identity is who we are to Microsoft Entra; nil if the account's key is given.
	identity *azureIdentity
	clock    azureClock

	mu  sync.Mutex
	key *container.SharedKeyCredential // guarded by mu; nil: none, or none yet
	// keySecret is what key was made of, guarded by mu.
	keySecret string
	// fetched is when the key came from Azure; zero for one that was given. Guarded
	// by mu.
	fetched time.Time
}

func newAzureAccount(l Location, c settings.Azure) (*azureAccount, error) {
	variables, err := readAzureVariables(l, c)
	if err != nil {
		return nil, err
	}
	a := &azureAccount{config: c, variables: variables}
	if a.cloud, err = chooseCloud(c, variables); err != nil {
		return nil, err
	}
	if a.transport, err = newTransport(l, c.Insecure); err != nil {
		return nil, err
	}
	a.transport.Proxy = exceptMetadata(a.transport.Proxy)
	// Else a blob that somebody stored compressed would come unpacked.
	a.transport.DisableCompression = true
	if c.KeyVariable != "" {
		return a, a.useGivenKey()
	}
	if a.identity, err = newAzureIdentity(a); err != nil {
		return nil, err
	}
	return a, nil
}

// exceptMetadata keeps the requests to a node's metadata service, which only the
// node can answer, from proxies.
func exceptMetadata(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		if ip, err := netip.ParseAddr(r.URL.Hostname()); err == nil && ip.IsLinkLocalUnicast() || proxy == nil {
			return nil, nil
		}
		return proxy(r)
	}
}

func (a *azureAccount) useGivenKey() error {
	name := a.config.KeyVariable
	secret := a.variables.get(name)
	if secret == "" {
		return fmt.Errorf("the %s has no variable %q; hint: add the line %s=KEY, or correct the config key \"storageAccountKeyEnvVar\"", a.variables.source(), name, name)
	}
	if err := a.setKey(secret); err != nil {
		return fmt.Errorf("variable %q of the %s is not the key of a storage account, which is in base64", name, a.variables.source())
	}
	return nil
}

// setKey takes the key into use, for requests that are repeated too.
func (a *azureAccount) setKey(secret string) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.key == nil {
		a.key, err = container.NewSharedKeyCredential(a.config.StorageAccount, secret)
	} else {
		err = a.key.SetAccountKey(secret)
	}
	if err == nil {
		a.keySecret = secret
	}
	return err
}

func (a *azureAccount) secrets() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(a.variables.secrets(a.config.KeyVariable), a.keySecret)
}

func (a *azureAccount) subscription() string {
	if a.config.Subscription != "" {
		return a.config.Subscription
	}
	return a.variables.find(azureSubscription)
}

func (a *azureAccount) resourceGroup() string {
	if a.config.ResourceGroup != "" {
		return a.config.ResourceGroup
	}
	return a.variables.find(azureResourceGroup)
}

// managed says that Azure's resource manager can be asked about the account.
func (a *azureAccount) managed() bool {
	return a.identity != nil && a.subscription() != "" && a.resourceGroup() != ""
}

// where is the account's URL as far as it is known without asking.
func (a *azureAccount) where() string {
	if a.config.Endpoint != "" {
		return a.config.Endpoint
	}
	return fmt.Sprintf("https://%s.%s", a.config.StorageAccount, a.cloud.suffix)
}

// findEndpoint asks for the account's URL, which has a zone in its name for some
// accounts. An account that may not ask has the usual one.
func (a *azureAccount) findEndpoint(ctx context.Context) string {
	if a.config.Endpoint != "" || !a.managed() {
		return a.where()
	}
	ctx, cancel := context.WithTimeout(ctx, azureLookupTimeout)
	defer cancel()
	accounts, err := a.manager()
	if err != nil {
		return a.where()
	}
	found, err := accounts.GetProperties(ctx, a.resourceGroup(), a.config.StorageAccount, nil)
	if err != nil || found.Properties == nil || found.Properties.PrimaryEndpoints == nil || found.Properties.PrimaryEndpoints.Blob == nil {
		return a.where()
	}
	return strings.TrimSuffix(*found.Properties.PrimaryEndpoints.Blob, "/")
}

// azureLookupTimeout bounds a question that may stay unanswered.
const azureLookupTimeout = 5 * time.Second

// fetchKey exchanges our identity for the account's key. It says whether that is
// another one than before.
func (a *azureAccount) fetchKey(ctx context.Context) (changed bool, err error) {
	accounts, err := a.manager()
	if err != nil {
		return false, err
	}
	keys, err := accounts.ListKeys(ctx, a.resourceGroup(), a.config.StorageAccount, nil)
	if err != nil {
		return false, err
	}
	for _, k := range keys.Keys {
		if k.Value == nil || k.Permissions == nil || !strings.EqualFold(string(*k.Permissions), string(armstorage.KeyPermissionFull)) {
			continue
		}
		a.mu.Lock()
		changed = a.keySecret != *k.Value
		a.fetched = time.Now()
		a.mu.Unlock()
		return changed, a.setKey(*k.Value)
	}
	return false, errors.New("the storage account has no key that allows everything")
}

func (a *azureAccount) manager() (*armstorage.AccountsClient, error) {
	return armstorage.NewAccountsClient(a.subscription(), a.identity, &arm.ClientOptions{
		ClientOptions:         a.clientOptions(),
		DisableRPRegistration: true,
	})
}

// clientOptions are those of all clients.
func (a *azureAccount) clientOptions() policy.ClientOptions {
	return policy.ClientOptions{
		Cloud:     a.cloud.Configuration,
		Transport: a.client(),
		Retry:     azureRetry(maxAttempts, maxBackoff),
		Telemetry: policy.TelemetryOptions{ApplicationID: "kubectl-velero"},
	}
}

func (a *azureAccount) client() *http.Client {
	return &http.Client{
		Transport: a.transport,
		// Nothing that we talk to redirects; whatever does isn't Azure.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// azureRetry is how requests are repeated.
func azureRetry(attempts int32, longest time.Duration) policy.RetryOptions {
	return policy.RetryOptions{
		MaxRetries:    attempts - 1,
		RetryDelay:    400 * time.Millisecond,
		MaxRetryDelay: longest,
		ShouldRetry:   azureShouldRetry,
	}
}

func azureShouldRetry(response *http.Response, err error) bool {
	if err != nil {
		return !isMistake(err)
	}
	switch response.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	default:
		// A body that was damaged on its way.
		code := bloberror.Code(response.Header.Get(azureCodeHeader))
		return code == bloberror.MD5Mismatch || code == bloberror.CRC64Mismatch
	}
}
