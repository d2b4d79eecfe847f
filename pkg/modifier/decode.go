package modifier

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// node is a place in the text.
type node = strictyaml.Node

// decoder reads rules.
type decoder struct {
	*strictyaml.Decoder
	warnings []string
}

// parse returns the rules, or every problem with its line in front.
func parse(text []byte) (*Rules, []string) {
	rules := &Rules{}
	problems := strictyaml.Read(text, noun, func(d *strictyaml.Decoder, root *node) {
		(&decoder{Decoder: d}).rules(root, rules)
	})
	if len(problems) > 0 {
		return nil, problems
	}
	return rules, nil
}

func (d *decoder) rules(root *node, rules *Rules) {
	d.Mapping(root, strictyaml.Fields{
		"version": d.version,
		"resourceModifierRules": func(n *node) {
			d.List(n, func(n *node) { rules.rules = append(rules.rules, d.rule(n)) })
			if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
				d.Problem(n, "is empty; hint: add a rule, or restore without modifiers")
			}
		},
	})
	if root.Lacks("version") {
		d.ProblemAt(root.Line, 0, "version", "is missing; hint: write version: v1")
	}
	if root.Lacks("resourceModifierRules") {
		d.ProblemAt(root.Line, 0, "resourceModifierRules", "is missing; hint: add the list of rules")
	}
	rules.warnings = d.warnings
}

func (d *decoder) version(n *node) {
	if version, ok := d.Text(n); ok && !strings.EqualFold(version, "v1") {
		d.Problem(n, "%q is unknown; hint: write version: v1", version)
	}
}

// rule reads a rule: conditions and patches of one kind.
func (d *decoder) rule(n *node) rule {
	r := rule{place: fmt.Sprintf("%s (line %d)", n.Path, n.Line)}
	var given []string
	add := func(field string, p patcher, length int) {
		if length > 0 {
			given = append(given, field)
			r.patch = p
		}
	}
	d.Mapping(n, strictyaml.Fields{
		"conditions": func(n *node) { r.conditions = d.conditions(n) },
		"patches": func(n *node) {
			p := d.jsonPatch(n)
			add("patches", p, len(p))
		},
		"mergePatches": func(n *node) {
			p := d.patchData(n)
			add("mergePatches", mergePatch(p), len(p))
		},
		"strategicPatches": func(n *node) {
			p := d.patchData(n)
			add("strategicPatches", strategicPatch(p), len(p))
		},
	})
	if n.Lacks("conditions") {
		d.Problem(n, "has no conditions; hint: add conditions with a groupResource")
	}
	switch {
	case len(given) > 1:
		d.Problem(n, "has %s; hint: make a rule of each", strings.Join(given, " and "))
	case len(given) == 0 && n.Kind == yaml.MappingNode:
		d.Problem(n, "has no patches; hint: add patches, mergePatches or strategicPatches")
	}
	return r
}
