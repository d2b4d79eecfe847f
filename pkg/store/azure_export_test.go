package store

import (
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// SetMaxBlocks lowers the number of blocks that an upload may have.
func SetMaxBlocks(b Bucket, n int) { b.(*azureBucket).maxBlocks = n }

// SetResourceManager makes the bucket ask this server for the account's URL and key.
func SetResourceManager(b Bucket, url string) {
	b.(*azureBucket).account.cloud.Services = map[cloud.ServiceName]cloud.ServiceConfiguration{
		cloud.ResourceManager: {Endpoint: url, Audience: "https://management.core.windows.net/"},
	}
}

// SetSharedAccess makes the bucket use a shared access signature: a way to have
// exactly some rights.
func SetSharedAccess(b Bucket, url string) error {
	a := b.(*azureBucket)
	client, err := service.NewClientWithNoCredential(url, &service.ClientOptions{ClientOptions: a.account.clientOptions()})
	if err != nil {
		return err
	}
	a.clients.Store(&azureClients{client, client.NewContainerClient(a.bucket)})
	return nil
}

// AgeKey makes a key that Azure gave look old.
func AgeKey(b Bucket) {
	a := b.(*azureBucket).account
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fetched = time.Now().Add(-2 * keyAge)
}
