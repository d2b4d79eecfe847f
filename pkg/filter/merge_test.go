package filter_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		spec, more, want filter.Spec
	}{
		{"nothing", filter.Spec{}, filter.Spec{}, filter.Spec{}},
		{"both scopes",
			filter.Spec{IncludedNamespaces: []string{"shop"}},
			filter.Spec{IncludedNamespaces: []string{"other"}, IncludedClusterScopedResources: []string{"sc"}, ExcludedNamespaceScopedResources: []string{"po"}},
			filter.Spec{IncludedNamespaces: []string{"shop"}, IncludedClusterScopedResources: []string{"sc"}, ExcludedNamespaceScopedResources: []string{"po"}}},
		{"what is named already stays as it is",
			filter.Spec{IncludedNamespaceScopedResources: []string{"pods"}, ExcludedNamespaceScopedResources: []string{"deploy*"}},
			filter.Spec{IncludedNamespaceScopedResources: []string{"deploy", "secret"}, ExcludedNamespaceScopedResources: []string{"po"}},
			filter.Spec{IncludedNamespaceScopedResources: []string{"pods", "secret"}, ExcludedNamespaceScopedResources: []string{"deploy*"}}},
		{"twice under two names", filter.Spec{}, filter.Spec{ExcludedClusterScopedResources: []string{"pv", "persistentvolumes"}},
			filter.Spec{ExcludedClusterScopedResources: []string{"pv"}}},
		{"wrong scope", filter.Spec{}, filter.Spec{ExcludedClusterScopedResources: []string{"po", "sc"}, IncludedNamespaceScopedResources: []string{"pv"}},
			filter.Spec{ExcludedClusterScopedResources: []string{"sc"}}},
		{"unknown", filter.Spec{}, filter.Spec{ExcludedClusterScopedResources: []string{"gadgets"}}, filter.Spec{ExcludedClusterScopedResources: []string{"gadgets"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, c.spec.Merge(c.more, resolveScoped)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
