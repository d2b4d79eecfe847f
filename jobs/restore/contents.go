package restore

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// kind is one kind of an archive in one version.
type kind struct {
	// Resource is the group and plural name, from the path in the archive.
	Resource schema.GroupResource
	// Folder is the version of the path; empty for the path without version.
	Folder string
	// Version is that of the objects, not of the path.
	Version string
	// Kind is the kind of the first object.
	Kind string
	// Count is the number of objects by namespace; cluster-scoped ones count
	// for the empty namespace.
	Count map[string]int
}

// Namespaced reports whether the archive has the objects in namespaces.
func (k *kind) Namespaced() bool { return k.Count[""] == 0 }

func (k *kind) total() int {
	n := 0
	for _, count := range k.Count {
		n += count
	}
	return n
}

// contents is what an archive holds, without the objects: some bytes for each
// kind and namespace, however many objects there are.
type contents struct {
	kinds map[kindKey]*kind
	// definitions are the names of the CustomResourceDefinitions.
	definitions []string
	// versions are, for each kind, the versions in which it is stored, and
	// whether one is the source cluster's preferred one.
	versions map[schema.GroupResource]map[string]bool
}

type kindKey struct {
	schema.GroupResource
	folder, version string
}

func newContents() *contents {
	return &contents{kinds: map[kindKey]*kind{}, versions: map[schema.GroupResource]map[string]bool{}}
}

// listed is what an index tells of an archive: its kinds, with roughly where their
// objects are.
func listed(index *archive.Index) *contents {
	c := newContents()
	for _, m := range index.Members {
		if m.Resource == "" {
			continue
		}
		resource := schema.ParseGroupResource(m.Resource)
		c.note(resource, m.Version, m.Preferred)
		folder := m.Version
		if m.Preferred {
			folder = ""
		}
		k := c.kind(kindKey{resource, folder, m.Version})
		namespace, _, namespaced := strings.Cut(m.First, "/")
		if !namespaced {
			namespace = ""
		}
		k.Count[namespace] += m.Objects
	}
	return c
}

// note remembers that a kind is stored in a version.
func (c *contents) note(resource schema.GroupResource, version string, preferred bool) {
	if c.versions[resource] == nil {
		c.versions[resource] = map[string]bool{}
	}
	c.versions[resource][version] = preferred
}

func (c *contents) kind(key kindKey) *kind {
	k := c.kinds[key]
	if k == nil {
		k = &kind{Resource: key.GroupResource, Folder: key.folder, Version: key.version, Count: map[string]int{}}
		c.kinds[key] = k
	}
	return k
}

// keep forgets the versions that are not restored.
func (c *contents) keep(folders map[schema.GroupResource]string) {
	maps.DeleteFunc(c.kinds, func(key kindKey, _ *kind) bool { return key.folder != folders[key.GroupResource] })
}

// add notes one object. An object that can't be read is left to the pass that
// restores it.
func (c *contents) add(item archive.Item) {
	apiVersion, kindName := peek(item.Body)
	gv, err := schema.ParseGroupVersion(apiVersion)
	if apiVersion == "" || err != nil {
		return
	}
	if item.Version != "" {
		c.note(item.Resource, item.Version, item.Preferred)
	}
	if k := c.count(item, gv.Version); k.Kind == "" {
		k.Kind = kindName()
	}
}

// count notes one object by its path; version is that of its kind.
func (c *contents) count(item archive.Item, version string) *kind {
	k := c.kind(kindKey{item.Resource, item.Version, version})
	k.Count[item.Namespace]++
	if item.Resource == definitions && item.Version == "" {
		c.definitions = append(c.definitions, item.Name)
	}
	return k
}

// describe reads the name of a kind from one of its objects.
func (c *contents) describe(item archive.Item, version string) {
	_, kindName := peek(item.Body)
	c.kind(kindKey{item.Resource, item.Version, version}).Kind = kindName()
}

// versionsOf are the versions of the kinds.
func (c *contents) versionsOf() map[schema.GroupResource]string {
	versions := map[schema.GroupResource]string{}
	for key := range c.kinds {
		versions[key.GroupResource] = key.version
	}
	return versions
}

// all returns the kinds in a fixed order.
func (c *contents) all() []*kind {
	return slices.SortedFunc(maps.Values(c.kinds), func(a, b *kind) int {
		return cmp.Or(cmp.Compare(a.Resource.String(), b.Resource.String()), cmp.Compare(a.Folder, b.Folder), cmp.Compare(a.Version, b.Version))
	})
}

// has reports whether there are objects of a kind, in whatever version.
func (c *contents) has(resource schema.GroupResource) bool {
	for key := range c.kinds {
		if key.GroupResource == resource {
			return true
		}
	}
	return false
}

// resolve finds a kind by a name as a user types it. It knows kinds that the
// cluster learns from this archive only, but no short names.
func (c *contents) resolve(name string) (resource schema.GroupResource, namespaced, ok bool) {
	name = strings.ToLower(name)
	for _, k := range c.all() {
		switch name {
		case k.Resource.Resource, k.Resource.String(), strings.ToLower(k.Kind):
			return k.Resource, k.Namespaced(), true
		}
	}
	return schema.GroupResource{}, false, false
}

// peek reads apiVersion, and on demand kind, of an object without decoding the
// rest: in an archive it is the first key.
func peek(body []byte) (apiVersion string, kindName func() string) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	var header struct{ APIVersion, Kind string }
	whole := func() string {
		if json.Unmarshal(body, &header) != nil {
			return ""
		}
		return header.Kind
	}
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return "", whole
	}
	if token, err := decoder.Token(); err != nil || token != "apiVersion" {
		whole()
		return header.APIVersion, whole
	}
	token, err := decoder.Token()
	if err != nil {
		return "", whole
	}
	apiVersion, _ = token.(string)
	return apiVersion, whole
}

// countListed is the number of objects in the resource list of a backup.
func countListed(list map[string][]string) int {
	n := 0
	for _, names := range list {
		n += len(names)
	}
	return n
}

// agrees reports whether another account of the same archive has as many objects
// of each kind.
func (c *contents) agrees(other *contents) bool {
	return maps.EqualFunc(c.kinds, other.kinds, func(a, b *kind) bool { return a.total() == b.total() })
}

// compare says how the archive differs from the backup's resource list; empty
// when it has as many objects or there is no list.
func (c *contents) compare(list map[string][]string) string {
	have, listed := 0, countListed(list)
	for _, k := range c.kinds {
		have += k.total()
	}
	if listed == 0 || have >= listed {
		return ""
	}
	return fmt.Sprintf("the archive has %d objects, the backup's resource list names %d", have, listed)
}
