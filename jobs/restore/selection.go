package restore

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// selection decides which objects of an archive are restored. It is safe for
// concurrent reads.
type selection struct {
	*filter.Filter
	// objects decides by name; nil restricts nothing.
	objects *filter.Objects
	// needed are objects that come along with selected ones.
	needed map[transform.Place]bool
}

// newSelection prepares what the request selects among the kinds that resolve
// knows.
func newSelection(r request, resolve filter.ScopeResolver) (*selection, error) {
	chosen, err := filter.NewScoped(r.selection, resolve)
	if err != nil {
		return nil, &run.Refusal{Problems: run.Problems(err)}
	}
	objects, err := filter.NewObjects(r.include, r.exclude, resolve)
	if err != nil {
		return nil, &run.Refusal{Problems: run.Problems(err)}
	}
	return &selection{Filter: chosen, objects: objects, needed: map[transform.Place]bool{}}, nil
}

// surveys reports whether the selection can leave out objects by their names,
// labels or scope that selected objects need, so that those have to be looked
// for.
func (s *selection) surveys(includeClusterResources *bool) bool {
	return s.HasLabels() || s.objects.AnyIncluded() || (!s.AllNamespaces() && includeClusterResources == nil)
}

// kind reports whether objects of a kind are selected, as far as that tells.
func (s *selection) kind(resource schema.GroupResource, namespaced bool) bool {
	return s.Kind(resource, namespaced) && !filter.NonRestorable(resource.String())
}

// within reports whether an object is selected by its kind and namespace, and
// not excluded by name.
func (s *selection) within(p transform.Place) bool {
	switch {
	case p.Namespace != "" && !s.Namespace(p.Namespace):
		return false
	case p.Resource == namespaceKind && !s.Namespace(p.Name):
		return false
	}
	return s.kind(p.Resource, p.Namespace != "") && !s.objects.Excludes(p.Resource, p.Namespace, p.Name)
}

// place reports whether an object may be selected, as far as its kind, scope,
// namespace and name tell.
func (s *selection) place(p transform.Place) bool {
	return s.needed[p] || s.within(p) && s.objects.Includes(p.Resource, p.Namespace, p.Name)
}

// object reports whether an object that place has let pass is selected.
func (s *selection) object(p transform.Place, labels map[string]string) bool {
	return s.needed[p] || s.Labels(labels)
}

// canNeed reports whether an object may need others: it is selected, as far as
// within tells, or a snapshot whatever the filters say of that kind, since it may be
// needed itself.
func (s *selection) canNeed(p transform.Place) bool {
	if p.Resource == transform.VolumeSnapshots {
		return s.Namespace(p.Namespace) && !s.objects.Excludes(p.Resource, p.Namespace, p.Name)
	}
	return s.within(p)
}

// need notes an object that a selected one needs and reports whether that is news.
// It can't overrule a filter by kind or namespace; but a snapshot comes with the
// claim whose data it has, and its content with it, as in Velero.
func (s *selection) need(p transform.Place) bool {
	var comes bool
	switch {
	case p.Resource == transform.VolumeSnapshotContents:
		comes = !s.objects.Excludes(p.Resource, "", p.Name)
	case p.Namespace == "":
		comes = s.ClusterAdditional(p.Resource) && !filter.NonRestorable(p.Resource.String()) && !s.objects.Excludes(p.Resource, "", p.Name)
	default:
		comes = s.canNeed(p)
	}
	news := comes && !s.needed[p]
	if news {
		s.needed[p] = true
	}
	return news
}

// follow notes what needed objects need themselves.
func (s *selection) follow(needs map[transform.Place][]transform.Place) {
	for left := slices.Collect(maps.Keys(s.needed)); len(left) > 0; {
		p := left[len(left)-1]
		left = left[:len(left)-1]
		for _, need := range needs[p] {
			if s.need(need) {
				left = append(left, need)
			}
		}
	}
}

// needs reports whether an object of the kind is needed.
func (s *selection) needs(resource schema.GroupResource) bool {
	for p := range s.needed {
		if p.Resource == resource {
			return true
		}
	}
	return false
}

