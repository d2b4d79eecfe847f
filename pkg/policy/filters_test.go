package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
)

// resolve knows a few kinds, as discovery would.
func resolve(name string) (gr schema.GroupResource, namespaced, ok bool) {
	full, ok := map[string]string{
		"pod": "pods", "pods": "pods", "configmap": "configmaps", "configmaps": "configmaps", "event": "events", "secrets": "secrets",
		"deploy": "deployments.apps", "deployments": "deployments.apps",
		"crd": "/customresourcedefinitions.apiextensions.k8s.io", "pv": "/persistentvolumes", "apiservices": "/apiservices.apiregistration.k8s.io",
	}[name]
	full, cluster := strings.CutPrefix(full, "/")
	return schema.ParseGroupResource(full), !cluster, ok
}

func filterSpec() filter.Spec {
	return filter.Spec{IncludedNamespaces: []string{"shop"}, ExcludedNamespaceScopedResources: []string{"secrets"}}
}

func filters(t *testing.T, lists ...string) *policy.Policies {
	t.Helper()
	text := "version: v1\nincludeExcludePolicy:\n"
	for _, list := range lists {
		text += "  " + list + "\n"
	}
	p, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMergeInto(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		lists      []string
		spec, want filter.Spec
	}{
		{"added to nothing", []string{"includedClusterScopedResources: [crd]", "excludedNamespaceScopedResources: [configmap, event]"},
			filter.Spec{IncludedNamespaces: []string{"shop"}},
			filter.Spec{IncludedNamespaces: []string{"shop"}, IncludedClusterScopedResources: []string{"crd"}, ExcludedNamespaceScopedResources: []string{"configmap", "event"}}},
		{"the documented example: what spec includes beats what the policy excludes",
			[]string{"includedClusterScopedResources: [crd]", "excludedNamespaceScopedResources: [configmap, event]"},
			filter.Spec{IncludedNamespaceScopedResources: []string{"*"}, IncludedClusterScopedResources: []string{"apiservices"}},
			filter.Spec{IncludedNamespaceScopedResources: []string{"*"}, IncludedClusterScopedResources: []string{"apiservices", "crd"}}},
		{"what spec excludes beats what the policy includes", []string{"includedNamespaceScopedResources: [pod, secrets]"},
			filter.Spec{ExcludedNamespaceScopedResources: []string{"secrets"}},
			filter.Spec{IncludedNamespaceScopedResources: []string{"pod"}, ExcludedNamespaceScopedResources: []string{"secrets"}}},
		{"names are compared as kinds", []string{"includedNamespaceScopedResources: [configmap]", "excludedNamespaceScopedResources: [pod]"},
			filter.Spec{IncludedNamespaceScopedResources: []string{"pods"}, ExcludedNamespaceScopedResources: []string{"configmaps"}},
			filter.Spec{IncludedNamespaceScopedResources: []string{"pods"}, ExcludedNamespaceScopedResources: []string{"configmaps"}}},
		{"patterns of spec count", []string{"excludedNamespaceScopedResources: [deploy]", "excludedClusterScopedResources: [pv]"},
			filter.Spec{IncludedNamespaceScopedResources: []string{"*.apps"}, ExcludedClusterScopedResources: []string{"*"}},
			filter.Spec{IncludedNamespaceScopedResources: []string{"*.apps"}, ExcludedClusterScopedResources: []string{"*"}}},
		{"the wrong scope is left out", []string{"includedClusterScopedResources: [deploy, pv]", "excludedNamespaceScopedResources: [crd]"},
			filter.Spec{}, filter.Spec{IncludedClusterScopedResources: []string{"pv"}}},
		{"unknown kinds stay", []string{"includedClusterScopedResources: [gadgets.example.com]"},
			filter.Spec{}, filter.Spec{IncludedClusterScopedResources: []string{"gadgets.example.com"}}},
		{"excluded by another name in the policy itself", []string{"includedNamespaceScopedResources: [deploy]", "excludedNamespaceScopedResources: [deployments]"},
			filter.Spec{}, filter.Spec{ExcludedNamespaceScopedResources: []string{"deployments"}}},
		{"nothing to add", nil, filterSpec(), filterSpec()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := filters(t, c.lists...)
			if got := p.HasFilters(); got != (len(c.lists) > 0) {
				t.Errorf("HasFilters() = %v", got)
			}
			got := p.MergeInto(c.spec, resolve)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if problems := filter.Validate(got); problems != nil {
				t.Errorf("the result is no valid selection: %q", problems)
			}
		})
	}
	var none *policy.Policies
	if diff := cmp.Diff(filterSpec(), none.MergeInto(filterSpec(), resolve)); diff != "" {
		t.Error(diff)
	}
}

func TestMergeIntoLeavesSpecAlone(t *testing.T) {
	t.Parallel()
	kinds := append(make([]string, 0, 8), "secrets")
	spec := filter.Spec{ExcludedNamespaceScopedResources: kinds}
	filters(t, "excludedNamespaceScopedResources: [pod]").MergeInto(spec, resolve)
	if diff := cmp.Diff([]string{"secrets", ""}, kinds[:2]); diff != "" {
		t.Error(diff)
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	yes := true
	p := filters(t, "includedClusterScopedResources: [crd]")
	got := p.Conflicts(filter.Spec{IncludedResources: []string{"pods"}, IncludeClusterResources: &yes})
	if len(got) != 1 || !strings.Contains(got[0], "includeExcludePolicy can't be used together with includedResources, includeClusterResources; hint: ") {
		t.Errorf("%q", got)
	}
	if got := p.Conflicts(filterSpec()); got != nil {
		t.Errorf("%q", got)
	}
	if got := filters(t).Conflicts(filter.Spec{IncludedResources: []string{"pods"}}); got != nil {
		t.Errorf("%q", got)
	}
}

func TestWrongScope(t *testing.T) {
	t.Parallel()
	p := filters(t, "includedClusterScopedResources: [pv,", "  deploy]", "excludedNamespaceScopedResources: [pod, crd, gadgets]")
	want := []string{
		`line 4: includeExcludePolicy.includedClusterScopedResources[1]: "deploy" (deployments.apps) is of the other scope, so the name has no effect; hint: move it to includedNamespaceScopedResources`,
		`line 5: includeExcludePolicy.excludedNamespaceScopedResources[1]: "crd" (customresourcedefinitions.apiextensions.k8s.io) is of the other scope, so the name has no effect; hint: move it to excludedClusterScopedResources`,
	}
	if diff := cmp.Diff(want, p.WrongScope(resolve)); diff != "" {
		t.Error(diff)
	}
}
