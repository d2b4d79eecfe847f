package store

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"golang.org/x/sync/singleflight"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// maxUploadBlocks is Azure's limit:
// https://learn.microsoft.com/azure/storage/blobs/scalability-targets
const maxUploadBlocks = 50000

// azureBucket is a Bucket in Azure Blob Storage: a container. What an upload that
// died leaves is invisible, and Azure removes it after a week; so this is no
// UploadAborter.
type azureBucket struct {
	account   *azureAccount
	bucket    string
	prefix    string // empty, or with a slash at its end
	config    settings.Azure
	maxBlocks int
	// versions is the newest sign of whether the account keeps older versions.
	versions atomic.Value // of Tristate

	connecting singleflight.Group
	clients    atomic.Pointer[azureClients] // nil before the first use
}

// azureClients are what requests are made with.
type azureClients struct {
	service   *service.Client
	container *container.Client
}

var (
	_ Bucket    = (*azureBucket)(nil)
	_ Inspector = (*azureBucket)(nil)
)

func openAzure(_ context.Context, l Location) (*azureBucket, error) {
	c, err := settings.ParseAzure(l.Config)
	if err != nil {
		return nil, err
	}
	account, err := newAzureAccount(l, c)
	if err != nil {
		return nil, err
	}
	return &azureBucket{
		account:   account,
		bucket:    l.Bucket,
		prefix:    l.Prefix,
		config:    c,
		maxBlocks: maxUploadBlocks,
	}, nil
}

// connect returns the clients. The first call finds out the account's URL and key,
// where the location doesn't tell them; those that come meanwhile wait for the same
// attempt, which goes on without the call that began it.
func (b *azureBucket) connect(ctx context.Context) (*azureClients, error) {
	if clients := b.clients.Load(); clients != nil {
		return clients, nil
	}
	attempt := b.connecting.DoChan("", func() (any, error) { return nil, b.findAccount(context.WithoutCancel(ctx)) })
	select {
	case result := <-attempt:
		return b.clients.Load(), result.Err
	case <-ctx.Done():
		return nil, b.fail(ctx, "open", "", context.Cause(ctx))
	}
}

func (b *azureBucket) findAccount(ctx context.Context) error {
	ctx, cancel := withRequestTimeout(ctx)
	defer cancel()
	// A token serves where Azure can't be asked for the key, too.
	if !b.config.UseAAD && b.account.managed() {
		if _, err := b.account.fetchKey(ctx); err != nil {
			return b.failKey(ctx, err)
		}
	}
	clients, err := b.newClients(b.account.findEndpoint(ctx))
	if err != nil {
		return b.fail(ctx, "open", "", err)
	}
	b.clients.Store(clients)
	return nil
}

func (b *azureBucket) newClients(endpoint string) (*azureClients, error) {
	options := &service.ClientOptions{ClientOptions: b.account.clientOptions()}
	var client *service.Client
	var err error
	if key := b.account.sharedKey(); key != nil {
		options.PerCallPolicies = []policy.Policy{azureSigner{b.account}}
		client, err = service.NewClientWithSharedKeyCredential(endpoint, key, options)
	} else {
		client, err = service.NewClient(endpoint, b.account.identity, options)
	}
	if err != nil {
		return nil, err
	}
	return &azureClients{client, client.NewContainerClient(b.bucket)}, nil
}

func (a *azureAccount) sharedKey() *container.SharedKeyCredential {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.key
}

// checkAzureKey also refuses a backslash, which Azure takes for a slash.
func checkAzureKey(key string) error {
	if strings.Contains(key, `\`) {
		return fmt.Errorf("invalid object key %q: Azure takes a backslash for a slash", key)
	}
	return checkKey(key)
}
