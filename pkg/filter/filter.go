// Package filter decides what is in the selection of a backup or a restore:
// which kinds, which namespaces, which labels. It looks at names and labels
// only and makes no requests.
package filter

import (
	"fmt"
	"slices"

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

	// LabelledNamespaces are those whose owners want them left out of backups.
	// Nothing in them is selected, as if they were excluded, but they don't turn
	// a selection of everything into one of some namespaces; not even when they
	// stand in ExcludedNamespaces too, where Velero writes them.
	LabelledNamespaces []string
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
	live       []string // namespaces of the cluster, when they are known
	mistakes   kinds
}

// namespaceKind is selected whenever one of its objects is.
var namespaceKind = schema.GroupResource{Resource: "namespaces"}

// New prepares spec, which Validate has found without problems. resolve turns a
// name as typed (short name, singular, plural, with or without group) into a
// resource; names that it doesn't know are kept as they are.
func New(spec Spec, resolve func(string) (schema.GroupResource, bool)) (*Filter, error) {
	f := &Filter{spec: spec, older: spec.Older()}
	kind := func(name string) (string, bool) {
		if gr, ok := resolve(name); ok {
			return gr.String(), true
		}
		return name, false
	}
	namespace := func(name string) (string, bool) {
		return name, name != "" && !slices.Contains(spec.LabelledNamespaces, name)
	}
	excluded := slices.Concat(spec.ExcludedNamespaces, spec.LabelledNamespaces)
	for _, part := range []struct {
		to                 *list
		included, excluded []string
		resolve            resolver
	}{
		{&f.namespaces, spec.IncludedNamespaces, excluded, namespace},
		{&f.resources, spec.IncludedResources, spec.ExcludedResources, kind},
		{&f.cluster, spec.IncludedClusterScopedResources, spec.ExcludedClusterScopedResources, kind},
		{&f.namespaced, spec.IncludedNamespaceScopedResources, spec.ExcludedNamespaceScopedResources, kind},
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

// NewScoped is New for a cluster whose kinds are known with their scope: the
// Filter can then tell the names that have no effect (Unknown, WrongScope), and
// such a name in an exclude list doesn't narrow a selection of everything.
func NewScoped(spec Spec, resolve ScopeResolver) (*Filter, error) {
	var mistakes kinds
	for _, part := range []struct {
		field string
		names []string
		want  scope
	}{
		{"includedResources", spec.IncludedResources, anyScope},
		{"excludedResources", spec.ExcludedResources, anyScope},
		{"includedClusterScopedResources", spec.IncludedClusterScopedResources, clusterScope},
		{"excludedClusterScopedResources", spec.ExcludedClusterScopedResources, clusterScope},
		{"includedNamespaceScopedResources", spec.IncludedNamespaceScopedResources, namespaceScope},
		{"excludedNamespaceScopedResources", spec.ExcludedNamespaceScopedResources, namespaceScope},
	} {
		mistakes.check(part.field, part.names, part.want, resolve)
	}
	narrowed := spec
	narrowed.ExcludedNamespaceScopedResources = slices.DeleteFunc(slices.Clone(spec.ExcludedNamespaceScopedResources), func(name string) bool {
		_, namespaced, ok := resolve(name)
		return ok && !namespaced && !isPattern(name)
	})
	f, err := New(narrowed, func(name string) (schema.GroupResource, bool) {
		gr, _, ok := resolve(name)
		return gr, ok
	})
	if err != nil {
		return nil, err
	}
	f.mistakes = mistakes
	return f, nil
}

// Unknown returns a text for each name in the lists of kinds that the cluster
// doesn't serve: it selects or excludes nothing. Only NewScoped looks for them.
func (f *Filter) Unknown() []string { return f.mistakes.unknown }

// WrongScope returns a text for each name in a list of the newer family that is
// of the other scope, which selects or excludes nothing; Velero passes over it
// in silence. Only NewScoped looks for them.
func (f *Filter) WrongScope() []string { return f.mistakes.wrongScope }

// Among returns a Filter that knows the namespaces of the cluster. Names or
// patterns that include each of them are then as good as no namespace filter,
// as in Velero.
func (f *Filter) Among(namespaces []string) *Filter {
	known := *f
	known.live = slices.Clone(namespaces)
	return &known
}

// AllNamespaces reports whether the selection leaves out no namespace, other
// than LabelledNamespaces.
func (f *Filter) AllNamespaces() bool {
	if f.namespaces.partial {
		return false
	}
	return f.namespaces.all || len(f.live) > 0 && !slices.ContainsFunc(f.live, func(name string) bool {
		return !f.namespaces.includes(name) && !slices.Contains(f.spec.LabelledNamespaces, name)
	})
}

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
// selection without any filter takes every cluster-scoped kind, and excluding
// some cluster-scoped kinds leaves the others in.
func (f *Filter) Kind(resource schema.GroupResource, namespaced bool) bool {
	if f.older {
		return f.olderKind(resource, namespaced)
	}
	name := resource.String()
	if namespaced {
		return f.namespaced.matches(name)
	}
	switch {
	case f.excludesCluster(resource):
		return false
	case resource == namespaceKind, len(f.spec.IncludedClusterScopedResources) > 0 && f.cluster.includes(name):
		return true
	}
	return len(f.spec.IncludedClusterScopedResources) == 0 && f.AllNamespaces() && f.namespaced.everything()
}

// excludesCluster reports whether the newer family excludes a cluster-scoped
// kind. Namespaces go with what is in them, so "*" doesn't mean them; they can
// be excluded by name.
func (f *Filter) excludesCluster(resource schema.GroupResource) bool {
	if resource == namespaceKind && slices.Contains(f.spec.ExcludedClusterScopedResources, "*") {
		return false
	}
	return f.cluster.excludes(resource.String())
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
		return !f.excludesCluster(resource)
	}
	if want := f.spec.IncludeClusterResources; want != nil {
		return *want && !f.resources.excludes(name)
	}
	return f.resources.matches(name)
}

// Excluded reports whether a cluster-scoped kind is left out by an explicit word
// of the user, so that not even objects that others need are taken.
func (f *Filter) Excluded(resource schema.GroupResource) bool {
	if !f.older {
		return f.excludesCluster(resource)
	}
	want := f.spec.IncludeClusterResources
	return want != nil && !*want || f.resources.excludes(resource.String())
}

// ExcludedNamespaced reports whether a namespaced kind is left out by an explicit
// word of the user.
func (f *Filter) ExcludedNamespaced(resource schema.GroupResource) bool {
	if !f.older {
		return f.namespaced.excludes(resource.String())
	}
	return f.resources.excludes(resource.String())
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

// Older reports whether s uses the older family of resource filters.
func (s Spec) Older() bool { return len(s.OlderFields()) > 0 }
