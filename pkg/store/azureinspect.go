package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// Inspect implements Inspector.
func (b *azureBucket) Inspect(ctx context.Context) (Inspection, error) {
	clients, err := b.connect(ctx)
	if err != nil {
		return Inspection{}, err
	}
	found := Inspection{Endpoint: strings.TrimSuffix(clients.container.URL(), "/")}
	sample, err := b.sample(ctx, clients, &found)
	if err != nil {
		return Inspection{}, err
	}
	b.inspectLock(ctx, clients, &found, sample)
	b.inspectVersions(ctx, clients, &found, sample)
	return found, nil
}

// sample is any one blob, or nil. Listing shows that the container can be reached,
// and what time it is there.
func (b *azureBucket) sample(ctx context.Context, clients *azureClients, found *Inspection) (*container.BlobItem, error) {
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	one := int32(1)
	page, err := clients.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		MaxResults: &one,
		Prefix:     &b.prefix,
	}).NextPage(request)
	if err != nil {
		return nil, b.fail(request, "inspect", "", err)
	}
	if page.Date != nil {
		found.ServerTime, found.LocalTime = page.Date.UTC(), time.Now().UTC()
	}
	if len(page.Segment.BlobItems) == 0 {
		return nil, nil
	}
	return page.Segment.BlobItems[0], nil
}

// inspectLock looks at the container's rules, and at one blob: the default rule for
// new versions shows only there.
func (b *azureBucket) inspectLock(ctx context.Context, clients *azureClients, found *Inspection, sample *container.BlobItem) {
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	rules, err := clients.container.GetProperties(request, nil)
	if err != nil {
		return
	}
	versioned := azureTrue(rules.IsImmutableStorageWithVersioningEnabled)
	switch {
	case azureTrue(rules.HasImmutabilityPolicy):
		found.Lock, found.LockRule = Yes, "time-based retention policy of the container"
	case azureTrue(rules.HasLegalHold):
		found.Lock, found.LockRule = Yes, "legal hold on the container"
	case !versioned:
		found.Lock = No
	case sample != nil:
		b.inspectSample(ctx, found, *sample.Name)
	default:
		found.LockRule = "the container allows a retention policy for each version"
	}
	if versioned {
		b.versions.Store(Yes)
	}
}

func (b *azureBucket) inspectSample(ctx context.Context, found *Inspection, name string) {
	p, err := b.properties(ctx, "inspect", strings.TrimPrefix(name, b.prefix))
	if err != nil {
		return
	}
	found.Lock = No
	if locked := azureLockOf(name, p); locked != nil {
		found.Lock, found.LockRule = Yes, "legal hold on each version"
		if !locked.Hold {
			found.LockRule = fmt.Sprintf("retention policy for each version, %q until %s", name, locked.Until.Format("2006-01-02 15:04 UTC"))
		}
	}
}

// inspectVersions looks at what the newest write was answered, else at the sample,
// and at whether deleted blobs are kept for a while.
func (b *azureBucket) inspectVersions(ctx context.Context, clients *azureClients, found *Inspection, sample *container.BlobItem) {
	if known, ok := b.versions.Load().(Tristate); ok {
		found.Versioning = known
	} else if sample != nil {
		p, err := b.properties(ctx, "inspect", strings.TrimPrefix(*sample.Name, b.prefix))
		if err == nil {
			b.noteVersion(p.VersionID)
			found.Versioning, _ = b.versions.Load().(Tristate)
		}
	}
	if found.Versioning == Yes {
		return
	}
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	rules, err := clients.service.GetProperties(request, nil)
	switch {
	case err != nil:
		// It may keep them.
		found.Versioning = Unknown
	case rules.DeleteRetentionPolicy != nil && azureTrue(rules.DeleteRetentionPolicy.Enabled):
		found.Versioning = Yes
	}
}
