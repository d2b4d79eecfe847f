package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// maxNamespaceLists is the number of selected namespaces up to which each is
// listed by itself; with more, one list over all namespaces costs less.
const maxNamespaceLists = 16

// namespace is what the plan knows about one namespace.
type namespace struct {
	labels map[string]string
	active bool
}

// plan is what will be listed, in the order in which a restore wants it.
type plan struct {
	lister     *cluster.Lister
	filter     *filter.Filter
	objects    *filter.Objects
	namespaces map[string]namespace
	// kinds are all that the cluster serves.
	kinds []*kind
	// ordered holds the objects that the spec puts in order.
	ordered map[schema.GroupResource][]place
}

// plan looks at what the cluster serves and holds.
func (o *operation) plan(ctx context.Context) (*plan, error) {
	resources, err := cluster.Discover(o.Discovery)
	if err != nil {
		return nil, err
	}
	for gv, err := range resources.Failed {
		o.report.Add(report.Error, ref.Object{}, fmt.Errorf("discover group version %s: its objects are not in this backup: %w", gv, err))
	}
	p := &plan{}
	if p.lister, err = cluster.NewLister(o.REST); err != nil {
		return nil, err
	}
	if err := o.resolve(p, resources); err != nil {
		return nil, err
	}
	if err := p.readNamespaces(ctx, resources); err != nil {
		return nil, err
	}
	p.filter = p.filter.Among(slices.Collect(maps.Keys(p.namespaces)))
	for _, name := range p.filter.LiteralNamespaces() {
		if _, exists := p.namespaces[name]; !exists {
			o.report.Add(report.Error, ref.Object{}, fmt.Errorf("namespace %q doesn't exist", name))
		}
	}
	p.kinds = slices.Concat(p.allKinds(resources, o.HasFeature(run.FeatureAPIGroupVersions)), undiscovered(resources))
	o.Log.Info("planned", "kinds", len(p.kinds), "namespaces", len(p.namespaces))
	return p, nil
}

func (p *plan) readNamespaces(ctx context.Context, resources *cluster.Resources) error {
	res, ok := resources.Lookup(namespaceResource)
	if !ok {
		return errors.New("the cluster doesn't serve namespaces")
	}
	p.namespaces = map[string]namespace{}
	return p.lister.List(ctx, res, cluster.ListOptions{}, func(obj cluster.Object) error {
		var ns struct {
			Status corev1.NamespaceStatus `json:"status"`
		}
		if err := json.Unmarshal(obj.Raw, &ns); err != nil {
			return fmt.Errorf("decode namespace: %w", err)
		}
		p.namespaces[obj.Name] = namespace{labels: obj.Labels, active: ns.Status.Phase == corev1.NamespaceActive}
		return nil
	})
}

func isNamespaces(gr schema.GroupResource) bool { return gr == namespaceResource }

// narrowed reports whether the selection takes single objects of a kind.
func (p *plan) narrowed() bool { return p.filter.HasLabels() || p.objects.AnyIncluded() }

// labelledOut reports whether the owner of a namespace wants nothing of it to
// be backed up.
func (p *plan) labelledOut(name string) bool {
	return p.namespaces[name].labels[velerov1.ExcludeFromBackupLabel] == "true"
}

