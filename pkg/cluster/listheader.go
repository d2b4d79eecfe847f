package cluster

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// headers parses the headers of the objects of one list. It keeps what
// neighbours have in common, so that it isn't allocated for each.
type headers struct {
	res              Resource
	apiVersion, kind string // of res
	common           common
}

func newHeaders(res Resource) *headers {
	h := &headers{res: res}
	h.apiVersion, h.kind = res.GroupVersionKind().ToAPIVersionAndKind()
	return h
}

// parse returns the object that raw is, which must be valid JSON without two
// members of the same name: it isn't checked again.
func (h *headers) parse(raw []byte) (Object, error) {
	o := Object{APIVersion: h.apiVersion, Kind: h.kind, Raw: raw, untyped: noAPIVersion | noKind}
	if len(raw) == 0 || raw[0] != '{' {
		return o, fmt.Errorf("an item of %s is no object", h.res.GroupResource())
	}
	c := cursor{text: raw}
	for found := 0; found < 3; {
		name := c.next()
		if name == nil {
			break
		}
		found++
		var err error
		switch string(name) {
		case "apiVersion":
			o.untyped &^= noAPIVersion
			o.apiVersion, err = h.typeField(&c, &o.APIVersion)
		case "kind":
			o.untyped &^= noKind
			o.kind, err = h.typeField(&c, &o.Kind)
		case "metadata":
			err = h.metadata(&c, &o)
		default:
			found--
			c.skip()
		}
		if err != nil {
			return o, fmt.Errorf("an item of %s: %s: %w", h.res.GroupResource(), name, err)
		}
	}
	return o, nil
}

// typeField reads apiVersion or kind; where it is empty its place is returned.
func (h *headers) typeField(c *cursor, field *string) (span, error) {
	value := c.value()
	text, err := h.common.text(value)
	if err != nil || text != "" {
		*field = text
		return span{}, err
	}
	return span{c.at - len(value), c.at}, nil
}

func (h *headers) metadata(c *cursor, o *Object) error {
	if c.isNull() {
		return nil
	}
	if !c.isObject() {
		return errNoObject
	}
	for name := c.next(); name != nil; name = c.next() {
		var err error
		switch string(name) {
		case "name":
			o.Name, err = text(c.value())
		case "namespace":
			o.Namespace, err = h.common.text(c.value())
		case "uid":
			o.UID, err = text(c.value())
		case "labels":
			o.Labels, err = h.labels(c)
		case "deletionTimestamp":
			var at string
			at, err = text(c.value())
			o.Deleting = at != ""
		default:
			c.skip()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (h *headers) labels(c *cursor) (map[string]string, error) {
	if c.isNull() {
		return nil, nil
	}
	if !c.isObject() {
		return nil, errNoObject
	}
	var labels map[string]string
	for name := c.next(); name != nil; name = c.next() {
		value, err := h.common.text(c.value())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[h.common.of(name)] = value
	}
	return labels, nil
}

// common keeps strings that come again and again: namespaces, labels, kinds. A
// string takes the place of another at times; the size is fixed.
type common [256]string

// of returns text as a string.
func (c *common) of(text []byte) string {
	const longest = 128 // label values end at 63 bytes, label names at 317
	if len(text) == 0 || len(text) > longest {
		return string(text)
	}
	hash := uint32(2166136261) // FNV-1a
	for _, b := range text {
		hash = (hash ^ uint32(b)) * 16777619
	}
	kept := &c[(hash^hash>>16)%uint32(len(c))]
	if *kept != string(text) {
		*kept = string(text)
	}
	return *kept
}

// text is as the function, for values that come again and again.
func (c *common) text(value []byte) (string, error) {
	if plain, ok := unescaped(value); ok {
		return c.of(plain), nil
	}
	return text(value)
}

// text returns what a JSON string says; null says nothing.
func text(value []byte) (string, error) {
	if plain, ok := unescaped(value); ok {
		return string(plain), nil
	}
	if value[0] == 'n' {
		return "", nil
	}
	if value[0] != '"' {
		return "", errNoString
	}
	plain, err := jsontext.AppendUnquote(nil, value)
	return string(plain), err
}

// unescaped returns the inside of a JSON string, if it means what it is.
func unescaped(value []byte) ([]byte, bool) {
	if value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		return nil, false
	}
	return value[1 : len(value)-1], true
}
