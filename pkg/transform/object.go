package transform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Object is one object as JSON. Its metadata can be read and changed; the rest
// stays the bytes that came in until a step looks inside with Edit or EditList,
// so that what nobody touches comes out as it went in, numbers included. An
// Object is not safe for concurrent use.
type Object struct {
	apiVersion, kind, name, namespace string
	labels, annotations               texts

	top    fields          // all but apiVersion, kind and metadata
	meta   fields          // all of metadata but what has a field above
	status json.RawMessage // as it came, once it was removed
	size   int             // of the JSON that came in, in bytes
}

// GroupVersionKind is the object's group, version and kind.
func (o *Object) GroupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(o.apiVersion, o.kind)
}

// SetVersion changes the version of apiVersion, for kinds whose versions have the same
// fields.
func (o *Object) SetVersion(version string) {
	o.apiVersion = schema.GroupVersion{Group: o.GroupVersionKind().Group, Version: version}.String()
}

// Name is metadata.name; it is never empty.
func (o *Object) Name() string { return o.name }

// Namespace is metadata.namespace; empty for cluster-scoped objects.
func (o *Object) Namespace() string { return o.namespace }

// SetName changes metadata.name.
func (o *Object) SetName(name string) { o.name = name }

// SetNamespace changes metadata.namespace.
func (o *Object) SetNamespace(namespace string) { o.namespace = namespace }

// Label returns the value of a label; empty when it isn't there.
func (o *Object) Label(key string) string { return o.labels.values[key] }

// Labels returns the labels, to read.
func (o *Object) Labels() map[string]string { return o.labels.values }

// SetLabel sets a label.
func (o *Object) SetLabel(key, value string) { o.labels.set(key, value) }

func (o *Object) removeLabels(keys ...string) {
	for _, key := range keys {
		o.labels.remove(key)
	}
}

// Annotation returns the value of an annotation; empty when it isn't there.
func (o *Object) Annotation(key string) string { return o.annotations.values[key] }

// Annotations returns the annotations, to read.
func (o *Object) Annotations() map[string]string { return o.annotations.values }

// SetAnnotation sets an annotation.
func (o *Object) SetAnnotation(key, value string) { o.annotations.set(key, value) }

// RemoveAnnotations removes annotations; those that aren't there are fine.
func (o *Object) RemoveAnnotations(keys ...string) {
	for _, key := range keys {
		o.annotations.remove(key)
	}
}

// ManagedFields is metadata.managedFields as it came; nil when there is none.
func (o *Object) ManagedFields() json.RawMessage { return o.meta.raw("managedFields") }

// Applied reports whether a server-side apply owns fields of the object, that
// is, whether its managedFields have an entry of operation Apply. Entries that
// can't be read are none.
func (o *Object) Applied() bool {
	managed := o.ManagedFields()
	if !bytes.Contains(managed, []byte(metav1.ManagedFieldsOperationApply)) {
		return false // nearly all objects, and the entries are long
	}
	var entries []struct {
		Operation metav1.ManagedFieldsOperationType `json:"operation"`
	}
	if json.Unmarshal(managed, &entries) != nil {
		return false
	}
	for _, entry := range entries {
		if entry.Operation == metav1.ManagedFieldsOperationApply {
			return true
		}
	}
	return false
}

// Controller returns the owner that controls the object. Owners that can't be
// read are none.
func (o *Object) Controller() (metav1.OwnerReference, bool) {
	raw := o.meta.raw("ownerReferences")
	if raw == nil {
		return metav1.OwnerReference{}, false
	}
	value, _ := decodeValue(raw) // it was scanned, so there is no error
	owners, _ := value.([]any)
	for _, owner := range elements(owners) {
		if controls, _ := owner["controller"].(bool); controls {
			return metav1.OwnerReference{
				APIVersion: text(owner, "apiVersion"), Kind: text(owner, "kind"), Name: text(owner, "name"),
				UID: types.UID(text(owner, "uid")), Controller: &controls,
			}, true
		}
	}
	return metav1.OwnerReference{}, false
}

// UID is metadata.uid; empty when there is none that can be read.
func (o *Object) UID() types.UID { return types.UID(o.metaText("uid")) }

// CreationTime is metadata.creationTimestamp; zero when there is none that can
// be read.
func (o *Object) CreationTime() metav1.Time {
	created, err := time.Parse(time.RFC3339, o.metaText("creationTimestamp"))
	if err != nil {
		return metav1.Time{}
	}
	return metav1.NewTime(created)
}

