package transform

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// reference is a place where objects of a kind name a namespace.
type reference struct {
	// field is the top-level field, path the way from there.
	field string
	path  []string
	// follow returns what the value at the place becomes.
	follow follower
}

// follower changes a value that names a namespace. Values of the wrong type
// stay as they are: the API server refuses them.
type follower func(o *Options, value any) any

// The elements of a path that aren't names.
const (
	each    = "[]" // every element of a list
	anyName = "*"  // every member of a map
)

// at returns a reference at a path that begins with a top-level field, like
// "spec.rules[].backendRefs[].namespace"; "*" stands for any name.
func at(path string, follow follower) reference {
	steps := strings.Split(strings.ReplaceAll(path, each, "."+each), ".")
	return reference{field: steps[0], path: steps[1:], follow: follow}
}

// follow changes an object's references to what moves to another namespace.
func (k kind) follow(o *Options, obj *Object) (Decision, error) {
	if len(o.NamespaceMapping) == 0 {
		return Decision{}, nil
	}
	o.followAnnotations(obj)
	for _, ref := range k.references {
		if field := obj.top.find(ref.field); field == nil || field.value == nil && !o.mayName(field.raw) {
			continue
		}
		value, err := obj.open(ref.field)
		if err != nil {
			return Decision{}, err
		}
		if value != nil {
			ref.walk(o, value, ref.path)
		}
	}
	return Decision{}, nil
}

// walk follows a reference from a value on and returns what becomes of the
// value.
func (r reference) walk(o *Options, value any, path []string) any {
	if len(path) == 0 {
		return r.follow(o, value)
	}
	switch container := value.(type) {
	case []any:
		if path[0] != each {
			break
		}
		for i := range container {
			container[i] = r.walk(o, container[i], path[1:])
		}
	case map[string]any:
		for name, member := range container {
			if path[0] == name || path[0] == anyName {
				container[name] = r.walk(o, member, path[1:])
			}
		}
	}
	return value
}

// mayName reports whether JSON can name a namespace that moves; it errs on the
// side of yes. Most objects can't, and then aren't opened.
func (o *Options) mayName(raw []byte) bool {
	const many = 32 // to look for each would take longer
	if len(o.NamespaceMapping) > many || bytes.IndexByte(raw, '\\') >= 0 {
		return true
	}
	for from := range o.NamespaceMapping {
		if bytes.Contains(raw, []byte(from)) {
			return true
		}
	}
	return false
}

// namespaceName follows the name of a namespace.
func namespaceName(o *Options, value any) any {
	if name, ok := value.(string); ok {
		return o.target(name)
	}
	return value
}

// namespaceSelector follows a selector of namespaces by the label that holds
// their name.
func namespaceSelector(o *Options, value any) any {
	selector, _ := value.(map[string]any)
	if labels := child(selector, "matchLabels"); text(labels, corev1.LabelMetadataName) != "" {
		labels[corev1.LabelMetadataName] = o.target(text(labels, corev1.LabelMetadataName))
	}
	for _, expression := range mapsAt(selector, "matchExpressions") {
		if text(expression, "key") != corev1.LabelMetadataName {
			continue
		}
		values, _ := expression["values"].([]any)
		for i := range values {
			values[i] = namespaceName(o, values[i])
		}
	}
	return value
}

// qualifiedName follows the namespace in "namespace/name".
func (o *Options) qualifiedName(text string) string {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		return text
	}
	return fmt.Sprintf("%s/%s", o.target(namespace), name)
}

// Annotations by which widespread controllers refer to other objects, whatever
// kind has them: as "namespace/name", and by namespace alone.
var (
	qualifiedAnnotations = []string{
		"cert-manager.io/inject-ca-from",
		"cert-manager.io/inject-ca-from-secret",
		"nginx.ingress.kubernetes.io/auth-secret",
		"nginx.ingress.kubernetes.io/auth-tls-secret",
		"nginx.ingress.kubernetes.io/proxy-ssl-secret",
	}
	namespaceAnnotations = []string{
		"snapshot.storage.kubernetes.io/deletion-secret-namespace",
		"volume.kubernetes.io/provisioner-deletion-secret-namespace",
	}
)

func (o *Options) followAnnotations(obj *Object) {
	for key, value := range obj.Annotations() {
		switch {
		case slices.Contains(qualifiedAnnotations, key):
			obj.SetAnnotation(key, o.qualifiedName(value))
		case slices.Contains(namespaceAnnotations, key):
			obj.SetAnnotation(key, o.target(value))
		}
	}
}
