package filter

import (
	"slices"

	"github.com/gobwas/glob"
)

// Merge returns s with the kinds that the newer family of lists in more adds,
// as resource policies do. s comes first: a kind that it includes or excludes
// already is not added. Names of the wrong scope are left out; those that
// resolve doesn't know are added as they are. What more excludes beats what it
// includes.
func (s Spec) Merge(more Spec, resolve ScopeResolver) Spec {
	s.IncludedNamespaceScopedResources, s.ExcludedNamespaceScopedResources = merge(true, resolve,
		s.IncludedNamespaceScopedResources, s.ExcludedNamespaceScopedResources,
		more.IncludedNamespaceScopedResources, more.ExcludedNamespaceScopedResources)
	s.IncludedClusterScopedResources, s.ExcludedClusterScopedResources = merge(false, resolve,
		s.IncludedClusterScopedResources, s.ExcludedClusterScopedResources,
		more.IncludedClusterScopedResources, more.ExcludedClusterScopedResources)
	return s
}

func merge(namespaced bool, resolve ScopeResolver, included, excluded, moreIncluded, moreExcluded []string) ([]string, []string) {
	included, excluded = slices.Clone(included), slices.Clone(excluded)
	full := func(name string) (string, bool) {
		if gr, isNamespaced, ok := resolve(name); ok {
			return gr.String(), isNamespaced == namespaced
		}
		return name, true
	}
	add := func(to *[]string, names []string) {
		for _, name := range names {
			kind, fits := full(name)
			if fits && !mentions(included, kind, full) && !mentions(excluded, kind, full) {
				*to = append(*to, name)
			}
		}
	}
	add(&excluded, moreExcluded)
	add(&included, moreIncluded)
	return included, excluded
}

// mentions reports whether one of the names or patterns means the kind.
func mentions(names []string, kind string, resolve resolver) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		if isPattern(name) {
			g, err := glob.Compile(name)
			return err == nil && g.Match(kind)
		}
		full, _ := resolve(name)
		return full == kind
	})
}
