package store

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// azureDirectory is the type of what accounts with a hierarchical namespace list
// beside blobs.
const azureDirectory = "directory"

// Get implements Bucket.
func (b *azureBucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return b.GetRange(ctx, key, 0, -1)
}

// GetRange implements Bucket.
func (b *azureBucket) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	const op = "read object"
	if err := checkAzureKey(key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("read object %q: negative offset %d", b.prefix+key, offset)
	}
	if length == 0 {
		if _, err := b.Stat(ctx, key); err != nil {
			return nil, err
		}
		return http.NoBody, nil
	}
	clients, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	wanted := blob.HTTPRange{Offset: offset, Count: blob.CountToEnd}
	if length > 0 {
		wanted.Count = length
	}
	// Only the wait for the answer is bounded: the body takes as long as its
	// reader.
	request, cancel := context.WithCancelCause(ctx)
	request, answered := limitWait(request, cancel)
	defer answered()
	opened, err := clients.container.NewBlobClient(b.prefix+key).DownloadStream(request, &blob.DownloadStreamOptions{Range: wanted})
	if err != nil {
		failed := b.fail(request, op, key, err)
		cancel(nil)
		if bloberror.HasCode(err, bloberror.InvalidRange) {
			return http.NoBody, nil
		}
		return nil, failed
	}
	return &azureReader{
		ctx:    ctx,
		bucket: b,
		key:    key,
		body:   opened.NewRetryReader(request, &blob.RetryReaderOptions{MaxRetries: maxResumes}),
		cancel: cancel,
	}, nil
}

// azureReader reads one object, or a range of it. The SDK's reader takes up again
// what breaks.
type azureReader struct {
	// A reader has no context parameter; this is the one of the Get call.
	ctx    context.Context
	bucket *azureBucket
	key    string
	body   io.ReadCloser
	cancel context.CancelCauseFunc
}

// Read implements io.Reader.
func (r *azureReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	e := r.bucket.fail(r.ctx, "read object", r.key, err)
	if e.kind == ErrExists {
		e.kind, e.detail = nil, "it was replaced while it was read"
	}
	return n, e
}

// Close implements io.Closer.
func (r *azureReader) Close() error {
	err := r.body.Close()
	r.cancel(nil)
	return err
}

// Stat implements Bucket.
func (b *azureBucket) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	if err := checkAzureKey(key); err != nil {
		return ObjectInfo{}, err
	}
	found, err := b.properties(ctx, "look at object", key)
	if err != nil {
		return ObjectInfo{}, err
	}
	if isAzureDirectory(found.Metadata) {
		return ObjectInfo{}, &opError{op: b.describe("look at object", key), kind: ErrNotExist, detail: "it is a directory"}
	}
	info := ObjectInfo{Key: key, ETag: etagText(found.ETag)}
	if found.ContentLength != nil {
		info.Size = *found.ContentLength
	}
	if found.LastModified != nil {
		info.ModTime = found.LastModified.UTC()
	}
	return info, nil
}

// isAzureDirectory knows how accounts with a hierarchical namespace mark directories.
func isAzureDirectory(metadata map[string]*string) bool {
	for name, value := range metadata {
		if strings.EqualFold(name, "hdi_isfolder") {
			return value != nil && *value == "true"
		}
	}
	return false
}

func etagText(tag *azcore.ETag) string {
	if tag == nil {
		return ""
	}
	return string(*tag)
}

// properties asks for what Azure says of one blob.
func (b *azureBucket) properties(ctx context.Context, op, key string) (blob.GetPropertiesResponse, error) {
	clients, err := b.connect(ctx)
	if err != nil {
		return blob.GetPropertiesResponse{}, err
	}
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	found, err := clients.container.NewBlobClient(b.prefix+key).GetProperties(request, nil)
	if err != nil {
		return found, b.fail(request, op, key, err)
	}
	return found, nil
}

// List implements Bucket.
func (b *azureBucket) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		clients, err := b.connect(ctx)
		if err != nil {
			yield(ObjectInfo{}, err)
			return
		}
		full := b.prefix + prefix
		pager := clients.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &full})
		for page, err := range azurePages(ctx, b, pager) {
			if err != nil {
				yield(ObjectInfo{}, err)
				return
			}
			for _, item := range page.Segment.BlobItems {
				if info, ok := b.objectInfo(item); ok && !yield(info, nil) {
					return
				}
			}
		}
	}
}

// objectInfo leaves out directories.
func (b *azureBucket) objectInfo(item *container.BlobItem) (info ObjectInfo, ok bool) {
	if item.Name == nil || item.Properties == nil {
		return ObjectInfo{}, false
	}
	p := item.Properties
	if p.ResourceType != nil && *p.ResourceType == azureDirectory {
		return ObjectInfo{}, false
	}
	info = ObjectInfo{Key: strings.TrimPrefix(*item.Name, b.prefix), ETag: etagText(p.ETag)}
	if p.ContentLength != nil {
		info.Size = *p.ContentLength
	}
	if p.LastModified != nil {
		info.ModTime = p.LastModified.UTC()
	}
	return info, true
}

// Prefixes implements Bucket.
func (b *azureBucket) Prefixes(ctx context.Context, prefix string) ([]string, error) {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	clients, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	full := b.prefix + prefix
	pager := clients.container.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: &full})
	var names []string
	for page, err := range azurePages(ctx, b, pager) {
		if err != nil {
			return nil, err
		}
		for _, p := range page.Segment.BlobPrefixes {
			if p.Name != nil {
				names = append(names, strings.TrimSuffix(strings.TrimPrefix(*p.Name, full), "/"))
			}
		}
	}
	return names, nil
}

// azurePages yields the pages of a list, each within the time of one request.
func azurePages[T any](ctx context.Context, b *azureBucket, pager *runtime.Pager[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for pager.More() {
			request, cancel := withRequestTimeout(ctx)
			page, err := pager.NextPage(request)
			if err != nil {
				err = b.fail(request, "list objects in", "", err)
			}
			cancel()
			if !yield(page, err) || err != nil {
				return
			}
		}
	}
}
