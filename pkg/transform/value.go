package transform

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// decodeValue returns JSON that was scanned before as maps, lists, strings,
// json.Numbers, booleans and nil.
func decodeValue(raw []byte) (any, error) {
	s := rescan(raw)
	defer s.release()
	return s.any()
}

func (s scanner) any() (any, error) {
	switch s.PeekKind() {
	case jsontext.KindBeginObject:
		return s.anyMap()
	case jsontext.KindBeginArray:
		return s.anyList()
	case jsontext.KindString:
		return s.string()
	}
	raw, err := s.raw()
	if err != nil {
		return nil, err
	}
	switch raw[0] {
	case 'n':
		return nil, nil
	case 't', 'f':
		return raw[0] == 't', nil
	}
	return json.Number(raw), nil
}

func (s scanner) anyMap() (any, error) {
	m := map[string]any{}
	for first := true; ; first = false {
		quoted, ok, err := s.member(first)
		if err != nil || !ok {
			return m, err
		}
		name := memberName(quoted)
		if m[name], err = s.any(); err != nil {
			return nil, err
		}
	}
}

func (s scanner) anyList() (any, error) {
	list := []any{}
	if _, err := s.ReadToken(); err != nil {
		return nil, err
	}
	for s.PeekKind() != jsontext.KindEndArray {
		value, err := s.any()
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := s.ReadToken()
	return list, err
}

// appendValue appends a value as JSON, keys sorted. Beside what decodeValue
// returns it takes all that package encoding/json takes.
func appendValue(out []byte, value any) ([]byte, error) {
	var err error
	switch value := value.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		if value {
			return append(out, "true"...), nil
		}
		return append(out, "false"...), nil
	case string:
		if strings.ContainsAny(value, "<>&\u2028\u2029") {
			break // to be escaped as Kubernetes does: controllers compare revisions byte by byte
		}
		return jsontext.AppendQuote(out, value)
	case map[string]any:
		return appendMap(out, value)
	case []any:
		out = append(out, '[')
		for i, element := range value {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendValue(out, element); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	}
	raw, err := json.Marshal(value) // a json.Number, a text with < and the like, or what a caller put in
	return append(out, raw...), err
}

func appendMap(out []byte, m map[string]any) ([]byte, error) {
	out = append(out, '{')
	var err error
	for i, key := range sortedKeys(m) {
		if out, err = appendName(out, key, i == 0); err != nil {
			return nil, err
		}
		if out, err = appendValue(out, m[key]); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return append(out, '}'), nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// appendName appends the name of an object's member, and what separates it from
// the member before.
func appendName(out []byte, name string, first bool) ([]byte, error) {
	if !first {
		out = append(out, ',')
	}
	out, err := jsontext.AppendQuote(out, name)
	return append(out, ':'), err
}

// find returns the value at a path of names in JSON that was scanned before;
// nil when there is none or it is null. That there is something else than a map
// on the way is an error.
func find(raw json.RawMessage, path ...string) (json.RawMessage, error) {
	s := rescan(raw)
	defer s.release()
	value, err := s.find(path)
	if err != nil || string(value) == "null" {
		return nil, err
	}
	return value, nil
}

func (s scanner) find(path []string) (json.RawMessage, error) {
	if len(path) == 0 {
		return s.raw()
	}
	for first := true; ; first = false {
		quoted, ok, err := s.member(first)
		if err != nil || !ok {
			return nil, err
		}
		if isQuoted(quoted, path[0]) {
			return s.find(path[1:])
		}
		if err := s.SkipValue(); err != nil {
			return nil, err
		}
	}
}

// without returns a JSON object that was scanned before without some of its
// members.
func without(raw json.RawMessage, names ...string) (json.RawMessage, error) {
	s := rescan(raw)
	defer s.release()
	out := append(make([]byte, 0, len(raw)), '{')
	for first := true; ; first = false {
		quoted, ok, err := s.member(first)
		if err != nil {
			return nil, err
		}
		if !ok {
			return append(out, '}'), nil
		}
		drop := slices.ContainsFunc(names, func(name string) bool { return isQuoted(quoted, name) })
		before := len(out)
		if before > 1 {
			out = append(out, ',')
		}
		out = append(append(out, quoted...), ':')
		value, err := s.raw()
		if err != nil {
			return nil, err
		}
		if out = append(out, value...); drop {
			out = out[:before]
		}
	}
}

// dotted writes a path of names as people do.
func dotted(path []string) string { return strings.Join(path, ".") }
