package verify

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// item looks at one object entry.
func (t *tarCheck) item(path string, item archive.Item) {
	at, k := atOther, keyOf(item.Resource.String(), item.Namespace, item.Name)
	switch {
	case item.Version == "":
		at = atPlain
	case item.Preferred:
		at = atPreferred
	default:
		other := keyOf(path)
		if t.seen[other]&atOther != 0 {
			t.find(Broken, path, "it stands twice")
			return
		}
		t.seen[other] |= atOther
		t.others++
	}
	had := t.seen[k]
	if at != atOther && had&at != 0 {
		t.find(Broken, path, "it stands twice")
		return
	}
	t.seen[k] |= at
	if at == atPlain {
		t.plain++
	}
	if had == 0 {
		t.objects++
		t.summary.Items = t.objects
		t.perKind[item.Resource.String()]++
	}
	t.index.item(item, at)
	if second := t.second(k, path, item, at); !second {
		t.object(k, path, item, at)
	}
}

// second reports whether this is the other copy of an object that was looked
// at; it must be the same.
func (t *tarCheck) second(k key, path string, item archive.Item, at copies) bool {
	first, ok := t.pending[k]
	if !ok || at == atOther {
		return false
	}
	delete(t.pending, k)
	if first.sum != sha256.Sum256(item.Body) {
		t.find(Broken, path, "it differs from its copy at %s", first.path)
		return false
	}
	if at == atPreferred && first.version != "" && first.version != item.Version {
		t.find(t.deviation(), path, "the object is of version %q", first.version)
	}
	return true
}

// object looks at the body of an entry.
func (t *tarCheck) object(k key, path string, item archive.Item, at copies) {
	var body struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(item.Body, &body); err != nil {
		t.find(Broken, path, "it isn't the JSON of an object: %v", err)
		return
	}
	gv, err := schema.ParseGroupVersion(body.APIVersion)
	if err != nil || body.Kind == "" || gv.Version == "" {
		t.find(Broken, path, "its apiVersion is %q and its kind %q", body.APIVersion, body.Kind)
		return
	}
	if body.Metadata.Name != item.Name || body.Metadata.Namespace != item.Namespace {
		t.find(Broken, path, "it holds %s %q", body.Kind, place(body.Metadata.Namespace, body.Metadata.Name))
	}
	if err := t.kind(item.Resource, gv.WithKind(body.Kind)); err != nil {
		t.find(Broken, path, "%v", err)
	}
	if item.Version != "" && item.Version != gv.Version {
		t.find(t.deviation(), path, "the object is of version %q", gv.Version)
	}
	t.inList(path, body.APIVersion+"/"+body.Kind, place(item.Namespace, item.Name), at)
	if at != atOther && t.seen[k]&(atPlain|atPreferred) != atPlain|atPreferred {
		t.pending[k] = twin{path: path, sum: sha256.Sum256(item.Body), version: gv.Version}
	}
}

// inList looks for the object in the resource list.
func (t *tarCheck) inList(path, kind, name string, at copies) {
	if t.listed == nil {
		return
	}
	k := keyOf(kind, name)
	if _, ok := t.listed.found[k]; ok {
		t.listed.found[k] = true
	} else if at != atOther || t.strict() {
		t.find(t.deviation(), path, "it is not in the resource list")
	}
}

// kind reports an object that can't be of the resource.
func (t *tarCheck) kind(resource schema.GroupResource, gvk schema.GroupVersionKind) error {
	if gvk.Group != resource.Group {
		return fmt.Errorf("it holds a %s of group %q", gvk.Kind, gvk.Group)
	}
	name := resource.String()
	if t.kinds[name] == "" {
		t.kinds[name] = gvk.Kind
	}
	if t.kinds[name] != gvk.Kind {
		return fmt.Errorf("it holds a %s, others of %s are of kind %s", gvk.Kind, name, t.kinds[name])
	}
	if plural, _ := meta.UnsafeGuessKindToResource(gvk); slices.Contains(regular, gvk.Group) && plural.Resource != resource.Resource {
		return fmt.Errorf("it holds a %s", gvk.Kind)
	}
	return nil
}

// regular are groups of Kubernetes in which the plural of every kind is regular.
var regular = []string{
	"", "apps", "autoscaling", "batch", "policy", "extensions", "rbac.authorization.k8s.io", "networking.k8s.io",
	"storage.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "apiextensions.k8s.io",
	"apiregistration.k8s.io", "admissionregistration.k8s.io",
}

// place is how lists name an object.
func place(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}
