package modifier

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// object is a decoded object and what it is.
type object struct {
	fields   map[string]any // numbers are json.Number
	identity identity
}

type identity struct{ apiVersion, kind, namespace, name string }

// decode reads an object. It refuses what can't be one: labels and annotations
// that aren't text are what a patch without quotes makes of them.
func decode(body []byte) (object, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var fields map[string]any
	if decoder.Decode(&fields) != nil {
		return object{}, errors.New("it is no JSON object")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return object{}, errors.New("something follows the JSON object")
	}
	meta, ok := fields["metadata"].(map[string]any)
	if !ok {
		return object{}, errors.New("it has no metadata")
	}
	for _, name := range []string{"labels", "annotations"} {
		if err := checkTexts(meta, name); err != nil {
			return object{}, err
		}
	}
	return object{fields: fields, identity: identity{
		apiVersion: text(fields, "apiVersion"), kind: text(fields, "kind"),
		namespace: text(meta, "namespace"), name: text(meta, "name"),
	}}, nil
}

// checkTexts refuses a field of metadata that is no map of texts.
func checkTexts(meta map[string]any, name string) error {
	if meta[name] == nil {
		return nil
	}
	values, ok := meta[name].(map[string]any)
	if !ok {
		return fmt.Errorf("metadata.%s is no mapping", name)
	}
	for key, value := range values {
		if _, ok := value.(string); !ok {
			return fmt.Errorf(`metadata.%s[%q] is no text; hint: put it into quotes, in a value of patches into two pairs: '"true"'`, name, key)
		}
	}
	return nil
}

// text is the string at a key; empty when there is none.
func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func (o object) groupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(o.identity.apiVersion, o.identity.kind)
}

// same refuses an object that is another one.
func (o object) same(other object) error {
	was, is := o.identity, other.identity
	switch {
	case was.name != is.name:
		return errors.New("a rule can't change metadata.name")
	case was.namespace != is.namespace:
		return errors.New("a rule can't change metadata.namespace; hint: restore with --namespace-mappings")
	case was.kind != is.kind, was.apiVersion != is.apiVersion:
		return errors.New("a rule can't change apiVersion and kind")
	}
	return nil
}
