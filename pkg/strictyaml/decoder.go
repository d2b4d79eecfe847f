package strictyaml

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Node is a place in the text.
type Node struct {
	*yaml.Node
	// Path is the path of fields that leads to the place, like
	// volumePolicies[0].action; empty for the whole.
	Path string
}

// Null reports whether there is no value: nothing, or null.
func (n *Node) Null() bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// Lacks reports whether a mapping doesn't have a key. It is false for what is no
// mapping, which is a problem of its own.
func (n *Node) Lacks(key string) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i < len(n.Content); i += 2 {
		if name := n.Content[i]; name.Value == key || name.Alias != nil && name.Alias.Value == key {
			return false
		}
	}
	return true
}

// Place is how problems name a node, to be put in front of other texts about
// it.
func (n *Node) Place() string { return place(n.Line, n.Column, n.Path) }

// Fields are the keys that a mapping may have, with what reads the value of
// each. It is called for the keys that are there.
type Fields map[string]func(*Node)

// Decoder reads nodes and collects the problems with them. What reads a value
// returns its zero value when there is a problem. It is for one goroutine.
type Decoder struct {
	noun     string
	problems []string
	nodes    int
}

// Problems is the number of problems so far.
func (d *Decoder) Problems() int { return len(d.problems) }

// at follows an alias to what it stands for.
func (d *Decoder) at(n *yaml.Node, path string) *Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return &Node{Node: n, Path: path}
}

// Problem adds a problem with a node.
func (d *Decoder) Problem(n *Node, format string, args ...any) {
	d.ProblemAt(n.Line, n.Column, n.Path, format, args...)
}

// ProblemAt adds a problem with a place; column is 0 for a whole line, and path
// is empty for the whole text.
func (d *Decoder) ProblemAt(line, column int, path, format string, args ...any) {
	d.problems = append(d.problems, place(line, column, path)+fmt.Sprintf(format, args...))
}

func place(line, column int, path string) string {
	at := fmt.Sprintf("line %d", line)
	if column > 0 {
		at += fmt.Sprintf(", column %d", column)
	}
	if path == "" {
		return at + ": "
	}
	return at + ": " + path + ": "
}

// full reports, once, that there is too much to read.
func (d *Decoder) full(n *Node) bool {
	d.nodes++
	if d.nodes == maxNodes {
		d.Problem(n, "the %s are too large, aliases counted as what they stand for", d.noun)
	}
	return d.nodes >= maxNodes
}

// Mapping reads a mapping with known keys. Unknown and repeated keys are
// problems, and so is anything but a mapping.
func (d *Decoder) Mapping(n *Node, fields Fields) {
	known := strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
	d.entries(n, "a mapping with the keys "+known, func(key string, at, value *Node) {
		read, ok := fields[key]
		if !ok {
			d.Problem(at, "unknown key; hint: the keys here are %s", known)
			return
		}
		read(value)
	})
}

// entries calls visit for each key of a mapping, with the place of the key.
func (d *Decoder) entries(n *Node, want string, visit func(key string, at, value *Node)) {
	if n.Kind != yaml.MappingNode {
		d.WrongType(n, want)
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		keyNode := d.at(n.Content[i], n.Path)
		if d.full(keyNode) {
			return
		}
		if keyNode.Kind != yaml.ScalarNode {
			d.Problem(keyNode, "a key must be text")
			continue
		}
		key := keyNode.Value
		keyNode.Path = strings.TrimPrefix(n.Path+"."+key, ".")
		if first, again := seen[key]; again {
			d.Problem(keyNode, "the key is there twice, first on line %d; hint: remove one", first)
			continue
		}
		seen[key] = keyNode.Line
		visit(key, keyNode, d.at(n.Content[i+1], keyNode.Path))
	}
}

// List calls visit for each element of a list.
func (d *Decoder) List(n *Node, visit func(*Node)) {
	if n.Kind != yaml.SequenceNode {
		d.WrongType(n, "a list")
		return
	}
	for i, element := range n.Content {
		next := d.at(element, fmt.Sprintf("%s[%d]", n.Path, i))
		if d.full(next) {
			return
		}
		visit(next)
	}
}

// Text returns a scalar as it is written, so that a label's value may be 1 or
// true without quotes; false when it is none.
func (d *Decoder) Text(n *Node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Null() || n.ShortTag() == "!!binary" {
		d.WrongType(n, "text")
		return "", false
	}
	return n.Value, true
}

// Texts returns the elements of a list of texts, without those that are none.
func (d *Decoder) Texts(n *Node) []string {
	var texts []string
	d.List(n, func(n *Node) {
		if text, ok := d.Text(n); ok {
			texts = append(texts, text)
		}
	})
	return texts
}

// TextMap returns a mapping of text to text; it is never nil.
func (d *Decoder) TextMap(n *Node) map[string]string {
	texts := map[string]string{}
	d.entries(n, "a mapping of text to text", func(key string, _, value *Node) {
		if text, ok := d.Text(value); ok {
			texts[key] = text
		}
	})
	return texts
}

// WrongType adds the problem that a node isn't what it must be, like "a list".
func (d *Decoder) WrongType(n *Node, want string) {
	if n.Null() {
		d.Problem(n, "has no value and must be %s; hint: give it one or leave the key out", want)
		return
	}
	is := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "text"}[n.Kind]
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!binary" {
		is = "binary data"
	}
	d.Problem(n, "is %s and must be %s", is, want)
}
