package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// HasFilters reports whether includeExcludePolicy names any kind.
func (p *Policies) HasFilters() bool {
	return p != nil && len(p.filters.IncludedClusterScopedResources)+len(p.filters.ExcludedClusterScopedResources)+
		len(p.filters.IncludedNamespaceScopedResources)+len(p.filters.ExcludedNamespaceScopedResources) > 0
}

// Conflicts returns why the policies can't be used with a selection, one text
// for each problem; nil when they can.
func (p *Policies) Conflicts(spec filter.Spec) []string {
	older := spec.OlderFields()
	if !p.HasFilters() || len(older) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("resourcePolicy: the policies' includeExcludePolicy can't be used together with %s; hint: use the filters by scope instead, like includedNamespaceScopedResources",
		strings.Join(older, ", "))}
}

// MergeInto returns spec with the kinds that includeExcludePolicy adds. What
// spec says beats the policy: a kind that spec includes or excludes already is
// not added, and neither is one of the wrong scope. spec must be without
// Conflicts.
func (p *Policies) MergeInto(spec filter.Spec, resolve filter.ScopeResolver) filter.Spec {
	if !p.HasFilters() {
		return spec
	}
	return spec.Merge(p.filters, resolve)
}

// WrongScope returns a text for each kind in includeExcludePolicy that is in a
// list of the other scope, so that MergeInto leaves it out.
func (p *Policies) WrongScope(resolve filter.ScopeResolver) []string {
	if !p.HasFilters() {
		return nil
	}
	var texts []string
	for _, list := range []struct {
		field, other string
		names        []string
		namespaced   bool
	}{
		{"includedClusterScopedResources", "includedNamespaceScopedResources", p.filters.IncludedClusterScopedResources, false},
		{"excludedClusterScopedResources", "excludedNamespaceScopedResources", p.filters.ExcludedClusterScopedResources, false},
		{"includedNamespaceScopedResources", "includedClusterScopedResources", p.filters.IncludedNamespaceScopedResources, true},
		{"excludedNamespaceScopedResources", "excludedClusterScopedResources", p.filters.ExcludedNamespaceScopedResources, true},
	} {
		for i, name := range list.names {
			if gr, namespaced, ok := resolve(name); ok && namespaced != list.namespaced {
				path := fmt.Sprintf("includeExcludePolicy.%s[%d]", list.field, i)
				texts = append(texts, fmt.Sprintf("line %d: %s: %q (%s) is of the other scope, so the name has no effect; hint: move it to %s",
					p.lines[path], path, name, gr, list.other))
			}
		}
	}
	return texts
}

// filters reads includeExcludePolicy.
func (d *decoder) filters(n *node) filter.Spec {
	var spec filter.Spec
	d.Mapping(n, strictyaml.Fields{
		"includedClusterScopedResources":   func(n *node) { spec.IncludedClusterScopedResources = d.kinds(n) },
		"excludedClusterScopedResources":   func(n *node) { spec.ExcludedClusterScopedResources = d.kinds(n) },
		"includedNamespaceScopedResources": func(n *node) { spec.IncludedNamespaceScopedResources = d.kinds(n) },
		"excludedNamespaceScopedResources": func(n *node) { spec.ExcludedNamespaceScopedResources = d.kinds(n) },
	})
	d.disjoint(n, "ClusterScopedResources", spec.IncludedClusterScopedResources, spec.ExcludedClusterScopedResources)
	d.disjoint(n, "NamespaceScopedResources", spec.IncludedNamespaceScopedResources, spec.ExcludedNamespaceScopedResources)
	return spec
}

// kinds reads a list of kinds. The documentation allows no patterns in it.
func (d *decoder) kinds(n *node) []string {
	if n.Null() {
		return nil
	}
	var names []string
	d.List(n, func(n *node) {
		name, ok := d.Text(n)
		switch {
		case !ok: // told already
		case name == "":
			d.Problem(n, "is empty; hint: name a kind, like secrets")
		case strings.ContainsAny(name, "*?[]{}"):
			d.Problem(n, "%q is a pattern, and a policy can name kinds only; hint: name each kind, or use the fields of the Backup", name)
		}
		// Also what is wrong is kept, so that positions stay true.
		names = append(names, name)
		d.lines[n.Path] = n.Line
	})
	return names
}

func (d *decoder) disjoint(n *node, field string, included, excluded []string) {
	for i, name := range excluded {
		if name != "" && slices.Contains(included, name) {
			path := fmt.Sprintf("%s.excluded%s[%d]", n.Path, field, i)
			d.ProblemAt(d.lines[path], 0, path, "%q is in included%s too; hint: leave it in one of the lists", name, field)
		}
	}
}
