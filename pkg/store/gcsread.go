package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
)

// Get implements Bucket.
func (b *gcsBucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return b.GetRange(ctx, key, 0, -1)
}

// GetRange implements Bucket.
func (b *gcsBucket) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	const op = "read object"
	if err := checkKey(key); err != nil {
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
	read, _ := withExchange(ctx)
	r, err := b.object(key).NewRangeReader(read, offset, length)
	if err != nil {
		var answer *googleapi.Error
		if errors.As(err, &answer) && answer.Code == http.StatusRequestedRangeNotSatisfiable {
			return http.NoBody, nil
		}
		return nil, b.explain(ctx, b.fail(ctx, op, key, err))
	}
	b.found.Store(true)
	return &gcsReader{Reader: r, ctx: ctx, bucket: b, key: key}, nil
}

// gcsReader words the errors of the SDK's reader, which takes up a broken read at
// the same place of the same content, and compares the checksum of an object that
// is read from end to end.
type gcsReader struct {
	*storage.Reader
	// A reader has no context parameter; this is the one of the Get call.
	ctx    context.Context
	bucket *gcsBucket
	key    string
}

// Read implements io.Reader.
func (r *gcsReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	e := r.bucket.fail(r.ctx, "read object", r.key, err)
	if e.kind == ErrNotExist {
		e.kind, e.detail = nil, "it was replaced or deleted while it was read"
	}
	return n, e
}

// Stat implements Bucket.
func (b *gcsBucket) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	if err := checkKey(key); err != nil {
		return ObjectInfo{}, err
	}
	attrs, err := b.attrs(ctx, "look at object", key)
	if err != nil {
		return ObjectInfo{}, err
	}
	return b.info(attrs), nil
}

// attrs asks for what the store says of one object.
func (b *gcsBucket) attrs(ctx context.Context, op, key string) (*storage.ObjectAttrs, error) {
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	attrs, err := b.object(key).Attrs(request)
	if err != nil {
		return nil, b.explain(ctx, b.fail(request, op, key, err))
	}
	b.found.Store(true)
	return attrs, nil
}

func (b *gcsBucket) info(attrs *storage.ObjectAttrs) ObjectInfo {
	return ObjectInfo{
		Key:     strings.TrimPrefix(attrs.Name, b.prefix),
		Size:    attrs.Size,
		ModTime: attrs.Created.UTC(),
		// The tag of an object that GCS gives changes with its metadata; the
		// generation is that of its content.
		ETag: strconv.FormatInt(attrs.Generation, 10),
	}
}

// explain finds out whether it is the bucket that is missing rather than an
// object: not every server's answer tells. Listing does, if the account may list.
func (b *gcsBucket) explain(ctx context.Context, e *opError) error {
	if e.kind != ErrNotExist || b.found.Load() {
		return e
	}
	for _, err := range b.pages(ctx, &storage.Query{Prefix: b.prefix}, 1) {
		if errors.Is(err, ErrNoBucket) {
			e.kind, e.hint = ErrNoBucket, b.hintNoBucket()
		}
		if err == nil {
			b.found.Store(true)
		}
		break
	}
	return e
}

// List implements Bucket.
func (b *gcsBucket) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		query := &storage.Query{Prefix: b.prefix + prefix, Projection: storage.ProjectionNoACL}
		if err := query.SetAttrSelection([]string{"Name", "Size", "Created", "Generation"}); err != nil {
			yield(ObjectInfo{}, b.fail(ctx, "list objects in", "", err))
			return
		}
		for page, err := range b.pages(ctx, query, gcsPageSize) {
			if err != nil {
				yield(ObjectInfo{}, err)
				return
			}
			for _, attrs := range page {
				if !yield(b.info(attrs), nil) {
					return
				}
			}
		}
	}
}

// Prefixes implements Bucket.
func (b *gcsBucket) Prefixes(ctx context.Context, prefix string) ([]string, error) {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	query := &storage.Query{Prefix: b.prefix + prefix, Delimiter: "/", Projection: storage.ProjectionNoACL}
	if err := query.SetAttrSelection([]string{"Name"}); err != nil {
		return nil, b.fail(ctx, "list objects in", "", err)
	}
	var names []string
	for page, err := range b.pages(ctx, query, gcsPageSize) {
		if err != nil {
			return nil, err
		}
		for _, attrs := range page {
			if attrs.Prefix != "" {
				names = append(names, strings.TrimSuffix(strings.TrimPrefix(attrs.Prefix, b.prefix+prefix), "/"))
			}
		}
	}
	return names, nil
}

// pages yields the pages of a list, each within the time of one request.
func (b *gcsBucket) pages(ctx context.Context, query *storage.Query, size int) iter.Seq2[[]*storage.ObjectAttrs, error] {
	return func(yield func([]*storage.ObjectAttrs, error) bool) {
		for token := ""; ; {
			page, next, err := b.page(ctx, query, size, token)
			if !yield(page, err) || err != nil || next == "" {
				return
			}
			token = next
		}
	}
}

func (b *gcsBucket) page(ctx context.Context, query *storage.Query, size int, token string) (page []*storage.ObjectAttrs, next string, err error) {
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	next, err = iterator.NewPager(b.handle.Objects(request, query), size, token).NextPage(&page)
	if err != nil {
		return nil, "", b.fail(request, "list objects in", "", err)
	}
	return page, next, nil
}
