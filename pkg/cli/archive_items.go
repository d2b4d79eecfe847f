package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// errEnough is what visit returns when it needs no more items.
var errEnough = errors.New("enough")

// each calls visit with each object that the query selects, once, in the order
// of the archive; the zero query selects all. Where there is an index, only the
// parts of the archive are read that may hold them. It stops without an error
// when visit returns errEnough. The item's body is valid during the call only.
// An entry that can't be read is a warning.
func (a *archiveSource) each(ctx context.Context, query objectQuery, visit func(archive.Item, identity) error) error {
	return a.eachIn(ctx, query.mayBeIn, query, visit)
}

// eachIn is each for what is in the members that match.
func (a *archiveSource) eachIn(ctx context.Context, match func(archive.Member) bool, query objectQuery, visit func(archive.Item, identity) error) error {
	for _, part := range a.parts(match) {
		if err := a.eachOf(ctx, part, query, visit); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return fmt.Errorf("read %s: %w", a.what, err)
		}
	}
	return nil
}

// parts are the ranges of the members that match; without an index it is all.
func (a *archiveSource) parts(match func(archive.Member) bool) []archive.Range {
	if a.index == nil {
		return []archive.Range{{}}
	}
	return a.index.Select(func(m archive.Member) bool { return m.Resource != "" && match(m) })
}

func (a *archiveSource) eachOf(ctx context.Context, part archive.Range, query objectQuery, visit func(archive.Item, identity) error) (err error) {
	body, err := a.read(ctx, part)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	open := archive.NewPartReader
	if part == (archive.Range{}) {
		open = archive.NewReader
	}
	items, err := open(body)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		item, err := items.NextVersioned()
		broken := (*archive.ItemError)(nil)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &broken):
			a.warn("%s: %v", a.what, broken)
			continue
		case err != nil:
			return err
		case item.Version != "" && item.Preferred:
			continue // the copy beside this one was visited
		}
		if err := a.visit(item, query, visit); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (a *archiveSource) visit(item archive.Item, query objectQuery, visit func(archive.Item, identity) error) error {
	a.seen[item.Resource.String()] = true
	if !query.mayHave(item.Namespace, item.Name) {
		return nil
	}
	id, err := identify(item.Body)
	if err != nil {
		a.warn("%s: %s: %v", a.what, itemName(item), err)
	}
	if !query.selects(item.Resource, id.Kind, item.Namespace, item.Name) {
		return nil
	}
	return visit(item, id)
}

// itemName is how messages and tables name an item, "shop/deployments.apps/web".
func itemName(item archive.Item) string {
	name := item.Resource.String() + "/" + item.Name
	if item.Namespace != "" {
		name = item.Namespace + "/" + name
	}
	return name
}

// identity is what an object says that it is.
type identity struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

func identify(body []byte) (identity, error) {
	var id identity
	if err := json.Unmarshal(body, &id); err != nil {
		return identity{}, fmt.Errorf("is no JSON: %w", err)
	}
	return id, nil
}

// resources are the kinds of the archive, "deployments.apps", as far as they
// are known: all of them with an index, else those that were read.
func (a *archiveSource) resources() []string {
	var names []string
	if a.index != nil {
		for _, m := range a.index.Members {
			if m.Resource != "" {
				names = append(names, m.Resource)
			}
		}
	}
	for name := range a.seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// resourceList is the map apiVersion/Kind to names, "namespace/name" or "name":
// that beside the backup, or where there is none that of the objects in the
// archive, which is read for it.
func (a *archiveSource) resourceList(ctx context.Context) (list map[string][]string, err error) {
	err = a.gunzip(ctx, resourceListSuffix, func(plain io.Reader) error {
		if err := json.NewDecoder(io.LimitReader(plain, maxDetails)).Decode(&list); err != nil {
			return fmt.Errorf("decode the resource list of %s: %w", a.what, err)
		}
		return nil
	})
	if !errors.Is(err, fs.ErrNotExist) {
		return list, err
	}
	list = map[string][]string{}
	err = a.each(ctx, objectQuery{}, func(item archive.Item, id identity) error {
		key, name := id.APIVersion+"/"+id.Kind, item.Name
		if item.Namespace != "" {
			name = item.Namespace + "/" + name
		}
		list[key] = append(list[key], name)
		return nil
	})
	for key := range list {
		slices.Sort(list[key])
	}
	return list, err
}

// groupVersionKind takes a key of a resource list apart.
func groupVersionKind(key string) schema.GroupVersionKind {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '/' {
			return schema.FromAPIVersionAndKind(key[:i], key[i+1:])
		}
	}
	return schema.GroupVersionKind{Kind: key}
}