func (p *plan) labelledOutNamespaces() []string {
	var names []string
	for name := range p.namespaces {
		if p.labelledOut(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// selects reports whether objects in the namespace are wanted.
func (p *plan) selects(name string) bool { return p.filter.Namespace(name) && !p.labelledOut(name) }

// unselectedNamespace tells why the Namespace itself isn't wanted by itself;
// with something in it that is stored it comes along all the same.
func (p *plan) unselectedNamespace(name string) string {
	switch {
	case p.labelledOut(name):
		return reasonNamespaceLabel
	case !p.filter.Namespace(name):
		return reasonNamespace
	case !p.namespaces[name].active:
		return reasonNotActive
	case !p.objects.Includes(namespaceResource, "", name):
		return reasonNotIncluded
	case p.filter.HasLabels() && p.filter.AllNamespaces() && !p.filter.Labels(p.namespaces[name].labels):
		return reasonLabels
	}
	return ""
}

// listedNamespaces returns the namespaces in which to list a kind; the empty
// name is all at once, which with many is better.
func (p *plan) listedNamespaces(k *kind) []string {
	if !k.Namespaced {
		return []string{""}
	}
	var names []string
	for name := range p.namespaces {
		if p.selects(name) && p.objects.Namespace(k.GroupResource(), name) {
			names = append(names, name)
		}
	}
	if len(names) == len(p.namespaces) || len(names) > maxNamespaceLists {
		return []string{""}
	}
	slices.Sort(names)
	return names
}

// cohabitants are kinds that show the same objects in two groups; they are
// stored once, in the group named first.
var cohabitants = [][2]string{
	{"events", "events.events.k8s.io"},
	{"deployments.apps", "deployments.extensions"},
	{"daemonsets.apps", "daemonsets.extensions"},
	{"replicasets.apps", "replicasets.extensions"},
	{"networkpolicies.networking.k8s.io", "networkpolicies.extensions"},
}

// twin returns the kind that shows the same objects and decides about them: it
// is selected, or the user excluded it. Empty when there is none.
func (p *plan) twin(gr schema.GroupResource, resources *cluster.Resources) string {
	for _, pair := range cohabitants {
		if pair[1] != gr.String() {
			continue
		}
		first := schema.ParseGroupResource(pair[0])
		res, served := resources.Lookup(first)
		if served && (p.selectsKind(first, res.Namespaced) || p.filter.ExcludedNamespaced(first)) {
			return pair[0]
		}
	}
	return ""
}

func (p *plan) selectsKind(gr schema.GroupResource, namespaced bool) bool {
	return p.filter.Kind(gr, namespaced) && p.objects.Kind(gr)
}

// allKinds returns every kind that the cluster serves in the order of a restore,
// and says which are wanted.
func (p *plan) allKinds(resources *cluster.Resources, everyVersion bool) []*kind {
	var kinds []*kind
	for _, res := range resources.All() {
		versions := []cluster.Resource{res}
		if everyVersion {
			versions = resources.Versions(res.GroupResource())
		}
		for i, version := range versions {
			k := newKind(version, i == 0)
			p.choose(k, p.twin(res.GroupResource(), resources))
			kinds = append(kinds, k)
		}
	}
	waves := cluster.Waves()
	slices.SortStableFunc(kinds, func(a, b *kind) int {
		return cmp.Or(
			cmp.Compare(cluster.WaveOf(waves, a.GroupResource()), cluster.WaveOf(waves, b.GroupResource())),
			cmp.Compare(a.GroupResource().String(), b.GroupResource().String()),
		)
	})
	return kinds
}

// undiscovered stands in for the kinds of groups whose discovery failed.
func undiscovered(resources *cluster.Resources) []*kind {
	var kinds []*kind
	for gv, err := range resources.Failed {
		k := newKind(cluster.Resource{GroupVersionResource: gv.WithResource("*")}, false)
		kinds = append(kinds, k.state(report.KindFailed, "discovery: "+err.Error()))
	}
	return kinds
}

// choose decides whether a kind is listed, and says why not.
func (p *plan) choose(k *kind, twin string) {
	gr := k.GroupResource()
	switch {
	case !k.Can("list", "create", "get", "delete"):
		k.state(report.KindNotListable, "it has no objects that could be listed, created, read and deleted")
	case twin != "":
		k.state(report.KindNotListable, "shows the same objects as "+twin)
	case slices.Contains(takenResources(), gr):
		k.state(report.KindExcluded, "only the snapshots of this backup itself belong to it")
	case !p.selectsKind(gr, k.Namespaced):
		k.state(report.KindExcluded, "not selected")
	default:
		k.wanted = true
		k.state(report.KindListed, "")
	}
}
