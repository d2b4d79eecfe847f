package filter_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// served is what discovery would find: names, kinds, and "/" before those that
// are cluster-scoped.
var served = map[string]string{
	"po": "pods", "pod": "pods", "pods": "pods", "secrets": "secrets", "secret": "secrets",
	"deploy": "deployments.apps", "deployments": "deployments.apps", "deployments.apps": "deployments.apps",
	"pv": "/persistentvolumes", "persistentvolumes": "/persistentvolumes", "ns": "/namespaces", "namespaces": "/namespaces",
	"sc": "/storageclasses.storage.k8s.io", "storageclasses": "/storageclasses.storage.k8s.io",
	"clusterrole": "/clusterroles.rbac.authorization.k8s.io", "crd": "/customresourcedefinitions.apiextensions.k8s.io",
}

func resolveScoped(name string) (gr schema.GroupResource, namespaced, ok bool) {
	full, ok := served[name]
	full, cluster := strings.CutPrefix(full, "/")
	return schema.ParseGroupResource(full), !cluster, ok
}

func resolve(name string) (schema.GroupResource, bool) {
	gr, _, ok := resolveScoped(name)
	return gr, ok
}

func build(t *testing.T, spec filter.Spec) *filter.Filter {
	t.Helper()
	if problems := filter.Validate(spec); len(problems) > 0 {
		t.Fatalf("problems: %q", problems)
	}
	f, err := filter.NewScoped(spec, resolveScoped)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// kindCase says which kinds a selection takes and which it leaves; those that
// are cluster-scoped have a leading slash.
type kindCase struct {
	name           string
	spec           filter.Spec
	selected, left string
}

func testKinds(t *testing.T, cases []kindCase) {
	t.Helper()
	for _, c := range cases {
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

const (
	clusterKinds = " /persistentvolumes /storageclasses.storage.k8s.io /clusterroles.rbac.authorization.k8s.io /priorityclasses.scheduling.k8s.io /widgets.example.com "
	someKinds    = " pods secrets deployments.apps "
)

func TestNoFilterTakesEverything(t *testing.T) {
	t.Parallel()
	all := someKinds + clusterKinds + "/namespaces"
	testKinds(t, []kindCase{
		{"nothing set", filter.Spec{}, all, ""},
		{"all namespaces by a star", filter.Spec{IncludedNamespaces: []string{"*"}}, all, ""},
		{"a namespace labelled to be left out", filter.Spec{LabelledNamespaces: []string{"private"}}, all, ""},
		{"the same, as Velero writes it into the spec", filter.Spec{ExcludedNamespaces: []string{"private"}, LabelledNamespaces: []string{"private"}}, all, ""},
		{"a star for each scope", filter.Spec{IncludedClusterScopedResources: []string{"*"}, IncludedNamespaceScopedResources: []string{"*"}}, all, ""},
		{"an unknown kind excluded", filter.Spec{ExcludedNamespaceScopedResources: []string{"gadgets"}}, all, ""},
		{"a cluster kind excluded in the wrong list", filter.Spec{ExcludedNamespaceScopedResources: []string{"sc"}}, all, ""},
		{"no namespace excluded", filter.Spec{ExcludedNamespaces: []string{""}}, all, ""},
		{"a selector", filter.Spec{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}, all, ""},
	})
}

func TestSomeNamespacesLeaveOutClusterKinds(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	shop := []string{"shop"}
	testKinds(t, []kindCase{
		{"one namespace", filter.Spec{IncludedNamespaces: shop}, someKinds + "/namespaces", clusterKinds},
		{"a pattern", filter.Spec{IncludedNamespaces: []string{"sh*"}}, someKinds + "/namespaces", clusterKinds},
		{"one excluded", filter.Spec{ExcludedNamespaces: shop}, someKinds + "/namespaces", clusterKinds},
		{"older: nil", filter.Spec{IncludedNamespaces: shop, ExcludedResources: []string{"po"}}, "secrets /namespaces", "pods" + clusterKinds},
		{"older: true", filter.Spec{IncludedNamespaces: shop, IncludeClusterResources: &yes}, someKinds + clusterKinds + "/namespaces", ""},
		{"older: false", filter.Spec{IncludedNamespaces: shop, IncludeClusterResources: &no}, someKinds + "/namespaces", clusterKinds},
		{"newer: star", filter.Spec{IncludedNamespaces: shop, IncludedClusterScopedResources: []string{"*"}}, someKinds + clusterKinds + "/namespaces", ""},
		{"newer: one kind", filter.Spec{IncludedNamespaces: shop, IncludedClusterScopedResources: []string{"sc"}}, someKinds + "/namespaces /storageclasses.storage.k8s.io", "/persistentvolumes"},
	})
}

func TestOlderFilters(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	testKinds(t, []kindCase{
		{"short names and singulars", filter.Spec{IncludedResources: []string{"po", "deploy", "secret"}}, someKinds, clusterKinds + "/namespaces"},
		{"group in the name", filter.Spec{IncludedResources: []string{"deployments.apps"}}, "deployments.apps", "pods deployments.extensions"},
		{"globs", filter.Spec{IncludedResources: []string{"*.apps", "pod?"}}, "deployments.apps pods", "secrets"},
		{"included cluster kind, all namespaces", filter.Spec{IncludedResources: []string{"pv"}}, "/persistentvolumes", "pods /namespaces"},
		{"excluded beats included", filter.Spec{IncludedResources: []string{"*"}, ExcludedResources: []string{"po"}}, "secrets /persistentvolumes /namespaces", "pods"},
		{"excluded", filter.Spec{ExcludedResources: []string{"pods", "sc"}}, "secrets /persistentvolumes /namespaces", "pods /storageclasses.storage.k8s.io"},
		{"namespaces excluded", filter.Spec{ExcludedResources: []string{"ns"}}, someKinds, "/namespaces"},
		{"only unknown kinds included: nothing", filter.Spec{IncludedResources: []string{"gadgets"}}, "", someKinds + clusterKinds + "/namespaces"},
		{"only unknown kinds excluded: nothing excluded", filter.Spec{ExcludedResources: []string{"gadgets"}}, someKinds + clusterKinds + "/namespaces", ""},
		{"cluster kinds, lists still count", filter.Spec{IncludeClusterResources: &yes, IncludedResources: []string{"po", "pv"}}, "pods /persistentvolumes", "secrets /storageclasses.storage.k8s.io"},
		{"no cluster kinds but namespaces", filter.Spec{IncludeClusterResources: &no}, someKinds + "/namespaces", clusterKinds},
		{"no cluster kinds beats the list", filter.Spec{IncludeClusterResources: &no, IncludedResources: []string{"pv"}}, "", "/persistentvolumes"},
	})
}

func TestNewerFilters(t *testing.T) {
	t.Parallel()
	testKinds(t, []kindCase{
		{"one cluster kind", filter.Spec{IncludedClusterScopedResources: []string{"pv"}}, someKinds + "/persistentvolumes /namespaces", "/storageclasses.storage.k8s.io"},
		{"excluding a cluster kind leaves the others", filter.Spec{ExcludedClusterScopedResources: []string{"pv"}}, someKinds + "/storageclasses.storage.k8s.io /namespaces", "/persistentvolumes"},
		{"no cluster kinds: namespaces stay", filter.Spec{IncludedNamespaceScopedResources: []string{"*"}, ExcludedClusterScopedResources: []string{"*"}}, someKinds + "/namespaces", clusterKinds},
		{"namespaces excluded by name", filter.Spec{ExcludedClusterScopedResources: []string{"ns"}}, someKinds, "/namespaces"},
		{"namespaced glob excluded", filter.Spec{ExcludedNamespaceScopedResources: []string{"*.apps"}}, "pods /namespaces", "deployments.apps" + clusterKinds},
		{"some namespaced kinds: no cluster kinds", filter.Spec{IncludedNamespaceScopedResources: []string{"po"}}, "pods /namespaces", "secrets" + clusterKinds},
		{"no namespaced kinds", filter.Spec{ExcludedNamespaceScopedResources: []string{"*"}, IncludedClusterScopedResources: []string{"sc"}}, "/storageclasses.storage.k8s.io /namespaces", someKinds + "/persistentvolumes"},
		{"only unknown namespaced kinds: none", filter.Spec{IncludedNamespaceScopedResources: []string{"gadgets"}}, "/namespaces", someKinds + clusterKinds},
		{"only unknown cluster kinds: none", filter.Spec{IncludedClusterScopedResources: []string{"gadgets"}}, someKinds + "/namespaces", clusterKinds},
		{"wrong scope selects nothing", filter.Spec{IncludedClusterScopedResources: []string{"deploy"}, IncludedNamespaceScopedResources: []string{"pv"}}, "/namespaces", someKinds + clusterKinds},
	})
}

func TestNamespacePatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name               string
		included, excluded []string
		selected, left     string
	}{
		{"nothing set", nil, nil, "a b", ""},
		{"star", []string{"*"}, nil, "a b", ""},
		{"names", []string{"a", "b"}, nil, "a b", "c ab"},
		{"globs", []string{"app-*", "db-[ab]", "t?st", "n[0-9]"}, nil, "app- app-web db-a test n7", "app db-c tst n10"},
		{"a pattern that matches nothing: nothing", []string{"none-*"}, nil, "", "a"},
		{"the empty name: nothing", []string{""}, nil, "", "a"},
		{"excluded beats included", []string{"app-*"}, []string{"app-t*"}, "app-web", "app-test"},
		{"excluded alone", nil, []string{"kube-*", "dev"}, "shop default", "kube-system dev"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := build(t, filter.Spec{IncludedNamespaces: c.included, ExcludedNamespaces: c.excluded})
			for want, names := range map[bool]string{true: c.selected, false: c.left} {
				for name := range strings.FieldsSeq(names) {
					if got := f.Namespace(name); got != want {
						t.Errorf("Namespace(%q) = %v, want %v", name, got, want)
					}
				}
			}
		})
	}
}

