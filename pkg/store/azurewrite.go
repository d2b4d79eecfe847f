package store

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"golang.org/x/sync/errgroup"
)

// Create implements Bucket. Azure, and what speaks its protocol, looks and writes
// in one.
func (b *azureBucket) Create(ctx context.Context, key string, body []byte) error {
	const op = "create object"
	if err := checkAzureKey(key); err != nil {
		return err
	}
	clients, err := b.connect(ctx)
	if err != nil {
		return err
	}
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	none := azcore.ETagAny
	stored, err := clients.container.NewBlockBlobClient(b.prefix+key).Upload(request, streaming.NopCloser(bytes.NewReader(body)), &blockblob.UploadOptions{
		AccessConditions:        &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &none}},
		TransactionalValidation: azureChecksum(bytes.NewReader(body)),
	})
	if err == nil {
		b.noteVersion(stored.VersionID)
		return nil
	}
	e := b.fail(request, op, key, err)
	if errors.Is(e, ErrLocked) {
		// What is locked is there.
		e.kind, e.hint = ErrExists, ""
	}
	return e
}

// CreateUnseen implements Inspector.
func (b *azureBucket) CreateUnseen(ctx context.Context, key string, body []byte) error {
	return b.Create(ctx, key, body)
}

// noteVersion remembers whether what was written has versions.
func (b *azureBucket) noteVersion(id *string) {
	if id != nil && *id != "" {
		b.versions.Store(Yes)
	} else {
		b.versions.Store(No)
	}
}

// Delete implements Bucket.
func (b *azureBucket) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := checkAzureKey(key); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(deleteParallel)
	for _, key := range keys {
		group.Go(func() error { return b.deleteOne(ctx, key) })
	}
	return group.Wait()
}

// CheckLocks implements LockChecker, for locks of single versions.
func (b *azureBucket) CheckLocks(ctx context.Context, keys ...string) error {
	return inParallel(ctx, keys, func(ctx context.Context, _ int, key string) error {
		_, err := b.lookBeforeDelete(ctx, key)
		return err
	})
}

const opDeleteAzure = "delete object"

// lookBeforeDelete fails if a blob is locked, and says whether it is gone.
func (b *azureBucket) lookBeforeDelete(ctx context.Context, key string) (gone bool, err error) {
	found, err := b.properties(ctx, opDeleteAzure, key)
	switch {
	case errors.Is(err, ErrNotExist):
		return true, nil
	case errors.Is(err, ErrDenied):
		return false, nil // it may delete, but not read, perhaps
	case err != nil:
		return false, err
	}
	if locked := azureLockOf(key, found); locked != nil {
		return false, &opError{op: b.describe(opDeleteAzure, key), kind: locked}
	}
	return false, nil
}

// deleteOne looks first: where versions are locked one by one, Azure would take the
// request and hide the locked version.
func (b *azureBucket) deleteOne(ctx context.Context, key string) error {
	if gone, err := b.lookBeforeDelete(ctx, key); gone || err != nil {
		return err
	}
	clients, err := b.connect(ctx)
	if err != nil {
		return err
	}
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	// A blob that has snapshots goes with them or not at all.
	include := blob.DeleteSnapshotsOptionTypeInclude
	_, err = clients.container.NewBlobClient(b.prefix+key).Delete(request, &blob.DeleteOptions{DeleteSnapshots: &include})
	if err == nil {
		return nil
	}
	e := b.fail(request, opDeleteAzure, key, err)
	if e.kind == ErrNotExist {
		return nil
	}
	return b.explainLock(ctx, e, key)
}

// azureLockOf is what keeps this version of a blob from being deleted, or nil. A
// container's rule shows only in a refusal.
func azureLockOf(key string, p blob.GetPropertiesResponse) *LockedError {
	leased := p.LeaseStatus != nil && *p.LeaseStatus == lease.StatusTypeLocked
	if leased || azureTrue(p.LegalHold) {
		return &LockedError{Key: key, Hold: true}
	}
	now := time.Now()
	if p.Date != nil {
		now = *p.Date
	}
	if until := p.ImmutabilityPolicyExpiresOn; until != nil && until.After(now) {
		return &LockedError{Key: key, Until: until.UTC()}
	}
	return nil
}

// explainLock finds out until when an object is locked that was refused for it.
func (b *azureBucket) explainLock(ctx context.Context, e *opError, key string) *opError {
	var locked *LockedError
	if !errors.As(e.kind, &locked) || locked.Hold {
		return e
	}
	if found, err := b.properties(ctx, e.op, key); err == nil {
		if known := azureLockOf(key, found); known != nil {
			e.kind = known
			return e
		}
	}
	clients, err := b.connect(ctx)
	if err != nil {
		return e
	}
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	rule, err := clients.container.GetProperties(request, nil)
	if err == nil && azureTrue(rule.HasLegalHold) && !azureTrue(rule.HasImmutabilityPolicy) {
		e.kind = &LockedError{Key: key, Hold: true}
	}
	return e
}

func azureTrue(b *bool) bool { return b != nil && *b }
