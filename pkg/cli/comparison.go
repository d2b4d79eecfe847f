package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/rogpeppe/go-internal/diff"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// objectKey says which object of a cluster.
type objectKey struct{ resource, namespace, name string }

func (k objectKey) String() string {
	text := k.resource + "/" + k.name
	if k.namespace != "" {
		text = k.namespace + "/" + text
	}
	return text
}

func (k objectKey) compare(other objectKey) int {
	return cmp.Or(cmp.Compare(k.resource, other.resource), cmp.Compare(k.namespace, other.namespace), cmp.Compare(k.name, other.name))
}

// diffSide is one of two sets of objects that are compared.
type diffSide interface {
	// what is how messages call it.
	what() string
	// scan visits every object once; the body is valid during the call only.
	scan(ctx context.Context, visit func(objectKey, []byte) error) error
	// bodies visits some of them.
	bodies(ctx context.Context, keys map[objectKey]bool, visit func(objectKey, []byte) error) error
}

// fingerprint is what is remembered of an object on the left.
type fingerprint struct {
	hash [16]byte
	size int
}

// comparison compares two sides that needn't have the same order: it holds a
// fingerprint of each object of one side, and the bodies of a few that differ.
type comparison struct {
	f           *Factory
	moved       func()
	normal      normalizer
	showSecrets bool
	// onLeft, if set, is told of every object on the left.
	onLeft func(objectKey, []byte)

	same           int
	added, removed []objectKey
	changed        []sized
}

type sized struct {
	objectKey
	size int
}

func (d *comparison) differs() bool { return len(d.added)+len(d.removed)+len(d.changed) > 0 }

func (d *comparison) run(ctx context.Context, left, right diffSide) error {
	prints := map[objectKey]fingerprint{}
	err := left.scan(ctx, func(key objectKey, body []byte) error {
		d.moved()
		if d.onLeft != nil {
			d.onLeft(key, body)
		}
		hash, err := d.normal.hash(body)
		prints[key] = fingerprint{hash, len(body)}
		return d.about(left, key, err)
	})
	if err != nil {
		return err
	}
	err = right.scan(ctx, func(key objectKey, body []byte) error {
		d.moved()
		print, both := prints[key]
		if !both {
			d.added = append(d.added, key)
			return nil
		}
		delete(prints, key)
		hash, err := d.normal.hash(body)
		if err == nil && hash == print.hash {
			d.same++
		} else {
			d.changed = append(d.changed, sized{key, print.size + len(body)})
		}
		return d.about(right, key, err)
	})
	if err != nil {
		return err
	}
	d.removed = slices.Collect(maps.Keys(prints))
	return d.print(ctx, left, right)
}

func (d *comparison) about(side diffSide, key objectKey, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %s: %w", side.what(), key, err)
	}
	return nil
}

func (d *comparison) print(ctx context.Context, left, right diffSide) error {
	for _, part := range []struct {
		word string
		keys []objectKey
	}{{"removed", d.removed}, {"added", d.added}} {
		slices.SortFunc(part.keys, objectKey.compare)
		for _, key := range part.keys {
			fmt.Fprintf(d.f.Out, "%s: %s\n", part.word, key)
		}
	}
	slices.SortFunc(d.changed, func(a, b sized) int { return a.compare(b.objectKey) })
	for rest := d.changed; len(rest) > 0; {
		n := batch(rest)
		if err := d.printChanged(ctx, left, right, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	fmt.Fprintf(d.f.ErrOut, "From %s to %s: %d added, %d removed, %d changed, %d the same\n",
		left.what(), right.what(), len(d.added), len(d.removed), len(d.changed), d.same)
	return nil
}

// maxBatchBytes bounds the bodies that are held at once.
const maxBatchBytes = 32 << 20

// batch is how many of the objects are looked at together, one at least.
func batch(objects []sized) int {
	total := 0
	for n, o := range objects {
		if total += o.size; total > maxBatchBytes && n > 0 {
			return n
		}
	}
	return len(objects)
}

func (d *comparison) printChanged(ctx context.Context, left, right diffSide, batch []sized) error {
	bodies := map[objectKey][2][]byte{}
	wanted := map[objectKey]bool{}
	for _, o := range batch {
		wanted[o.objectKey] = true
	}
	for i, side := range []diffSide{left, right} {
		err := side.bodies(ctx, wanted, func(key objectKey, body []byte) error {
			d.moved()
			pair := bodies[key]
			pair[i] = slices.Clone(body)
			bodies[key] = pair
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, o := range batch {
		pair := bodies[o.objectKey]
		texts, err := d.texts(o.objectKey, pair)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.f.Out, "changed: %s\n", o)
		d.f.Out.Write(diff.Diff(left.what()+" "+o.String(), texts[0], right.what()+" "+o.String(), texts[1])) //nolint:errcheck // a closed Out shows elsewhere
	}
	return nil
}

// texts is the YAML of both, as it is compared and shown.
func (d *comparison) texts(key objectKey, pair [2][]byte) (texts [2][]byte, err error) {
	var objects [2]map[string]any
	for i, body := range pair {
		if len(body) == 0 {
			continue // gone in the meantime
		}
		if objects[i], err = d.normal.object(body); err != nil {
			return texts, fmt.Errorf("%s: %w", key, err)
		}
	}
	if key.resource == "secrets" && !d.showSecrets {
		maskSecrets(objects[0], objects[1])
	}
	for i, object := range objects {
		if object == nil {
			continue
		}
		if texts[i], err = yaml.Marshal(object); err != nil {
			return texts, fmt.Errorf("%s: %w", key, err)
		}
	}
	return texts, nil
}

// archiveSide is an archive.
type archiveSide struct{ source *archiveSource }

func (a archiveSide) what() string { return a.source.what }

func (a archiveSide) scan(ctx context.Context, visit func(objectKey, []byte) error) error {
	seen := map[objectKey]bool{}
	return a.source.each(ctx, objectQuery{}, func(item archive.Item, _ identity) error {
		key := objectKey{item.Resource.String(), item.Namespace, item.Name}
		if seen[key] {
			return nil // another version of it
		}
		seen[key] = true
		return visit(key, item.Body)
	})
}

func (a archiveSide) bodies(ctx context.Context, keys map[objectKey]bool, visit func(objectKey, []byte) error) error {
	left := maps.Clone(keys)
	byResource := map[string][]string{}
	for key := range keys {
		name := key.name
		if key.namespace != "" {
			name = key.namespace + "/" + name
		}
		byResource[key.resource] = append(byResource[key.resource], name)
	}
	match := func(m archive.Member) bool {
		return slices.ContainsFunc(byResource[m.Resource], func(name string) bool { return m.First <= name && name <= m.Last })
	}
	return a.source.eachIn(ctx, match, objectQuery{}, func(item archive.Item, _ identity) error {
		key := objectKey{item.Resource.String(), item.Namespace, item.Name}
		if !left[key] {
			return nil
		}
		delete(left, key)
		if err := visit(key, item.Body); err != nil || len(left) > 0 {
			return err
		}
		return errEnough
	})
}