func TestLiteralNamespaces(t *testing.T) {
	t.Parallel()
	f := build(t, filter.Spec{IncludedNamespaces: []string{"app-*", "shop", "db-[ab]", "", "q?"}})
	if diff := cmp.Diff([]string{"shop"}, f.LiteralNamespaces()); diff != "" {
		t.Error(diff)
	}
	if got := build(t, filter.Spec{IncludedNamespaces: []string{"*"}}).LiteralNamespaces(); got != nil {
		t.Errorf("%q", got)
	}
}

func TestNamespaceLabelledToBeLeftOut(t *testing.T) {
	t.Parallel()
	f := build(t, filter.Spec{LabelledNamespaces: []string{"private"}})
	if f.Namespace("private") || !f.Namespace("shop") || !f.AllNamespaces() {
		t.Error("the namespace must be left out, and nothing else")
	}
	f = build(t, filter.Spec{IncludedNamespaces: []string{"private", "shop"}, LabelledNamespaces: []string{"private"}})
	if f.Namespace("private") || !f.Namespace("shop") || f.AllNamespaces() {
		t.Error("the label beats the list")
	}
}

func TestEveryNamespaceNamedIsEverything(t *testing.T) {
	t.Parallel()
	live := []string{"default", "shop", "private"}
	for _, c := range []struct {
		name string
		spec filter.Spec
		want bool
	}{
		{"nothing set", filter.Spec{}, true},
		{"all by name", filter.Spec{IncludedNamespaces: live}, true},
		{"all by patterns", filter.Spec{IncludedNamespaces: []string{"?*"}}, true},
		{"all but a labelled one", filter.Spec{IncludedNamespaces: []string{"default", "shop"}, LabelledNamespaces: []string{"private"}}, true},
		{"one missing", filter.Spec{IncludedNamespaces: []string{"default", "shop"}}, false},
		{"one excluded", filter.Spec{ExcludedNamespaces: []string{"shop"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := build(t, c.spec).Among(live)
			if got := f.AllNamespaces(); got != c.want {
				t.Errorf("AllNamespaces() = %v, want %v", got, c.want)
			}
			if got := f.Kind(schema.ParseGroupResource("persistentvolumes"), false); got != c.want {
				t.Errorf("cluster-scoped kinds: %v, want %v", got, c.want)
			}
		})
	}
	if build(t, filter.Spec{IncludedNamespaces: live}).AllNamespaces() {
		t.Error("it can't be known without the cluster's namespaces")
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
	if !two.Labels(map[string]string{"app": "db"}) || two.Labels(nil) || two.Selector() != "" || !two.HasLabels() {
		t.Error("either of two selectors must do")
	}
	none := build(t, filter.Spec{})
	if !none.Labels(nil) || none.HasLabels() || none.Selector() != "" {
		t.Error("no selector takes every object")
	}
}

// What selected objects need is taken although its kind isn't selected, unless
// the user has excluded it.
func TestClusterAdditional(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, c := range []struct {
		name            string
		spec            filter.Spec
		taken, excluded bool
	}{
		{"some namespaces", filter.Spec{IncludedNamespaces: []string{"shop"}}, true, false},
		{"older: no cluster kinds", filter.Spec{IncludeClusterResources: &no}, false, true},
		{"older: not in the list", filter.Spec{IncludedResources: []string{"pods"}}, false, false},
		{"older: in the list", filter.Spec{IncludedResources: []string{"pods", "pv"}, IncludedNamespaces: []string{"shop"}}, true, false},
		{"older: cluster kinds wanted, not in the list", filter.Spec{IncludedResources: []string{"pods"}, IncludeClusterResources: &yes}, true, false},
		{"older: excluded", filter.Spec{ExcludedResources: []string{"pv"}, IncludeClusterResources: &yes}, false, true},
		{"newer: excluded", filter.Spec{ExcludedClusterScopedResources: []string{"pv"}}, false, true},
		{"newer: all excluded", filter.Spec{ExcludedClusterScopedResources: []string{"*"}}, false, true},
		{"newer: others included", filter.Spec{IncludedClusterScopedResources: []string{"sc"}}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, pv := build(t, c.spec), schema.ParseGroupResource("persistentvolumes")
			if got := f.ClusterAdditional(pv); got != c.taken {
				t.Errorf("ClusterAdditional = %v, want %v", got, c.taken)
			}
			if got := f.Excluded(pv); got != c.excluded {
				t.Errorf("Excluded = %v, want %v", got, c.excluded)
			}
		})
	}
}

func TestMistakesInLists(t *testing.T) {
	t.Parallel()
	f := build(t, filter.Spec{IncludedResources: []string{"po", "gadgets", "*.example.com"}, ExcludedResources: []string{"gizmos"}})
	if diff := cmp.Diff([]string{
		`includedResources: the cluster serves no kind "gadgets", so the name selects nothing; hint: kubectl api-resources lists them`,
		`excludedResources: the cluster serves no kind "gizmos", so the name excludes nothing; hint: kubectl api-resources lists them`,
	}, f.Unknown()); diff != "" {
		t.Error(diff)
	}
	f = build(t, filter.Spec{
		IncludedClusterScopedResources: []string{"sc", "deploy"}, ExcludedNamespaceScopedResources: []string{"po", "pv"},
	})
	if diff := cmp.Diff([]string{
		`includedClusterScopedResources: "deploy" (deployments.apps) is namespaced, so the name selects nothing; hint: use includedNamespaceScopedResources`,
		`excludedNamespaceScopedResources: "pv" (persistentvolumes) is cluster-scoped, so the name excludes nothing; hint: use excludedClusterScopedResources`,
	}, f.WrongScope()); diff != "" {
		t.Error(diff)
	}
}

func TestNewReportsBadParts(t *testing.T) {
	t.Parallel()
	for want, spec := range map[string]filter.Spec{
		`pattern "[z-a]"`: {IncludedResources: []string{"[z-a]"}},
		"labelSelector":   {LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}},
	} {
		if _, err := filter.New(spec, resolve); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		if _, err := filter.NewScoped(spec, resolveScoped); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
