package cluster

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

var (
	errNoObject = errors.New("is no object")
	errNoString = errors.New("is no string")
)

// cursor walks over a JSON object that is known to be valid. It looks at little
// more than quotes and brackets, so it is several times faster than a decoder.
type cursor struct {
	text []byte
	at   int
}

// space moves to the next byte that isn't white space.
func (c *cursor) space() {
	for c.text[c.at] <= ' ' {
		c.at++
	}
}

func (c *cursor) isObject() bool { c.space(); return c.text[c.at] == '{' }
func (c *cursor) isNull() bool {
	if c.space(); c.text[c.at] != 'n' {
		return false
	}
	c.skip()
	return true
}

// next moves to the value of the next member of an object and returns the
// member's name, or moves behind the object and returns nil. It is called first
// at the object's beginning, then behind each value.
func (c *cursor) next() []byte {
	c.space()
	if b := c.text[c.at]; b == '{' || b == ',' {
		c.at++
		c.space()
	}
	if c.text[c.at] == '}' {
		c.at++
		return nil
	}
	name := c.value()
	c.space()
	c.at++ // the colon
	c.space()
	if plain, ok := unescaped(name); ok {
		return plain
	}
	plain, _ := jsontext.AppendUnquote([]byte{}, name) // valid, so there is no error
	return plain
}

// value moves behind the value at the cursor and returns it.
func (c *cursor) value() []byte {
	c.space()
	from := c.at
	c.skip()
	return c.text[from:c.at]
}

// skip moves behind the value at the cursor.
func (c *cursor) skip() {
	switch c.text[c.at] {
	case '"':
		c.skipString()
	case '{', '[':
		c.skipNested()
	default:
		for !endsScalar(c.text[c.at]) {
			c.at++
		}
	}
}

// endsScalar reports whether b can follow a number, true, false or null within
// an object or array.
func endsScalar(b byte) bool { return b == ',' || b == '}' || b == ']' || b <= ' ' }

func (c *cursor) skipNested() {
	for depth := 0; ; {
		switch c.text[c.at] {
		case '"':
			c.skipString()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		c.at++
		if depth == 0 {
			return
		}
	}
}

func (c *cursor) skipString() {
	c.at++
	for {
		quote := c.at + bytes.IndexByte(c.text[c.at:], '"')
		escapes := 0
		for quote-escapes > c.at && c.text[quote-escapes-1] == '\\' {
			escapes++
		}
		c.at = quote + 1
		if escapes%2 == 0 {
			return
		}
	}
}
