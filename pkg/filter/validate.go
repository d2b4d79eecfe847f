package filter

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Validate returns what is wrong with s, one text for each problem, each
// naming the field; nil when nothing is.
func Validate(s Spec) []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if s.older() && s.newer() {
		add("includedResources, excludedResources and includeClusterResources can't be used together with includedClusterScopedResources, " +
			"excludedClusterScopedResources, includedNamespaceScopedResources and excludedNamespaceScopedResources: use one family")
	}
	for _, pair := range []struct {
		field              string // as in includedX and excludedX
		included, excluded []string
		newer              bool
	}{
		{"Namespaces", s.IncludedNamespaces, s.ExcludedNamespaces, false},
		{"Resources", s.IncludedResources, s.ExcludedResources, false},
		{"ClusterScopedResources", s.IncludedClusterScopedResources, s.ExcludedClusterScopedResources, true},
		{"NamespaceScopedResources", s.IncludedNamespaceScopedResources, s.ExcludedNamespaceScopedResources, true},
	} {
		problems = append(problems, validatePair(pair.field, pair.included, pair.excluded, pair.newer)...)
	}
	for _, name := range s.IncludedNamespaces {
		problems = append(problems, validateNamespace("includedNamespaces", name)...)
	}
	for _, name := range s.ExcludedNamespaces {
		problems = append(problems, validateNamespace("excludedNamespaces", name)...)
	}
	return append(problems, validateSelectors(s)...)
}

func validatePair(field string, included, excluded []string, newer bool) []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if slices.Contains(included, "*") && len(included) > 1 {
		add("included%s: \"*\" means everything and can't stand beside other names", field)
	}
	switch wildcard := slices.Contains(excluded, "*"); {
	case wildcard && !newer:
		add("excluded%s: \"*\" would exclude everything", field)
	case wildcard && len(excluded) > 1:
		add("excluded%s: \"*\" means everything and can't stand beside other names", field)
	case wildcard && len(included) > 0:
		add("excluded%s: \"*\" can't be used together with included%s", field, field)
	}
	for _, name := range included {
		if name != "*" && slices.Contains(excluded, name) {
			add("%q is in both included%s and excluded%s", name, field, field)
		}
	}
	return problems
}

// isPattern reports whether a name holds glob characters.
func isPattern(name string) bool { return strings.ContainsAny(name, "*?[]") }

// IsPattern reports whether a namespace or resource name is a pattern rather
// than one name.
func IsPattern(name string) bool { return isPattern(name) }

func validateNamespace(field, name string) []string {
	if name == "" || name == "*" {
		return nil
	}
	bad := func(why string) []string {
		return []string{fmt.Sprintf("%s: %q is no namespace name or pattern: %s", field, name, why)}
	}
	switch {
	case strings.ContainsAny(name, "|()!{},"):
		return bad("only * ? and [ ] are known in patterns")
	case strings.Contains(name, "**"):
		return bad("use a single *")
	case !balanced(name):
		return bad("[ ] must be balanced and not empty")
	}
	plain := strings.NewReplacer("*", "x", "?", "x", "[", "x", "]", "x").Replace(name)
	if why := validation.IsDNS1123Label(plain); len(why) > 0 {
		return bad(why[0])
	}
	return nil
}

func balanced(name string) bool {
	open := -1
	for i, c := range name {
		switch c {
		case '[':
			if open >= 0 {
				return false
			}
			open = i
		case ']':
			if open < 0 || i == open+1 {
				return false
			}
			open = -1
		}
	}
	return open < 0
}

func validateSelectors(s Spec) []string {
	var problems []string
	if s.LabelSelector != nil && len(s.OrLabelSelectors) > 0 {
		problems = append(problems, "labelSelector and orLabelSelectors can't be used together: use one of them")
	}
	for _, selector := range append(slices.Clone(s.OrLabelSelectors), s.LabelSelector) {
		if selector == nil {
			continue
		}
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			problems = append(problems, fmt.Sprintf("labelSelector: %v", err))
		}
	}
	return problems
}
