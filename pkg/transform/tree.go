package transform

import (
	"encoding/json"
	"strconv"
)

// child walks down maps; nil when something on the way isn't a map.
func child(m map[string]any, path ...string) map[string]any {
	for _, name := range path {
		m, _ = m[name].(map[string]any)
	}
	return m
}

// text is the string at a key; empty when there is none.
func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// mapsAt returns those elements of the list at a key that are maps.
func mapsAt(m map[string]any, key string) []map[string]any {
	list, _ := m[key].([]any)
	return elements(list)
}

func elements(list []any) []map[string]any {
	var out []map[string]any
	for _, value := range list {
		if element, ok := value.(map[string]any); ok {
			out = append(out, element)
		}
	}
	return out
}

// whole is the whole number at a key, written as a number or as text; 0 when
// there is none.
func whole(m map[string]any, key string) int64 {
	switch value := m[key].(type) {
	case json.Number:
		return parseWhole(value.String())
	case string:
		return parseWhole(value)
	}
	return 0
}

func parseWhole(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// filter removes the elements of the list at a key that keep refuses; the key
// goes with the last of them.
func filter(m map[string]any, key string, keep func(map[string]any) bool) {
	list, ok := m[key].([]any)
	if !ok {
		return
	}
	kept := make([]any, 0, len(list))
	for _, value := range list {
		if element, ok := value.(map[string]any); !ok || keep(element) {
			kept = append(kept, value)
		}
	}
	m[key] = kept
	if len(kept) == 0 {
		delete(m, key)
	}
}
