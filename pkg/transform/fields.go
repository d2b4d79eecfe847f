package transform

import (
	"bytes"
	"encoding/json"
	"slices"
)

// fields are members of a JSON object in the order in which they came.
type fields []field

// field is one member. It stays the JSON that came in until it is opened.
type field struct {
	name string
	raw  json.RawMessage
	// value is the opened field; nil before. It then counts instead of raw.
	value any
}

// find returns the field of a name; nil when there is none.
func (f fields) find(name string) *field {
	for i := range f {
		if f[i].name == name {
			return &f[i]
		}
	}
	return nil
}

// raw returns a field as it came; nil when there is none.
func (f fields) raw(name string) json.RawMessage {
	if field := f.find(name); field != nil {
		return field.raw
	}
	return nil
}

func (f *fields) read(s scanner, name string) error {
	raw, err := s.raw()
	*f = append(*f, field{name: name, raw: raw})
	return err
}

func (f *fields) remove(names ...string) {
	*f = slices.DeleteFunc(*f, func(field field) bool { return slices.Contains(names, field.name) })
}

// put adds a field or replaces the one of its name.
func (f *fields) put(with field) {
	if field := f.find(with.name); field != nil {
		*field = with
		return
	}
	*f = append(*f, with)
}

// opened returns the value of an opened field; nil when it isn't opened or isn't
// there.
func (f *field) opened() any {
	if f == nil {
		return nil
	}
	return f.value
}

// json returns what the field is now.
func (f *field) json() (json.RawMessage, error) {
	if f.value == nil {
		return f.raw, nil
	}
	return appendValue(nil, f.value)
}

// texts are labels or annotations.
type texts struct {
	values map[string]string
	// raw is what they came as; nil once they were changed.
	raw json.RawMessage
}

func (t *texts) read(s scanner) error {
	begin := s.InputOffset()
	for first := true; ; first = false {
		quoted, ok, err := s.member(first)
		if err != nil {
			return err
		}
		if !ok {
			t.raw = bytes.TrimLeft(s.text[begin:s.InputOffset()], ": \t\r\n")
			return nil
		}
		key := unquote(quoted)
		value, err := s.string()
		if err != nil {
			return err
		}
		if t.values == nil {
			t.values = map[string]string{}
		}
		t.values[key] = value
	}
}

func (t *texts) set(key, value string) {
	if old, ok := t.values[key]; ok && old == value {
		return
	}
	if t.values == nil {
		t.values = map[string]string{}
	}
	t.values[key], t.raw = value, nil
}

func (t *texts) remove(key string) {
	if _, ok := t.values[key]; ok {
		delete(t.values, key)
		t.raw = nil
	}
}
