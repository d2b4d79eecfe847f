package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what is read, since aliases let a short text stand for a huge
// one. A ConfigMap of 1 MiB has room for fewer.
const maxNodes = 1 << 19

// node is a place in the text and the path of fields that leads to it.
type node struct {
	*yaml.Node
	path string // empty for the whole
}

func (n *node) null() bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// decoder reads the text and collects everything that is wrong with it. The
// types of a YAML library would do for the reading alone, but their errors name
// neither fields nor more than one problem.
type decoder struct {
	problems, warnings []string
	lines              map[string]int
	nodes              int
}

// parse returns the policies, or every problem with its line in front.
func parse(text []byte) (*Policies, []string) {
	d := &decoder{lines: map[string]int{}}
	root := d.document(text)
	if root == nil {
		return nil, d.problems
	}
	policies := &Policies{lines: d.lines}
	version := false
	d.mapping(root, map[string]func(*node){
		"version": func(n *node) { version = true; d.version(n) },
		"volumePolicies": func(n *node) {
			if !n.null() {
				d.list(n, func(n *node) { policies.volumes = append(policies.volumes, d.volumePolicy(n)) })
			}
		},
		"includeExcludePolicy": func(n *node) {
			if !n.null() {
				policies.filters = d.filters(n)
			}
		},
	})
	if root.Kind == yaml.MappingNode && !version {
		d.problemAt(root.Line, 0, "version", "is missing; hint: write version: v1")
	}
	policies.warnings = d.warnings
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	return policies, nil
}

const emptyProblem = "line 1: the text is empty; hint: begin with version: v1"

// document returns the only document in text; nil when there is none.
func (d *decoder) document(text []byte) *node {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.problems = append(d.problems, emptyProblem)
		return nil
	case err != nil:
		d.problems = append(d.problems, syntaxProblem(err))
		return nil
	}
	d.end(decoder)
	root := d.at(doc.Content[0], "")
	if root.null() { // comments alone
		d.problems = append(d.problems, emptyProblem)
		return nil
	}
	return root
}

// end looks at what comes after the first document: nothing, or empty ones.
func (d *decoder) end(decoder *yaml.Decoder) {
	for {
		var more yaml.Node
		switch err := decoder.Decode(&more); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			d.problems = append(d.problems, syntaxProblem(err))
			return
		}
		if content := d.at(more.Content[0], ""); !content.null() {
			d.problemAt(more.Line, 0, "", "a second YAML document begins here; hint: put everything into one")
			return
		}
	}
}

// syntaxProblem turns the library's "yaml: line 3: what" into our form.
func syntaxProblem(err error) string {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	if !strings.HasPrefix(what, "line ") {
		what = "line 1: " + what
	}
	return what + "; hint: look for indentation, quotes and colons near that line"
}

// at follows an alias to what it stands for.
func (d *decoder) at(n *yaml.Node, path string) *node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return &node{Node: n, path: path}
}

func (d *decoder) problem(n *node, format string, args ...any) {
	d.problemAt(n.Line, n.Column, n.path, format, args...)
}

func (d *decoder) problemAt(line, column int, path, format string, args ...any) {
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
func (d *decoder) full(n *node) bool {
	d.nodes++
	if d.nodes == maxNodes {
		d.problem(n, "the policies are too large, aliases counted as what they stand for")
	}
	return d.nodes >= maxNodes
}

// mapping calls the function of each key that is there. Unknown and repeated
// keys are problems, and so is anything but a mapping.
func (d *decoder) mapping(n *node, fields map[string]func(*node)) {
	known := strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
	d.entries(n, "a mapping with the keys "+known, func(key string, at, value *node) {
		read, ok := fields[key]
		if !ok {
			d.problem(at, "unknown key; hint: the keys here are %s", known)
			return
		}
		read(value)
	})
}

// entries calls visit for each key of a mapping, with the place of the key.
func (d *decoder) entries(n *node, want string, visit func(key string, at, value *node)) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, want)
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		keyNode := d.at(n.Content[i], n.path)
		if d.full(keyNode) {
			return
		}
		if keyNode.Kind != yaml.ScalarNode {
			d.problem(keyNode, "a key must be text")
			continue
		}
		key := keyNode.Value
		keyNode.path = strings.TrimPrefix(n.path+"."+key, ".")
		if first, again := seen[key]; again {
			d.problem(keyNode, "the key is there twice, first on line %d; hint: remove one", first)
			continue
		}
		seen[key] = keyNode.Line
		visit(key, keyNode, d.at(n.Content[i+1], keyNode.path))
	}
}

// list calls visit for each element.
func (d *decoder) list(n *node, visit func(*node)) {
	if n.Kind != yaml.SequenceNode {
		d.wrongType(n, "a list")
		return
	}
	for i, element := range n.Content {
		next := d.at(element, fmt.Sprintf("%s[%d]", n.path, i))
		if d.full(next) {
			return
		}
		visit(next)
	}
}

// text returns a scalar as it is written, so that a label's value may be 1 or
// true without quotes.
func (d *decoder) text(n *node) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.null() || n.ShortTag() == "!!binary" {
		d.wrongType(n, "text")
		return "", false
	}
	return n.Value, true
}

func (d *decoder) texts(n *node) []string {
	var texts []string
	d.list(n, func(n *node) {
		if text, ok := d.text(n); ok {
			texts = append(texts, text)
		}
	})
	return texts
}

func (d *decoder) textMap(n *node) map[string]string {
	texts := map[string]string{}
	d.entries(n, "a mapping of text to text", func(key string, _, value *node) {
		if text, ok := d.text(value); ok {
			texts[key] = text
		}
	})
	return texts
}

func (d *decoder) wrongType(n *node, want string) {
	if n.null() {
		d.problem(n, "has no value and must be %s; hint: give it one or leave the key out", want)
		return
	}
	is := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "text"}[n.Kind]
	d.problem(n, "is %s and must be %s", is, want)
}

func (d *decoder) version(n *node) {
	if version, ok := d.text(n); ok && version != "v1" {
		d.problem(n, "%q is unknown; hint: write version: v1", version)
	}
}

func (d *decoder) volumePolicy(n *node) volumePolicy {
	var policy volumePolicy
	acts := false
	d.mapping(n, map[string]func(*node){
		"conditions": func(n *node) {
			if !n.null() { // no conditions: every volume matches
				policy.conditions = d.conditions(n)
			}
		},
		"action": func(n *node) { acts = true; policy.action = d.action(n) },
	})
	if n.Kind == yaml.MappingNode && !acts {
		d.problem(n, "has no action; hint: add action: {type: skip}, or %s", anyOf(actionTypes[1:]))
	}
	return policy
}

func (d *decoder) action(n *node) Action {
	var action Action
	typed := false
	d.mapping(n, map[string]func(*node){
		"type": func(n *node) {
			typed = true
			text, ok := d.text(n)
			if action.Type = ActionType(text); ok && !slices.Contains(actionTypes, action.Type) {
				d.problem(n, "%q is unknown; hint: use %s", text, anyOf(actionTypes))
			}
		},
		"parameters": func(n *node) {
			if n.null() {
				return
			}
			if n.Kind != yaml.MappingNode {
				d.wrongType(n, "a mapping")
			} else if err := n.Decode(&action.Parameters); err != nil {
				d.problem(n, "%s", strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " "))
			}
		},
	})
	if n.Kind == yaml.MappingNode && !typed {
		d.problem(n, "has no type; hint: use %s", anyOf(actionTypes))
	}
	return action
}

func anyOf[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	last := len(texts) - 1
	return strings.Join(texts[:last], ", ") + " or " + texts[last]
}