// choose makes the selection from what the Restore asks for.
func (o *operation) choose() error {
	var err error
	if o.selection, err = newSelection(o.request, o.resolveScoped); err != nil {
		return err
	}
	for _, text := range slices.Concat(o.selection.Unknown(), o.selection.WrongScope()) {
		o.report.Add(report.Warning, ref.Object{}, errors.New(text))
	}
	o.waves, err = o.prioritize()
	return err
}

// prioritize is the order of the waves, with the Restore's own wishes.
func (o *operation) prioritize() ([]cluster.Wave, error) {
	resolveAll := func(names []string) ([]schema.GroupResource, error) {
		var resources []schema.GroupResource
		for _, name := range names {
			resource, ok := o.resolve(name)
			if !ok {
				return nil, refuse("restore-resource-priorities: neither the cluster nor the backup has a kind %q", name)
			}
			resources = append(resources, resource)
		}
		return resources, nil
	}
	high, err := resolveAll(o.request.high)
	if err != nil {
		return nil, err
	}
	low, err := resolveAll(o.request.low)
	if err != nil {
		return nil, err
	}
	return cluster.WavesWith(high, low), nil
}

// resolve finds a kind by its name in a filter: one of the cluster's, or one
// that the archive brings.
func (o *operation) resolve(name string) (schema.GroupResource, bool) {
	resource, _, ok := o.resolveScoped(name)
	return resource, ok
}

func (o *operation) resolveScoped(name string) (resource schema.GroupResource, namespaced, ok bool) {
	if resource, ok = o.served.Resolve(name); ok {
		served, _ := o.served.Lookup(resource)
		return resource, served.Namespaced, true
	}
	return o.contents.resolve(name)
}

// needable are the kinds that others need.
var needable = []schema.GroupResource{
	transform.Claims, transform.PersistentVolumes, transform.VolumeSnapshots, transform.VolumeSnapshotContents, transform.PriorityClasses,
}

// touches reports whether the member of an archive can hold objects that are
// selected or, as long as they are looked for, needed by selected ones.
func (o *operation) touches(m archive.Member, surveying bool) bool {
	s, resource := o.selection, schema.ParseGroupResource(m.Resource)
	version := o.versions[resource]
	switch {
	case m.Resource == "":
		return false
	case version == "" && !m.Preferred || version != "" && m.Version != version:
		return false
	case resource == namespaceKind, resource == definitions && o.lacksKinds, s.needs(resource):
		return true
	case surveying && slices.Contains(needable, resource):
		return true
	}
	first, _, namespaced := strings.Cut(m.First, "/")
	if !s.kind(resource, namespaced) {
		return false
	}
	last, _, _ := strings.Cut(m.Last, "/")
	return s.objects.Between(resource, m.First, m.Last) && (!namespaced || o.anyNamespace(first, last))
}

// anyNamespace reports whether a selected namespace can lie between two others.
func (o *operation) anyNamespace(first, last string) bool {
	if first == last {
		return o.selection.Namespace(first)
	}
	included := o.request.selection.IncludedNamespaces
	return len(included) == 0 || slices.ContainsFunc(included, func(name string) bool {
		return filter.IsPattern(name) || first <= name && name <= last
	})
}

// unfound says which of the objects that are selected by their full names the
// archive doesn't have.
func (o *operation) unfound(seen map[transform.Place]bool) error {
	var problems []string
	for _, pattern := range o.request.include {
		if filter.IsPattern(pattern.Namespace) || filter.IsPattern(pattern.Name) {
			continue
		}
		resource, _ := o.resolve(pattern.Kind)
		if !seen[transform.Place{Resource: resource, Namespace: pattern.Namespace, Name: pattern.Name}] {
			problems = append(problems, fmt.Sprintf("include-objects: %s is not in backup %q, or other filters leave it out; hint: kubectl velero backup contents %s",
				pattern, o.source.backup.Name, o.source.backup.Name))
		}
	}
	if len(problems) > 0 {
		return &run.Refusal{Problems: problems}
	}
	return nil
}
