package flag

import (
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Changes are changes of a map: KEY=VALUE sets a key, also to an empty value, and
// KEY- takes it out. Repeated flags add up, and the last word on a key counts. An
// entry in double quotes may contain commas. The zero value changes nothing.
type Changes struct {
	// values has nil for a key that is taken out.
	values map[string]*string
}

// Set adds the changes of s.
func (c *Changes) Set(s string) error {
	entries, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return fmt.Errorf("read %q as a list of KEY=VALUE: %w", s, err)
	}
	if c.values == nil {
		c.values = map[string]*string{}
	}
	for _, entry := range entries {
		key, value, sets := strings.Cut(strings.TrimSpace(entry), "=")
		out, removes := strings.CutSuffix(key, "-")
		switch key = strings.TrimSpace(key); {
		case sets && key != "":
			value = strings.TrimSpace(value)
			c.values[key] = &value
		case !sets && removes && out != "":
			c.values[out] = nil
		default:
			return fmt.Errorf("%q is neither KEY=VALUE nor KEY-; hint: KEY- takes a key out", entry)
		}
	}
	return nil
}

// Apply returns m with the changes; m is left as it is. The result is nil when
// nothing is left.
func (c *Changes) Apply(m map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, m)
	for key, value := range c.values {
		if value == nil {
			delete(out, key)
			continue
		}
		out[key] = *value
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// String gives the changes sorted by key.
func (c *Changes) String() string {
	texts := make([]string, 0, len(c.values))
	for _, key := range slices.Sorted(maps.Keys(c.values)) {
		if value := c.values[key]; value != nil {
			texts = append(texts, key+"="+*value)
		} else {
			texts = append(texts, key+"-")
		}
	}
	return strings.Join(texts, ",")
}

// Type is the name that help shows.
func (c *Changes) Type() string { return "mapStringString" }
