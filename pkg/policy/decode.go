package policy

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// node is a place in the text.
type node = strictyaml.Node

// decoder reads policies.
type decoder struct {
	*strictyaml.Decoder
	warnings []string
	lines    map[string]int // of each name in includeExcludePolicy, by path
}

// parse returns the policies, or every problem with its line in front.
func parse(text []byte) (*Policies, []string) {
	policies := &Policies{}
	problems := strictyaml.Read(text, noun, func(d *strictyaml.Decoder, root *node) {
		(&decoder{Decoder: d, lines: map[string]int{}}).policies(root, policies)
	})
	if len(problems) > 0 {
		return nil, problems
	}
	return policies, nil
}

func (d *decoder) policies(root *node, policies *Policies) {
	d.Mapping(root, strictyaml.Fields{
		"version": d.version,
		"volumePolicies": func(n *node) {
			if !n.Null() {
				d.List(n, func(n *node) { policies.volumes = append(policies.volumes, d.volumePolicy(n)) })
			}
		},
		"includeExcludePolicy": func(n *node) {
			if !n.Null() {
				policies.filters = d.filters(n)
			}
		},
	})
	if root.Lacks("version") {
		d.ProblemAt(root.Line, 0, "version", "is missing; hint: write version: v1")
	}
	policies.lines, policies.warnings = d.lines, d.warnings
}

func (d *decoder) version(n *node) {
	if version, ok := d.Text(n); ok && version != "v1" {
		d.Problem(n, "%q is unknown; hint: write version: v1", version)
	}
}

func (d *decoder) volumePolicy(n *node) volumePolicy {
	var policy volumePolicy
	d.Mapping(n, strictyaml.Fields{
		"conditions": func(n *node) {
			if !n.Null() { // no conditions: every volume matches
				policy.conditions = d.conditions(n)
			}
		},
		"action": func(n *node) { policy.action = d.action(n) },
	})
	if n.Lacks("action") {
		d.Problem(n, "has no action; hint: add action: {type: skip}, or %s", anyOf(actionTypes[1:]))
	}
	return policy
}

func (d *decoder) action(n *node) Action {
	var action Action
	d.Mapping(n, strictyaml.Fields{
		"type": func(n *node) {
			text, ok := d.Text(n)
			if action.Type = ActionType(text); ok && !slices.Contains(actionTypes, action.Type) {
				d.Problem(n, "%q is unknown; hint: use %s", text, anyOf(actionTypes))
			}
		},
		"parameters": func(n *node) {
			if n.Null() {
				return
			}
			if n.Kind != yaml.MappingNode {
				d.WrongType(n, "a mapping")
			} else if err := n.Decode(&action.Parameters); err != nil {
				d.Problem(n, "%s", strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " "))
			}
		},
	})
	if n.Lacks("type") {
		d.Problem(n, "has no type; hint: use %s", anyOf(actionTypes))
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
