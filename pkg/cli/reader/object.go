package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Info describes an object of the bucket.
type Info struct {
	// Size is in bytes.
	Size int64
	// ETag is the store's tag of this content; empty where it gives none.
	ETag string
}

// Part says which bytes of an object are wanted. The zero value means all.
type Part struct {
	// Offset is where it begins.
	Offset int64
	// Length in bytes; 0 or less means to the end.
	Length int64
	// ETag, when set, is the content that the part must be of. Of an object that
	// has changed the whole is returned instead.
	ETag string
}

// Object is an open object, or a part of one. It must be closed.
type Object struct {
	io.ReadCloser
	// Offset is where in the object it begins: that of the wanted Part, or 0 when
	// the whole object comes instead.
	Offset int64
}

// Get opens the object of key; ErrNotExist when there is none. The caller
// closes it.
func (r *Reader) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return r.GetPart(ctx, key, Part{})
}

// GetPart opens a part of the object of key; ErrNotExist when there is none. A
// part that begins behind the end is an error.
func (r *Reader) GetPart(ctx context.Context, key string, part Part) (*Object, error) {
	response, err := r.ask(ctx, call{method: http.MethodGet, path: key, header: part.header()})
	if err != nil {
		return nil, fmt.Errorf("read %q from the bucket: %w", key, err)
	}
	object := &Object{ReadCloser: response.Body}
	if response.StatusCode == http.StatusPartialContent {
		object.Offset = part.Offset
	}
	if object.Offset != part.Offset && part.ETag == "" {
		return nil, errors.Join(fmt.Errorf("read %q from the bucket: the reader doesn't serve ranges", key), response.Body.Close())
	}
	return object, nil
}

func (p Part) header() http.Header {
	if p.Offset == 0 && p.Length <= 0 {
		return nil
	}
	last := ""
	if p.Length > 0 {
		last = strconv.FormatInt(p.Offset+p.Length-1, 10)
	}
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%s", p.Offset, last)}}
	if p.ETag != "" {
		header.Set("If-Range", p.ETag)
	}
	return header
}

// Stat describes the object of key; ErrNotExist when there is none.
func (r *Reader) Stat(ctx context.Context, key string) (Info, error) {
	response, err := r.ask(ctx, call{method: http.MethodHead, path: key})
	if err != nil {
		return Info{}, fmt.Errorf("look at %q in the bucket: %w", key, err)
	}
	defer response.Body.Close()
	return Info{Size: response.ContentLength, ETag: response.Header.Get("ETag")}, nil
}
