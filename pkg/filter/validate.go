package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gobwas/glob"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Validate returns what is wrong with s, one text for each problem, each
// naming the field and the value; nil when nothing is.
func Validate(s Spec) []string {
	var problems []string
	if older, newer := s.OlderFields(), s.newerFields(); len(older) > 0 && len(newer) > 0 {
		problems = append(problems, fmt.Sprintf("%s can't be used together with %s: use one family, the older (includedResources, excludedResources, "+
			"includeClusterResources) or the newer (includedClusterScopedResources, excludedClusterScopedResources, "+
			"includedNamespaceScopedResources, excludedNamespaceScopedResources)", strings.Join(older, ", "), strings.Join(newer, ", ")))
	}
	for _, pair := range []pair{
		{"Namespaces", s.IncludedNamespaces, s.ExcludedNamespaces, false},
		{"Resources", s.IncludedResources, s.ExcludedResources, false},
		{"ClusterScopedResources", s.IncludedClusterScopedResources, s.ExcludedClusterScopedResources, true},
		{"NamespaceScopedResources", s.IncludedNamespaceScopedResources, s.ExcludedNamespaceScopedResources, true},
	} {
		problems = append(problems, pair.validate()...)
		check := validateKind
		if pair.field == "Namespaces" {
			check = validateNamespace
		}
		for _, name := range pair.included {
			problems = append(problems, check("included"+pair.field, name)...)
		}
		for _, name := range pair.excluded {
			problems = append(problems, check("excluded"+pair.field, name)...)
		}
	}
	return append(problems, validateSelectors(s)...)
}

// OlderFields returns the names of the fields of the older family of filters that are set.
func (s Spec) OlderFields() []string {
	var set []string
	if len(s.IncludedResources) > 0 {
		set = append(set, "includedResources")
	}
	if len(s.ExcludedResources) > 0 {
		set = append(set, "excludedResources")
	}
	if s.IncludeClusterResources != nil {
		set = append(set, "includeClusterResources")
	}
	return set
}

// newerFields returns the fields of the newer family of filters that are set.
func (s Spec) newerFields() []string {
	var set []string
	for _, field := range []struct {
		name  string
		value []string
	}{
		{"includedClusterScopedResources", s.IncludedClusterScopedResources},
		{"excludedClusterScopedResources", s.ExcludedClusterScopedResources},
		{"includedNamespaceScopedResources", s.IncludedNamespaceScopedResources},
		{"excludedNamespaceScopedResources", s.ExcludedNamespaceScopedResources},
	} {
		if len(field.value) > 0 {
			set = append(set, field.name)
		}
	}
	return set
}

// pair is a list of what to include and one of what to exclude.
type pair struct {
	field              string // as in includedX and excludedX
	included, excluded []string
	newer              bool // "*" may be excluded
}

func (p pair) validate() []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	const beside = `%s%s: "*" means everything and can't stand beside other names`
	if slices.Contains(p.included, "*") && len(p.included) > 1 {
		add(beside, "included", p.field)
	}
	if slices.Contains(p.excluded, "*") {
		if !p.newer {
			add(`excluded%s: "*" would exclude everything`, p.field)
		}
		if p.newer && len(p.excluded) > 1 {
			add(beside, "excluded", p.field)
		}
		if p.newer && len(p.included) > 0 {
			add(`excluded%s: "*" can't be used together with included%s`, p.field, p.field)
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(p.included))) {
		if name != "*" && slices.Contains(p.excluded, name) {
			add("%q is in both included%s and excluded%s", name, p.field, p.field)
		}
	}
	return problems
}

// validateKind looks only at what can be seen without a cluster: a pattern that
// can't be read.
func validateKind(field, name string) []string {
	if _, err := glob.Compile(name); err != nil {
		return []string{fmt.Sprintf("%s: %q is no pattern: %v", field, name, err)}
	}
	return nil
}

// isPattern reports whether a name holds glob characters.
func isPattern(name string) bool { return strings.ContainsAny(name, "*?[]") }

// IsPattern reports whether a namespace or resource name is a pattern rather
// than one name.
func IsPattern(name string) bool { return isPattern(name) }

func validateNamespace(field, name string) []string {
	if name == "" || name == "*" { // "" stands for no namespace at all
		return nil
	}
	if why := namespaceProblem(name); why != "" {
		return []string{fmt.Sprintf("%s: %q is no namespace name or pattern: %s", field, name, why)}
	}
	return nil
}

// namespaceProblem returns why name is neither a namespace's name nor a pattern
// for some; empty when it is.
func namespaceProblem(name string) string {
	if why := globProblem(name); why != "" {
		return why
	}
	plain := strings.NewReplacer("*", "x", "?", "x", "[", "x", "]", "x").Replace(name)
	if why := validation.IsDNS1123Label(plain); len(why) > 0 {
		return why[0]
	}
	return ""
}

// globProblem returns why a name can't be a pattern, or a name without one;
// empty when it can.
func globProblem(name string) string {
	switch {
	case strings.ContainsAny(name, `|()!{},\`):
		return "only * ? and [ ] are known in patterns"
	case strings.Contains(name, "**"):
		return "use a single *"
	case !balanced(name):
		return "[ ] must be balanced and not empty"
	}
	if _, err := glob.Compile(name); err != nil {
		return fmt.Sprintf("[ ] holds one range like [a-z] or single characters like [abc]: %v", err)
	}
	return ""
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
	check := func(field string, selector *metav1.LabelSelector) {
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", field, err))
		}
	}
	check("labelSelector", s.LabelSelector)
	for i, selector := range s.OrLabelSelectors {
		check(fmt.Sprintf("orLabelSelectors[%d]", i), selector)
	}
	return problems
}
