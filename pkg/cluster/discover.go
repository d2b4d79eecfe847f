// Package cluster reads and writes the objects of a cluster: which kinds it
// serves, their objects page by page, and one object at a time. It keeps
// nothing; every operation begins with a fresh look.
package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// Resource is one kind that the cluster serves.
type Resource struct {
	schema.GroupVersionResource
	Kind       string
	Singular   string
	ShortNames []string
	Namespaced bool
	// Preferred says that the version is the preferred one of its group. A kind
	// that the preferred version lacks is found in another version of the group.
	Preferred bool
	Verbs     []string
}

// GroupVersionKind returns the resource's group, version and kind.
func (r Resource) GroupVersionKind() schema.GroupVersionKind {
	return r.GroupVersion().WithKind(r.Kind)
}

// Can reports whether the resource supports every one of the verbs.
func (r Resource) Can(verbs ...string) bool {
	return !slices.ContainsFunc(verbs, func(verb string) bool { return !slices.Contains(r.Verbs, verb) })
}

// Resources is what discovery found. It is safe for concurrent reads.
type Resources struct {
	// Failed holds the group versions that couldn't be discovered, an
	// aggregated API server that is down for example, and why.
	Failed map[schema.GroupVersion]error

	all     []Resource
	byName  map[schema.GroupResource]int
	aliases map[string]schema.GroupResource
	served  map[schema.GroupResource][]Resource
}

// Discover asks the API server for every kind that it serves, each in the
// preferred version of its group. An error means that nothing is known; group
// versions that failed alone are in Resources.Failed.
func Discover(client discovery.DiscoveryInterface) (*Resources, error) {
	groups, lists, err := client.ServerGroupsAndResources()
	failed := map[schema.GroupVersion]error{}
	var partial *discovery.ErrGroupDiscoveryFailed
	switch {
	case errors.As(err, &partial):
		failed = partial.Groups
	case err != nil:
		return nil, fmt.Errorf("discover the cluster's kinds: %w", err)
	}
	found := &Resources{
		Failed:  failed,
		byName:  map[schema.GroupResource]int{},
		aliases: map[string]schema.GroupResource{},
		served:  map[schema.GroupResource][]Resource{},
	}
	byVersion := map[string]*metav1.APIResourceList{}
	for _, list := range lists {
		byVersion[list.GroupVersion] = list
	}
	for _, group := range groups {
		for i, version := range preferredFirst(group) {
			if list := byVersion[version.GroupVersion]; list != nil {
				if err := found.addVersion(list, i == 0); err != nil {
					return nil, err
				}
			}
		}
	}
	found.addAliases()
	return found, nil
}

func preferredFirst(group *metav1.APIGroup) []metav1.GroupVersionForDiscovery {
	versions := slices.Clone(group.Versions)
	slices.SortStableFunc(versions, func(a, b metav1.GroupVersionForDiscovery) int {
		return cmp.Compare(rank(a, group), rank(b, group))
	})
	return versions
}

func rank(version metav1.GroupVersionForDiscovery, group *metav1.APIGroup) int {
	if version.GroupVersion == group.PreferredVersion.GroupVersion {
		return 0
	}
	return 1
}

func (r *Resources) addVersion(list *metav1.APIResourceList, preferred bool) error {
	gv, err := schema.ParseGroupVersion(list.GroupVersion)
	if err != nil {
		return fmt.Errorf("discover the cluster's kinds: %w", err)
	}
	for _, api := range list.APIResources {
		if strings.Contains(api.Name, "/") { // a subresource
			continue
		}
		gr := schema.GroupResource{Group: gv.Group, Resource: api.Name}
		res := Resource{
			GroupVersionResource: gr.WithVersion(gv.Version),
			Kind:                 api.Kind,
			Singular:             api.SingularName,
			ShortNames:           api.ShortNames,
			Namespaced:           api.Namespaced,
			Preferred:            preferred,
			Verbs:                api.Verbs,
		}
		r.served[gr] = append(r.served[gr], res)
		if _, known := r.byName[gr]; !known {
			r.byName[gr] = len(r.all)
			r.all = append(r.all, res)
		}
	}
	return nil
}

// addAliases lets every kind be found by each of its names. Where two groups
// have the same name the one that discovery lists first wins, as in kubectl.
func (r *Resources) addAliases() {
	for _, res := range r.all {
		gr := res.GroupResource()
		names := append([]string{res.Resource, res.Singular, strings.ToLower(res.Kind)}, res.ShortNames...)
		for _, name := range names {
			if name == "" {
				continue
			}
			for _, alias := range []string{name, name + "." + res.Group, name + "." + res.Version + "." + res.Group} {
				if _, taken := r.aliases[alias]; !taken {
					r.aliases[alias] = gr
				}
			}
		}
	}
}

// All returns every kind once, in the order of discovery.
func (r *Resources) All() []Resource { return r.all }

// Lookup returns the kind with this exact group and plural name.
func (r *Resources) Lookup(gr schema.GroupResource) (Resource, bool) {
	i, ok := r.byName[gr]
	if !ok {
		return Resource{}, false
	}
	return r.all[i], true
}

// Served returns every version in which the cluster serves gr, the preferred
// first; nil when it doesn't serve it.
func (r *Resources) Served(gr schema.GroupResource) []string {
	var versions []string
	for _, res := range r.served[gr] {
		versions = append(versions, res.Version)
	}
	return versions
}

// Versions returns the kind as each of its versions serves it, the one that
// Lookup returns first.
func (r *Resources) Versions(gr schema.GroupResource) []Resource { return r.served[gr] }

// Resolve turns a name as a user types it (plural, singular, short name, with
// or without group) into the kind's group and plural name.
func (r *Resources) Resolve(name string) (schema.GroupResource, bool) {
	gr, ok := r.aliases[strings.ToLower(name)]
	return gr, ok
}