func (o *Object) metaText(name string) string {
	if raw := o.meta.raw(name); raw != nil && raw[0] == '"' {
		return unquote(raw)
	}
	return ""
}

// Deleting reports whether metadata.deletionTimestamp is set.
func (o *Object) Deleting() bool {
	raw := o.meta.raw("deletionTimestamp")
	return raw != nil && string(raw) != "null"
}

// RemoveMeta removes fields of metadata by their JSON names; name, namespace,
// labels and annotations have methods of their own.
func (o *Object) RemoveMeta(fields ...string) { o.meta.remove(fields...) }

// Status is the status as it came, also after Apply removed it; nil when there
// is none.
func (o *Object) Status() json.RawMessage {
	if raw := o.top.raw("status"); raw != nil {
		return raw
	}
	return o.status
}

// Read decodes a top-level field as it is now into a struct; a field that isn't
// there leaves it as it is.
func (o *Object) Read(name string, into any) error {
	raw, err := o.find(name)
	if raw == nil || err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decode %s: %w", name, err)
	}
	return nil
}

// find returns the JSON at a path of names that begins with a top-level field;
// nil when there is none.
func (o *Object) find(path ...string) (json.RawMessage, error) {
	field := o.top.find(path[0])
	if field == nil {
		return nil, nil
	}
	raw, err := field.json()
	if err == nil {
		raw, err = find(raw, path[1:]...)
	}
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", dotted(path), err)
	}
	return raw, nil
}

// text returns the text at a path as find does; empty when there is none.
func (o *Object) text(path ...string) (string, error) {
	raw, err := o.find(path...)
	if raw == nil || err != nil {
		return "", err
	}
	if raw[0] != '"' {
		return "", fmt.Errorf("decode %s: %w", dotted(path), errNoText)
	}
	return unquote(raw), nil
}

// Edit opens a top-level field that is a map: changes to what it returns are
// changes of the object. It returns nil for a field that isn't there. Numbers
// are json.Number.
func (o *Object) Edit(name string) (map[string]any, error) {
	value, err := o.open(name)
	if value == nil || err != nil {
		return nil, err
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("decode %s: %w", name, errNoMap)
	}
	return m, nil
}

// EditList is Edit for a field that is a list.
func (o *Object) EditList(name string) ([]any, error) {
	value, err := o.open(name)
	if value == nil || err != nil {
		return nil, err
	}
	l, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("decode %s: %w", name, errNoList)
	}
	return l, nil
}

func (o *Object) open(name string) (any, error) {
	field := o.top.find(name)
	if field == nil || field.value != nil {
		return field.opened(), nil
	}
	value, err := decodeValue(field.raw)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", name, err)
	}
	field.value = value
	return value, nil
}

// SetList replaces a top-level field by a list; an empty one removes the field.
func (o *Object) SetList(name string, list []any) {
	if len(list) == 0 {
		o.Remove(name)
		return
	}
	o.top.put(field{name: name, value: list})
}

// Remove removes top-level fields.
func (o *Object) Remove(names ...string) { o.top.remove(names...) }

// removeFrom removes members of a top-level field that is a map, without
// opening it.
func (o *Object) removeFrom(name string, members ...string) error {
	field := o.top.find(name)
	if field == nil {
		return nil
	}
	if field.value != nil {
		m, err := o.Edit(name)
		for _, member := range members {
			delete(m, member)
		}
		return err
	}
	if string(field.raw) == "null" {
		return nil
	}
	raw, err := without(field.raw, members...)
	if err != nil {
		return fmt.Errorf("decode %s: %w", name, err)
	}
	field.raw = raw
	return nil
}

// removeFinalizers removes entries of metadata.finalizers.
func (o *Object) removeFinalizers(unwanted ...string) error {
	raw := o.meta.raw("finalizers")
	if !slices.ContainsFunc(unwanted, func(finalizer string) bool { return bytes.Contains(raw, []byte(finalizer)) }) {
		return nil
	}
	var finalizers []string
	if err := json.Unmarshal(raw, &finalizers); err != nil {
		return fmt.Errorf("decode metadata.finalizers: %w", err)
	}
	kept := []any{}
	for _, f := range finalizers {
		if !slices.Contains(unwanted, f) {
			kept = append(kept, f)
		}
	}
	o.meta.remove("finalizers")
	if len(kept) > 0 {
		o.meta.put(field{name: "finalizers", value: kept})
	}
	return nil
}
