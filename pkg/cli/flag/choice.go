package flag

import (
	"fmt"
	"slices"
	"strings"
)

// Choice is one of a few words. Create it with NewChoice.
type Choice struct {
	// Value is empty while the flag was not given and has no default.
	Value string
	words []string
}

// NewChoice returns a choice between words, of which none is chosen yet.
func NewChoice(words ...string) Choice { return Choice{words: words} }

// Words are what there is to choose from.
func (c *Choice) Words() []string { return slices.Clone(c.words) }

// Set refuses words that there are not.
func (c *Choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		last := len(c.words) - 1
		return fmt.Errorf("%q is not known; hint: there are %s and %s", s, strings.Join(c.words[:last], ", "), c.words[last])
	}
	c.Value = s
	return nil
}

// String gives the chosen word.
func (c *Choice) String() string { return c.Value }

// Type is the name that help shows.
func (c *Choice) Type() string { return "string" }
