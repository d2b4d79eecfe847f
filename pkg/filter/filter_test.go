package filter_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// resolve knows a few short names, as discovery would.
func resolve(name string) (schema.GroupResource, bool) {
	full, ok := map[string]string{"po": "pods", "pod": "pods", "deploy": "deployments.apps", "deployments": "deployments.apps", "pv": "persistentvolumes"}[name]
	return schema.ParseGroupResource(full), ok
}

func build(t *testing.T, spec filter.Spec) *filter.Filter {
	t.Helper()
	if problems := filter.Validate(spec); len(problems) > 0 {
		t.Fatalf("problems: %q", problems)
	}
	f, err := filter.New(spec, resolve)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestKind(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, c := range []struct {
		name     string
		spec     filter.Spec
		selected string // kinds, cluster-scoped ones with a leading slash
		left     string
	}{
		{"nothing set: everything", filter.Spec{}, "pods deployments.apps /persistentvolumes /storageclasses.storage.k8s.io /namespaces", ""},
		{"one namespace: no cluster kinds but namespaces", filter.Spec{IncludedNamespaces: []string{"shop"}}, "pods /namespaces", "/persistentvolumes /clusterroles.rbac.authorization.k8s.io"},
		{"star is everything", filter.Spec{IncludedNamespaces: []string{"*"}}, "pods /persistentvolumes", ""},
		{"an excluded namespace is a filter", filter.Spec{ExcludedNamespaces: []string{"dev"}}, "pods /namespaces", "/persistentvolumes"},
		{"older: short names", filter.Spec{IncludedResources: []string{"po", "deploy"}}, "pods deployments.apps", "secrets /persistentvolumes /namespaces"},
		{"older: excluded", filter.Spec{ExcludedResources: []string{"pods"}}, "secrets /persistentvolumes /namespaces", "pods"},
		{"older: cluster true with a namespace", filter.Spec{IncludedNamespaces: []string{"shop"}, IncludeClusterResources: &yes}, "pods /persistentvolumes", ""},
		{"older: cluster false", filter.Spec{IncludeClusterResources: &no}, "pods /namespaces", "/persistentvolumes"},
		{"newer: cluster star", filter.Spec{IncludedNamespaces: []string{"shop"}, IncludedClusterScopedResources: []string{"*"}}, "pods /persistentvolumes", ""},
		{"newer: one cluster kind", filter.Spec{IncludedClusterScopedResources: []string{"pv"}}, "pods /persistentvolumes /namespaces", "/storageclasses.storage.k8s.io"},
		{"newer: excluded cluster kind", filter.Spec{ExcludedClusterScopedResources: []string{"pv"}}, "/storageclasses.storage.k8s.io", "/persistentvolumes"},
		{"newer: glob", filter.Spec{ExcludedNamespaceScopedResources: []string{"*.apps"}}, "pods", "deployments.apps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := build(t, c.spec)
			for want, kinds := range map[bool]string{true: c.selected, false: c.left} {
				for kind := range strings.FieldsSeq(kinds) {
					name, cluster := strings.CutPrefix(kind, "/")
					if got := f.Kind(schema.ParseGroupResource(name), !cluster); got != want {
						t.Errorf("Kind(%s) = %v, want %v", kind, got, want)
					}
				}
			}
		})
	}
}

func TestNamespace(t *testing.T) {
	t.Parallel()
	f := build(t, filter.Spec{IncludedNamespaces: []string{"app-*", "db-[ab]", "shop"}, ExcludedNamespaces: []string{"app-test"}})
	for name, want := range map[string]bool{"app-web": true, "app-test": false, "db-a": true, "db-c": false, "shop": true, "other": false} {
		if got := f.Namespace(name); got != want {
			t.Errorf("Namespace(%q) = %v, want %v", name, got, want)
		}
	}
	if got := f.LiteralNamespaces(); len(got) != 1 || got[0] != "shop" {
		t.Errorf("LiteralNamespaces() = %q", got)
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	web := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	db := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}
	one := build(t, filter.Spec{LabelSelector: web})
	if !one.Labels(map[string]string{"app": "web"}) || one.Labels(map[string]string{"app": "db"}) || one.Selector() != "app=web" {
		t.Errorf("one selector: %q", one.Selector())
	}
	two := build(t, filter.Spec{OrLabelSelectors: []*metav1.LabelSelector{web, db}})
	if !two.Labels(map[string]string{"app": "db"}) || two.Labels(nil) || two.Selector() != "" {
		t.Error("either of two selectors must do")
	}
}

func TestClusterAdditional(t *testing.T) {
	t.Parallel()
	no := false
	pv := schema.GroupResource{Resource: "persistentvolumes"}
	for _, c := range []struct {
		spec filter.Spec
		want bool
	}{
		{filter.Spec{IncludedNamespaces: []string{"shop"}}, true},
		{filter.Spec{IncludeClusterResources: &no}, false},
		{filter.Spec{IncludedResources: []string{"pods"}}, false},
		{filter.Spec{ExcludedClusterScopedResources: []string{"pv"}}, false},
	} {
		if got := build(t, c.spec).ClusterAdditional(pv); got != c.want {
			t.Errorf("%+v: %v, want %v", c.spec, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	yes := true
	selector := &metav1.LabelSelector{}
	for _, c := range []struct {
		name string
		spec filter.Spec
		want string
	}{
		{"star beside others", filter.Spec{IncludedNamespaces: []string{"*", "a"}}, `includedNamespaces: "*" means everything`},
		{"star excluded", filter.Spec{ExcludedResources: []string{"*"}}, `excludedResources: "*" would exclude everything`},
		{"in both", filter.Spec{IncludedNamespaces: []string{"a"}, ExcludedNamespaces: []string{"a"}}, `"a" is in both includedNamespaces and excludedNamespaces`},
		{"families", filter.Spec{IncludeClusterResources: &yes, IncludedClusterScopedResources: []string{"x"}}, "use one family"},
		{"both selectors", filter.Spec{LabelSelector: selector, OrLabelSelectors: []*metav1.LabelSelector{selector}}, "labelSelector and orLabelSelectors"},
		{"bad namespace", filter.Spec{IncludedNamespaces: []string{"Shop"}}, `includedNamespaces: "Shop" is no namespace name`},
		{"bad pattern", filter.Spec{ExcludedNamespaces: []string{"a[]"}}, "balanced"},
		{"double star", filter.Spec{IncludedNamespaces: []string{"a**"}}, "single *"},
		{"brace", filter.Spec{IncludedNamespaces: []string{"a{b}"}}, "only * ? and [ ]"},
		{"newer star with include", filter.Spec{IncludedNamespaceScopedResources: []string{"pods"}, ExcludedNamespaceScopedResources: []string{"*"}}, "can't be used together"},
		{"operator", filter.Spec{LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}}, "labelSelector: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(filter.Validate(c.spec), "\n"); !strings.Contains(got, c.want) {
				t.Errorf("problems %q, want one with %q", got, c.want)
			}
		})
	}
	if got := filter.Validate(filter.Spec{IncludedNamespaces: []string{"app-*", "db-[ab]", ""}}); got != nil {
		t.Errorf("good patterns: %q", got)
	}
}
