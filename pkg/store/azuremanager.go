package store

import (
	"context"
	"crypto/x509"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// AzureManager is what clients of Azure's resource manager are made of, for those who
// work on other things than buckets with credentials of the same form. It may be used
// concurrently.
type AzureManager struct{ account *azureAccount }

// OpenAzureManager reads credentials as those of a bucket are read. Of the location
// it looks at CredentialsFile, CACert, and of Config at credentialsFile and
// activeDirectoryAuthorityURI; endpoint is the resource manager's URL where it isn't
// the cloud's own. It sends nothing.
func OpenAzureManager(l Location, endpoint string) (*AzureManager, error) {
	a, err := newAzureAccount(l, settings.Azure{
		CredentialsFile: l.Config["credentialsFile"],
		Authority:       l.Config["activeDirectoryAuthorityURI"],
	})
	if err != nil {
		return nil, err
	}
	if endpoint != "" {
		a.cloud.Services = map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: endpoint, Audience: a.cloud.Services[cloud.ResourceManager].Audience},
		}
	}
	return &AzureManager{a}, nil
}

// Subscription is the one that the credentials name, which may be empty.
func (m *AzureManager) Subscription() string { return m.account.subscription() }

// ResourceGroup is the one that the credentials name, which may be empty.
func (m *AzureManager) ResourceGroup() string { return m.account.resourceGroup() }

// CredentialsSource names where the credentials come from, for a person.
func (m *AzureManager) CredentialsSource() string { return m.account.variables.source() }

// Identity gets tokens.
func (m *AzureManager) Identity() azcore.TokenCredential { return m.account.identity }

// ClientOptions are those of all clients: proxies, certificates, and how requests are
// repeated.
func (m *AzureManager) ClientOptions() policy.ClientOptions { return m.account.clientOptions() }

// Explain makes an error out of one of the SDK that is no refusal of the resource
// manager: somebody gave up, there is no token, or the network fails. It wraps
// ErrDenied or ErrUnavailable where that is the case.
func (m *AzureManager) Explain(ctx context.Context, op string, err error) error {
	e := &opError{op: op, cause: err}
	var credentials *credentialsError
	switch {
	case classifyCancelled(ctx, e):
	case errors.As(err, &credentials):
		(&azureBucket{account: m.account}).classifyIdentity(ctx, e, credentials)
	default:
		reach := "check that " + m.account.cloud.Services[cloud.ResourceManager].Endpoint + " can be reached from here"
		classifyNetwork(ctx, e, networkHints{Reach: reach, URL: "AZURE_CLOUD_NAME"})
	}
	var unknownCA x509.UnknownAuthorityError
	if errors.As(err, &unknownCA) {
		// There is no place to name another CA.
		e.hint = "something between here and Azure opens TLS, a proxy perhaps: exempt Azure's hosts from it (NO_PROXY in install --pod-env)"
	}
	e.detail = scrub(e.detail, m.account.secrets()...)
	return e
}
