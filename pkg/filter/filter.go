// Package filter decides what is in the selection of a backup or a restore:
// which kinds, which namespaces, which labels. It looks at names and labels
// only and makes no requests.
package filter

import (
	"fmt"
	"slices"

	"github.com/gobwas/glob"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Spec is a selection as a user writes it: the filter fields of a BackupSpec or
// RestoreSpec. Empty include lists mean everything.
type Spec struct {
	IncludedNamespaces, ExcludedNamespaces []string

	// The older family of resource filters.
	IncludedResources, ExcludedResources []string
	// IncludeClusterResources nil means: cluster-scoped kinds only when every
	// namespace is selected.
	IncludeClusterResources *bool

	// The newer family; never together with the older.
	IncludedClusterScopedResources, ExcludedClusterScopedResources     []string
	IncludedNamespaceScopedResources, ExcludedNamespaceScopedResources []string

	LabelSelector *metav1.LabelSelector
	// OrLabelSelectors: an object that matches one of them is selected.
	OrLabelSelectors []*metav1.LabelSelector
}

// Filter is a Spec made ready to ask. It is safe for concurrent use.
type Filter struct {
	spec       Spec
	namespaces list
	resources  list // older family
	cluster    list // newer family
	namespaced list
	older      bool
	selectors  []labels.Selector
}

// namespaceKind is selected whenever one of its objects is.
var namespaceKind = schema.GroupResource{Resource: "namespaces"}

// New prepares spec, which Validate has found without problems. resolve turns a
// name as typed (short name, singular, plural, with or without group) into a
// resource; names that it doesn't know are kept as they are.
func New(spec Spec, resolve func(string) (schema.GroupResource, bool)) (*Filter, error) {
	f := &Filter{spec: spec, older: spec.older()}
	for _, part := range []struct {
		to                 *list
		included, excluded []string
		resolve            func(string) (schema.GroupResource, bool)
	}{
		{&f.namespaces, spec.IncludedNamespaces, spec.ExcludedNamespaces, nil},
		{&f.resources, spec.IncludedResources, spec.ExcludedResources, resolve},
		{&f.cluster, spec.IncludedClusterScopedResources, spec.ExcludedClusterScopedResources, resolve},
		{&f.namespaced, spec.IncludedNamespaceScopedResources, spec.ExcludedNamespaceScopedResources, resolve},
	} {
		compiled, err := newList(part.included, part.excluded, part.resolve)
		if err != nil {
			return nil, err
		}
		*part.to = compiled
	}
	for _, s := range append(slices.Clone(spec.OrLabelSelectors), spec.LabelSelector) {
		if s == nil {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			return nil, fmt.Errorf("labelSelector: %w", err)
		}
		f.selectors = append(f.selectors, selector)
	}
	return f, nil
}

// AllNamespaces reports whether the selection leaves out no namespace.
func (f *Filter) AllNamespaces() bool { return f.namespaces.everything() }

// Namespace reports whether objects in the namespace are selected.
func (f *Filter) Namespace(name string) bool { return f.namespaces.matches(name) }

// LiteralNamespaces returns the included namespaces that were named without a
// pattern; nil when everything is included.
func (f *Filter) LiteralNamespaces() []string {
	var names []string
	for _, name := range f.spec.IncludedNamespaces {
		if !isPattern(name) && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Kind reports whether objects of the kind are selected by its name and scope.
//
// Where Velero's documentation and code differ the documented rule holds: a
// selection without any filter takes every cluster-scoped kind.
func (f *Filter) Kind(resource schema.GroupResource, namespaced bool) bool {
	if f.older {
		return f.olderKind(resource, namespaced)
	}
	name := resource.String()
	if namespaced {
		return f.namespaced.matches(name)
	}
	switch {
	case f.cluster.excludes(name):
		return false
	case resource == namespaceKind, len(f.spec.IncludedClusterScopedResources) > 0 && f.cluster.includes(name):
		return true
	}
	return len(f.spec.IncludedClusterScopedResources) == 0 && f.AllNamespaces() && f.namespaced.everything()
}

func (f *Filter) olderKind(resource schema.GroupResource, namespaced bool) bool {
	if !namespaced && resource != namespaceKind {
		switch want := f.spec.IncludeClusterResources; {
		case want != nil && !*want:
			return false
		case want == nil && !f.AllNamespaces():
			return false
		}
	}
	return f.resources.matches(resource.String())
}

// ClusterAdditional reports whether a cluster-scoped object that a selected
// object needs (a volume, a role) is taken although its kind isn't selected.
func (f *Filter) ClusterAdditional(resource schema.GroupResource) bool {
	name := resource.String()
	if !f.older {
		return !f.cluster.excludes(name)
	}
	if want := f.spec.IncludeClusterResources; want != nil && !*want {
		return false
	}
	return f.resources.matches(name)
}

// Excluded reports whether a cluster-scoped kind is left out by an explicit word
// of the user, so that not even objects that others need are taken.
func (f *Filter) Excluded(resource schema.GroupResource) bool {
	if !f.older {
		return f.cluster.excludes(resource.String())
	}
	want := f.spec.IncludeClusterResources
	return want != nil && !*want || f.resources.excludes(resource.String())
}

// Labels reports whether an object with these labels is selected.
func (f *Filter) Labels(set map[string]string) bool {
	if len(f.selectors) == 0 {
		return true
	}
	for _, selector := range f.selectors {
		if selector.Matches(labels.Set(set)) {
			return true
		}
	}
	return false
}

// HasLabels reports whether the selection looks at labels at all.
func (f *Filter) HasLabels() bool { return len(f.selectors) > 0 }

// Selector returns the label selector that the API server can apply, in the
// form of a list request; empty when there is none or more than one, so that
// Labels has to be asked.
func (f *Filter) Selector() string {
	if len(f.selectors) != 1 {
		return ""
	}
	return f.selectors[0].String()
}

func (s Spec) older() bool {
	return len(s.IncludedResources) > 0 || len(s.ExcludedResources) > 0 || s.IncludeClusterResources != nil
}

func (s Spec) newer() bool {
	return len(s.IncludedClusterScopedResources) > 0 || len(s.ExcludedClusterScopedResources) > 0 ||
		len(s.IncludedNamespaceScopedResources) > 0 || len(s.ExcludedNamespaceScopedResources) > 0
}

// list is a pair of include and exclude patterns.
type list struct {
	included, excluded []glob.Glob
	all                bool // nothing or "*" is included
}

func newList(included, excluded []string, resolve func(string) (schema.GroupResource, bool)) (list, error) {
	l := list{all: len(included) == 0 || slices.Contains(included, "*")}
	for _, part := range []struct {
		to    *[]glob.Glob
		names []string
	}{{&l.included, included}, {&l.excluded, excluded}} {
		for _, name := range part.names {
			if resolve != nil && !isPattern(name) {
				if gr, ok := resolve(name); ok {
					name = gr.String()
				}
			}
			g, err := glob.Compile(name)
			if err != nil {
				return list{}, fmt.Errorf("pattern %q: %w", name, err)
			}
			*part.to = append(*part.to, g)
		}
	}
	return l, nil
}

func (l list) everything() bool { return l.all && len(l.excluded) == 0 }

func (l list) includes(name string) bool { return l.all || matchesAny(l.included, name) }

func (l list) excludes(name string) bool { return matchesAny(l.excluded, name) }

func (l list) matches(name string) bool { return l.includes(name) && !l.excludes(name) }

func matchesAny(globs []glob.Glob, name string) bool {
	return slices.ContainsFunc(globs, func(g glob.Glob) bool { return g.Match(name) })
}
