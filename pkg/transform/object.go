package transform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Object is one object as JSON. Its metadata can be read and changed; the rest
// stays the bytes that came in until a step looks inside with Edit or EditList,
// so that what nobody touches comes out as it went in, numbers included. An
// Object is not safe for concurrent use.
type Object struct {
	apiVersion, kind, name, namespace string
	labels, annotations               map[string]string

	top    map[string]json.RawMessage // all fields but metadata
	meta   map[string]json.RawMessage // all of metadata but labels and annotations
	edited map[string]any             // fields of top that a step opened
}

// Parse reads one object. It refuses what is no object of Kubernetes: text that
// isn't JSON, no kind, no name, labels that aren't text.
func Parse(body []byte) (*Object, error) {
	o := &Object{edited: map[string]any{}}
	if err := json.Unmarshal(body, &o.top); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	for _, field := range []struct {
		from *map[string]json.RawMessage
		name string
		to   any
	}{
		{&o.top, "apiVersion", &o.apiVersion},
		{&o.top, "kind", &o.kind},
		{&o.top, "metadata", &o.meta},
		{&o.meta, "name", &o.name},
		{&o.meta, "namespace", &o.namespace},
		{&o.meta, "labels", &o.labels},
		{&o.meta, "annotations", &o.annotations},
	} {
		if raw, ok := (*field.from)[field.name]; ok {
			if err := json.Unmarshal(raw, field.to); err != nil {
				return nil, fmt.Errorf("decode %s of object: %w", field.name, err)
			}
			delete(*field.from, field.name)
		}
	}
	if o.apiVersion == "" || o.kind == "" || o.name == "" {
		return nil, errors.New("decode object: it has no apiVersion, kind or name")
	}
	if _, err := schema.ParseGroupVersion(o.apiVersion); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	return o, nil
}

// GroupVersionKind is the object's group, version and kind.
func (o *Object) GroupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(o.apiVersion, o.kind)
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
func (o *Object) Label(key string) string { return o.labels[key] }

// Labels returns the labels, to read.
func (o *Object) Labels() map[string]string { return o.labels }

// SetLabel sets a label.
func (o *Object) SetLabel(key, value string) { set(&o.labels, key, value) }

// Annotations returns the annotations, to read.
func (o *Object) Annotations() map[string]string { return o.annotations }

// Annotation returns the value of an annotation; empty when it isn't there.
func (o *Object) Annotation(key string) string { return o.annotations[key] }

// RemoveAnnotations removes annotations; those that aren't there are fine.
func (o *Object) RemoveAnnotations(keys ...string) {
	for _, key := range keys {
		delete(o.annotations, key)
	}
}

func set(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
}

// ManagedFields is metadata.managedFields as it came; nil when there is none.
func (o *Object) ManagedFields() json.RawMessage { return o.meta["managedFields"] }

// Applied reports whether a server-side apply owns fields of the object, that
// is, whether its managedFields have an entry of operation Apply. Entries that
// can't be read are none.
func (o *Object) Applied() bool {
	var entries []struct {
		Operation metav1.ManagedFieldsOperationType `json:"operation"`
	}
	if json.Unmarshal(o.ManagedFields(), &entries) != nil {
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
	var owners []metav1.OwnerReference
	if json.Unmarshal(o.meta["ownerReferences"], &owners) != nil {
		return metav1.OwnerReference{}, false
	}
	for _, owner := range owners {
		if owner.Controller != nil && *owner.Controller {
			return owner, true
		}
	}
	return metav1.OwnerReference{}, false
}

// CreationTime is metadata.creationTimestamp; zero when there is none.
func (o *Object) CreationTime() metav1.Time {
	var t metav1.Time
	if raw, ok := o.meta["creationTimestamp"]; !ok || json.Unmarshal(raw, &t) != nil {
		return metav1.Time{}
	}
	return t
}

// Deleting reports whether metadata.deletionTimestamp is set.
func (o *Object) Deleting() bool {
	raw, ok := o.meta["deletionTimestamp"]
	return ok && string(raw) != "null"
}

// RemoveMeta removes fields of metadata by their JSON names.
func (o *Object) RemoveMeta(fields ...string) {
	for _, field := range fields {
		delete(o.meta, field)
	}
}

// Read decodes a top-level field as it came in into a struct; a field that
// isn't there leaves it as it is.
func (o *Object) Read(field string, into any) error {
	raw, ok := o.top[field]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decode %s: %w", field, err)
	}
	return nil
}

// Edit opens a top-level field that is a map: changes to what it returns are
// changes of the object. It returns nil for a field that isn't there. Numbers
// are json.Number.
func (o *Object) Edit(field string) (map[string]any, error) {
	value, err := o.open(field)
	if value == nil || err != nil {
		return nil, err
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("decode %s: it is no map", field)
	}
	return m, nil
}

// EditList is Edit for a field that is a list.
func (o *Object) EditList(field string) ([]any, error) {
	value, err := o.open(field)
	if value == nil || err != nil {
		return nil, err
	}
	l, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("decode %s: it is no list", field)
	}
	return l, nil
}

func (o *Object) open(field string) (any, error) {
	if value, ok := o.edited[field]; ok {
		return value, nil
	}
	raw, ok := o.top[field]
	if !ok {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("decode %s: %w", field, err)
	}
	if value != nil {
		o.edited[field] = value
	}
	return value, nil
}

// SetList replaces a top-level field by a list; an empty one removes the field.
func (o *Object) SetList(field string, list []any) {
	if len(list) == 0 {
		o.Remove(field)
		return
	}
	o.edited[field] = list
}

// Remove removes top-level fields.
func (o *Object) Remove(fields ...string) {
	for _, field := range fields {
		delete(o.top, field)
		delete(o.edited, field)
	}
}

// Encode returns the object as JSON, keys sorted.
func (o *Object) Encode() ([]byte, error) {
	meta := maps.Clone(o.meta)
	if meta == nil {
		meta = map[string]json.RawMessage{}
	}
	top := maps.Clone(o.top)
	add := func(to map[string]json.RawMessage, key string, value any) error {
		raw, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("encode %s: %w", key, err)
		}
		to[key] = raw
		return nil
	}
	errs := []error{add(meta, "name", o.name), add(top, "apiVersion", o.apiVersion), add(top, "kind", o.kind)}
	if o.namespace != "" {
		errs = append(errs, add(meta, "namespace", o.namespace))
	}
	for key, values := range map[string]map[string]string{"labels": o.labels, "annotations": o.annotations} {
		if len(values) > 0 {
			errs = append(errs, add(meta, key, values))
		}
	}
	for key, value := range o.edited {
		errs = append(errs, add(top, key, value))
	}
	top["metadata"] = join(meta)
	return join(top), errors.Join(errs...)
}

// join writes a map of JSON values as JSON. Unlike json.Marshal it doesn't scan
// the values, which Parse has done.
func join(fields map[string]json.RawMessage) []byte {
	out := bytes.NewBufferString("{")
	for i, key := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			out.WriteByte(',')
		}
		name, _ := json.Marshal(key) // a string is always encoded
		out.Write(name)
		out.WriteByte(':')
		out.Write(fields[key])
	}
	out.WriteByte('}')
	return out.Bytes()
}
