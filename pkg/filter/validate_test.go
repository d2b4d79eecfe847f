package filter_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	yes := true
	selector := &metav1.LabelSelector{}
	near := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	for _, c := range []struct {
		name string
		spec filter.Spec
		want string
	}{
		{"families together", filter.Spec{IncludeClusterResources: &yes, ExcludedResources: []string{"x"}, IncludedClusterScopedResources: []string{"y"}},
			"excludedResources, includeClusterResources can't be used together with includedClusterScopedResources: use one family"},
		{"older: star beside others", filter.Spec{IncludedResources: []string{"*", "a"}}, `includedResources: "*" means everything`},
		{"older: star excluded", filter.Spec{ExcludedResources: []string{"*"}}, `excludedResources: "*" would exclude everything`},
		{"older: in both", filter.Spec{IncludedResources: []string{"a"}, ExcludedResources: []string{"a"}}, `"a" is in both includedResources and excludedResources`},
		{"newer: star beside others", filter.Spec{IncludedClusterScopedResources: []string{"*", "a"}}, `includedClusterScopedResources: "*" means everything`},
		{"newer: star excluded beside others", filter.Spec{ExcludedClusterScopedResources: []string{"a", "*"}}, `excludedClusterScopedResources: "*" means everything`},
		{"newer: star excluded with includes", filter.Spec{IncludedNamespaceScopedResources: []string{"pods"}, ExcludedNamespaceScopedResources: []string{"*"}},
			`excludedNamespaceScopedResources: "*" can't be used together with includedNamespaceScopedResources`},
		{"newer: in both", filter.Spec{IncludedNamespaceScopedResources: []string{"a"}, ExcludedNamespaceScopedResources: []string{"b", "a"}}, `"a" is in both`},
		{"kind pattern", filter.Spec{ExcludedResources: []string{"[z-a]"}}, `excludedResources: "[z-a]" is no pattern`},
		{"namespaces: star beside others", filter.Spec{IncludedNamespaces: []string{"*", "a"}}, `includedNamespaces: "*" means everything`},
		{"namespaces: star excluded", filter.Spec{ExcludedNamespaces: []string{"*"}}, `excludedNamespaces: "*" would exclude everything`},
		{"namespaces: in both", filter.Spec{IncludedNamespaces: []string{"a"}, ExcludedNamespaces: []string{"a"}}, `"a" is in both includedNamespaces and excludedNamespaces`},
		{"namespaces: no name", filter.Spec{IncludedNamespaces: []string{"Shop"}}, `includedNamespaces: "Shop" is no namespace name`},
		{"namespaces: a dot", filter.Spec{ExcludedNamespaces: []string{"a.*"}}, `excludedNamespaces: "a.*" is no namespace name`},
		{"namespaces: double star", filter.Spec{IncludedNamespaces: []string{"a**"}}, "single *"},
		{"namespaces: empty brackets", filter.Spec{ExcludedNamespaces: []string{"a[]"}}, "balanced"},
		{"namespaces: open bracket", filter.Spec{ExcludedNamespaces: []string{"a[b"}}, "balanced"},
		{"namespaces: closing bracket", filter.Spec{ExcludedNamespaces: []string{"a]b"}}, "balanced"},
		{"namespaces: nested brackets", filter.Spec{ExcludedNamespaces: []string{"[a[b]]"}}, "balanced"},
		{"namespaces: two ranges", filter.Spec{ExcludedNamespaces: []string{"[a-c0-9]"}}, "one range like [a-z]"},
		{"both selectors", filter.Spec{LabelSelector: selector, OrLabelSelectors: []*metav1.LabelSelector{selector}}, "labelSelector and orLabelSelectors"},
		{"operator", filter.Spec{LabelSelector: near}, `labelSelector: "Near" is not a valid label selector operator`},
		{"operator of one of several", filter.Spec{OrLabelSelectors: []*metav1.LabelSelector{selector, near}}, "orLabelSelectors[1]: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(filter.Validate(c.spec), "\n"); !strings.Contains(got, c.want) {
				t.Errorf("problems %q, want one with %q", got, c.want)
			}
		})
	}
}

func TestValidateForbiddenCharacters(t *testing.T) {
	t.Parallel()
	for _, c := range `|()!{},\` {
		name := "a" + string(c) + "b"
		problems := filter.Validate(filter.Spec{IncludedNamespaces: []string{name}})
		if len(problems) != 1 || !strings.Contains(problems[0], "only * ? and [ ]") {
			t.Errorf("%q: %q", name, problems)
		}
	}
}

func TestValidateCollectsEveryProblem(t *testing.T) {
	t.Parallel()
	yes := true
	problems := filter.Validate(filter.Spec{
		IncludedNamespaces: []string{"*", "Shop"}, ExcludedNamespaces: []string{"*", "a{b}"},
		IncludeClusterResources:        &yes,
		IncludedClusterScopedResources: []string{"*", "sc"}, ExcludedClusterScopedResources: []string{"*", "sc"},
		LabelSelector: &metav1.LabelSelector{}, OrLabelSelectors: []*metav1.LabelSelector{{}},
	})
	for _, want := range []string{
		"use one family", `includedNamespaces: "*" means`, `excludedNamespaces: "*" would`, `"Shop"`, `"a{b}"`,
		`includedClusterScopedResources: "*" means`, `excludedClusterScopedResources: "*" means`,
		`excludedClusterScopedResources: "*" can't be used together`, `"sc" is in both`, "labelSelector and orLabelSelectors",
	} {
		if !strings.Contains(strings.Join(problems, "\n"), want) {
			t.Errorf("no problem with %q", want)
		}
	}
	if len(problems) != 10 {
		t.Errorf("%d problems:\n%s", len(problems), strings.Join(problems, "\n"))
	}
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	no := false
	for _, spec := range []filter.Spec{
		{},
		{IncludedNamespaces: []string{"app-*", "db-[ab]", "n[0-9]", "t?", ""}, ExcludedNamespaces: []string{"app-test"}},
		{IncludedNamespaces: []string{"*"}, IncludedResources: []string{"*"}, IncludeClusterResources: &no},
		{IncludedNamespaceScopedResources: []string{"*"}, ExcludedClusterScopedResources: []string{"*"}},
		{IncludedResources: []string{"{pods,secrets}", "*.apps"}},
	} {
		if problems := filter.Validate(spec); problems != nil {
			t.Errorf("%+v: %q", spec, problems)
		}
	}
}
