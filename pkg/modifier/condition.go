package modifier

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/gobwas/glob"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// conditions say which objects a rule is for. What isn't set holds for all.
type conditions struct {
	resource   glob.Glob
	name       *regexp.Regexp
	namespaces []glob.Glob
	labels     labels.Selector
	matches    jsonpatch.Patch // tests
}

// concern reports whether the conditions hold that need no look at the JSON.
// Those on namespaces say nothing about cluster-scoped objects.
func (c *conditions) concern(s Subject) bool {
	return c.resource.Match(s.Resource.String()) &&
		(c.name == nil || c.name.MatchString(s.Name)) &&
		(s.Namespace == "" || len(c.namespaces) == 0 || matchesAny(c.namespaces, s.Namespace)) &&
		(c.labels == nil || c.labels.Matches(labels.Set(s.Labels)))
}

func matchesAny(globs []glob.Glob, name string) bool {
	return slices.ContainsFunc(globs, func(g glob.Glob) bool { return g.Match(name) })
}

// match reports whether the conditions on the JSON hold. What can't be compared
// is an error.
func (c *conditions) match(body []byte) (bool, error) {
	if len(c.matches) == 0 {
		return true, nil
	}
	_, err := applyPatch(c.matches, body)
	if errors.Is(err, errUnfit) {
		return false, fmt.Errorf("compare with matches: %w", err)
	}
	return err == nil, nil
}

// conditions reads the conditions of a rule.
func (d *decoder) conditions(n *node) conditions {
	var c conditions
	var tests []operation
	d.Mapping(n, strictyaml.Fields{
		"groupResource":     func(n *node) { c.resource = d.groupResource(n) },
		"resourceNameRegex": func(n *node) { c.name = d.regex(n) },
		"namespaces": func(n *node) {
			d.List(n, func(n *node) { c.namespaces = append(c.namespaces, d.glob(n)) })
		},
		"labelSelector": func(n *node) { c.labels = d.labelSelector(n) },
		"matches":       func(n *node) { d.List(n, func(n *node) { tests = append(tests, d.match(n)) }) },
	})
	if n.Lacks("groupResource") {
		d.Problem(n, "has no groupResource; hint: add groupResource: pods, deployments.apps or \"*.*\"")
	}
	c.matches = d.patch(n, tests)
	return c
}

// everyKind is documented to be all kinds of all groups. As a glob it would
// miss those of the core group, and of groups with a dot.
const everyKind = "*.*"

func (d *decoder) groupResource(n *node) glob.Glob {
	text, ok := d.Text(n)
	if !ok {
		return nil
	}
	if text == "" {
		d.Problem(n, "is empty; hint: name a kind, like deployments.apps")
		return nil
	}
	if warning := wrongGroup(text); warning != "" {
		d.warnings = append(d.warnings, n.Place()+warning)
	}
	if text == everyKind {
		return d.compile(n, "**")
	}
	return d.compile(n, text, '.')
}

func (d *decoder) glob(n *node) glob.Glob {
	text, ok := d.Text(n)
	if !ok {
		return nil
	}
	return d.compile(n, text)
}

func (d *decoder) compile(n *node, pattern string, separators ...rune) glob.Glob {
	g, err := glob.Compile(pattern, separators...)
	if err != nil {
		d.Problem(n, "%q is no pattern: %v; hint: patterns are of *, ?, [abc] and {a,b}", pattern, err)
	}
	return g
}

func (d *decoder) regex(n *node) *regexp.Regexp {
	text, ok := d.Text(n)
	if !ok {
		return nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		d.Problem(n, "%v; hint: https://golang.org/s/re2syntax", err)
	}
	return re
}

func (d *decoder) labelSelector(n *node) labels.Selector {
	var selector metav1.LabelSelector
	before := d.Problems()
	d.Mapping(n, strictyaml.Fields{
		"matchLabels": func(n *node) { selector.MatchLabels = d.TextMap(n) },
		"matchExpressions": func(n *node) {
			d.List(n, func(n *node) {
				selector.MatchExpressions = append(selector.MatchExpressions, d.requirement(n))
			})
		},
	})
	if d.Problems() > before { // what is missing would be told twice
		return nil
	}
	s, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		d.Problem(n, "%v", err)
	}
	return s
}

func (d *decoder) requirement(n *node) metav1.LabelSelectorRequirement {
	var requirement metav1.LabelSelectorRequirement
	d.Mapping(n, strictyaml.Fields{
		"key": func(n *node) { requirement.Key, _ = d.Text(n) },
		"operator": func(n *node) {
			text, _ := d.Text(n)
			requirement.Operator = metav1.LabelSelectorOperator(text)
		},
		"values": func(n *node) { requirement.Values = d.Texts(n) },
	})
	return requirement
}

// match reads one test of the object's JSON.
func (d *decoder) match(n *node) operation {
	test := operation{Op: opTest, Value: emptyText}
	d.Mapping(n, strictyaml.Fields{
		"path":  func(n *node) { test.Path = d.pointer(n) },
		"value": func(n *node) { test.Value = d.value(n) },
	})
	if n.Lacks("path") {
		d.Problem(n, "has no path; hint: add one like path: /spec/replicas")
	}
	return test
}

// builtin has the groups of each kind that is built into Kubernetes, by its
// plural, and the groups themselves.
type builtin struct {
	groups  map[string][]string
	isGroup map[string]bool
}

var builtins = sync.OnceValue(func() builtin {
	b := builtin{groups: map[string][]string{}, isGroup: map[string]bool{}}
	for kind := range scheme.Scheme.AllKnownTypes() {
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		b.isGroup[kind.Group] = true
		if !slices.Contains(b.groups[plural.Resource], kind.Group) {
			b.groups[plural.Resource] = append(b.groups[plural.Resource], kind.Group)
		}
	}
	return b
})

// wrongGroup returns a text about a kind that is named in a group of Kubernetes
// that doesn't have it, like deployments without a group; empty when there is
// nothing to say. Velero's documentation has such an example.
func wrongGroup(name string) string {
	gr := schema.ParseGroupResource(name)
	kinds := builtins()
	groups := kinds.groups[gr.Resource]
	if len(groups) == 0 || !kinds.isGroup[gr.Group] || slices.Contains(groups, gr.Group) {
		return ""
	}
	var names []string
	for _, group := range groups {
		if group != "extensions" { // no cluster serves it any more
			names = append(names, schema.GroupResource{Group: group, Resource: gr.Resource}.String())
		}
	}
	slices.Sort(names)
	return fmt.Sprintf("Kubernetes has no %q, so the rule changes nothing; hint: write %s", name, strings.Join(names, " or "))
}
