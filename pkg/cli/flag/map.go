package flag

import (
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Map is a list of key and value pairs such as k=v,k2=v2. Repeated flags
// merge, and the later value of a key wins. An entry in double quotes may
// contain commas, and only the first separator of an entry splits it. Create
// it with NewMap.
type Map struct {
	separator string
	data      map[string]string
}

// NewMap returns an empty map whose keys and values are separated by
// separator.
func NewMap(separator string) Map { return Map{separator: separator} }

// Data returns the pairs, nil when there are none.
func (m *Map) Data() map[string]string { return m.data }

// Set adds the pairs of s.
func (m *Map) Set(s string) error {
	r := csv.NewReader(strings.NewReader(s))
	entries, err := r.Read()
	if err != nil {
		return fmt.Errorf("read %q as a list of key%svalue: %w", s, m.separator, err)
	}
	for _, entry := range entries {
		key, value, ok := strings.Cut(entry, m.separator)
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" {
			return fmt.Errorf("%q is not of the form key%svalue", entry, m.separator)
		}
		if m.data == nil {
			m.data = map[string]string{}
		}
		m.data[key] = value
	}
	return nil
}

// String gives the pairs sorted by key.
func (m *Map) String() string {
	pairs := make([]string, 0, len(m.data))
	for _, k := range slices.Sorted(maps.Keys(m.data)) {
		pairs = append(pairs, k+m.separator+m.data[k])
	}
	return strings.Join(pairs, ",")
}

// Type is the name that help shows.
func (m *Map) Type() string { return "mapStringString" }
