package restore

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// plan is what a restore is about to do, known before anything is written.
type plan struct {
	// Total is the number of objects, before labels are looked at.
	Total int
	// Waves says of each wave whether it may have anything to do.
	Waves []bool
	// Namespaces are those of the backup that have selected objects.
	Namespaces []string
	// Missing are the selected kinds that the cluster doesn't serve and that no
	// CustomResourceDefinition of the archive brings.
	Missing []*kind
}

// newPlan makes the plan. It adds to the selection the definitions of selected
// custom resources that the cluster lacks.
func newPlan(c *contents, s *selection, served *cluster.Resources, all []cluster.Wave) plan {
	p := plan{Waves: make([]bool, len(all))}
	for _, k := range c.all() {
		count := s.count(k, &p.Namespaces)
		if count == 0 {
			continue
		}
		p.Total += count
		p.Waves[cluster.WaveOf(all, k.Resource)] = true
		if _, ok := find(served, k.Resource, k.Version, k.Namespaced()); ok {
			continue
		}
		// A kind that is there in other versions keeps its definition.
		if _, known := served.Lookup(k.Resource); known || !s.defines(c, k.Resource) {
			p.Missing = append(p.Missing, k)
		}
	}
	s.bringNeeded(c, served)
	for place := range s.needed {
		p.Waves[cluster.WaveOf(all, place.Resource)] = true
		if !s.kind(place.Resource, place.Namespace != "") || !s.objects.Includes(place.Resource, place.Namespace, place.Name) {
			p.Total++
		}
	}
	p.Waves[0] = p.Waves[0] || p.Total > 0 // for the archived Namespaces
	slices.Sort(p.Namespaces)
	p.Namespaces = slices.Compact(p.Namespaces)
	return p
}

// count is the number of objects of a kind that are selected by kind and
// namespace; their namespaces are added to the list.
func (s *selection) count(k *kind, namespaces *[]string) int {
	n := 0
	if !s.objects.Kind(k.Resource) {
		return 0
	}
	for namespace, count := range k.Count {
		if namespace == "" {
			if s.kind(k.Resource, false) {
				n += count
			}
			continue
		}
		if s.kind(k.Resource, true) && s.Namespace(namespace) {
			n += count
			*namespaces = append(*namespaces, namespace)
		}
	}
	return n
}

// bringNeeded adds to the selection the definitions of needed objects whose kinds the
// cluster lacks: the filters may leave out all others of such a kind.
func (s *selection) bringNeeded(c *contents, served *cluster.Resources) {
	kinds := map[schema.GroupResource]bool{}
	for place := range s.needed {
		kinds[place.Resource] = true
	}
	for resource := range kinds {
		if _, known := served.Lookup(resource); !known {
			s.defines(c, resource)
		}
	}
}

// defines reports whether the archive's definition of a kind is restored, and
// sees to it that it is when the filters leave that open.
func (s *selection) defines(c *contents, resource schema.GroupResource) bool {
	if slices.Contains(c.definitions, resource.String()) {
		s.need(definitionOf(resource))
	}
	return s.brings(c, resource)
}

// brings reports whether the archive's definition of a kind is restored.
func (s *selection) brings(c *contents, resource schema.GroupResource) bool {
	return slices.Contains(c.definitions, resource.String()) && s.place(definitionOf(resource))
}

func definitionOf(resource schema.GroupResource) transform.Place {
	return transform.Place{Resource: definitions, Name: resource.String()}
}

// sameFields are versions whose objects can be restored in another, that has the same
// fields: CSI snapshots of Velero before 1.9, which clusters don't serve any more.
var sameFields = map[schema.GroupVersion]string{
	{Group: transform.VolumeSnapshots.Group, Version: "v1beta1"}: "v1",
}

// find returns the resource as which the cluster serves a kind in exactly this
// version, or one with the same fields. Of a group that couldn't be discovered it is
// assumed to.
func find(served *cluster.Resources, resource schema.GroupResource, version string, namespaced bool) (cluster.Resource, bool) {
	gvr := resource.WithVersion(version)
	if _, unknown := served.Failed[gvr.GroupVersion()]; unknown {
		return cluster.Resource{GroupVersionResource: gvr, Namespaced: namespaced}, true
	}
	res, ok := served.Lookup(resource)
	if other := sameFields[gvr.GroupVersion()]; other != "" && !slices.Contains(served.Served(resource), version) {
		version = other
	}
	if !ok || !slices.Contains(served.Served(resource), version) {
		return cluster.Resource{}, false
	}
	res.Version = version
	return res, true
}

// missing says that the cluster doesn't serve a kind, and what it does serve.
func missing(served *cluster.Resources, resource schema.GroupResource, version, kindName string) string {
	text := fmt.Sprintf("the cluster doesn't serve %s in version %s", resource, version)
	if versions := served.Served(resource); len(versions) > 0 {
		return text + ", only in " + strings.Join(versions, ", ")
	}
	for _, res := range served.All() {
		if res.Kind == kindName && kindName != "" {
			return fmt.Sprintf("%s; it has %s as %s/%s", text, kindName, res.GroupResource(), res.Version)
		}
	}
	return text + ", nor in any other"
}
