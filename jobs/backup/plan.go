package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
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
	resources  *cluster.Resources
	filter     *filter.Filter
	namespaces map[string]namespace
	kinds      []cluster.Resource
	ours       ourselves
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
	p := &plan{resources: resources}
	if p.lister, err = cluster.NewLister(o.REST); err != nil {
		return nil, err
	}
	if p.filter, err = filter.New(selection(o.backup.Spec), resources.Resolve); err != nil {
		return nil, &run.Refusal{Problems: []string{err.Error()}}
	}
	if err := p.readNamespaces(ctx); err != nil {
		return nil, err
	}
	for _, name := range p.filter.LiteralNamespaces() {
		if _, exists := p.namespaces[name]; !exists {
			o.report.Add(report.Error, ref.Object{}, fmt.Errorf("namespace %q doesn't exist", name))
		}
	}
	if p.ours, err = o.ourselves(ctx); err != nil {
		return nil, err
	}
	p.kinds = p.selectKinds()
	o.Log.Info("planned", "kinds", len(p.kinds), "namespaces", len(p.namespaces))
	return p, nil
}

// resource returns a kind of the core group.
func (p *plan) resource(group, name string) (cluster.Resource, error) {
	res, ok := p.resources.Lookup(schema.GroupResource{Group: group, Resource: name})
	if !ok {
		return cluster.Resource{}, fmt.Errorf("the cluster doesn't serve %s", schema.GroupResource{Group: group, Resource: name})
	}
	return res, nil
}

func (p *plan) readNamespaces(ctx context.Context) error {
	res, err := p.resource("", "namespaces")
	if err != nil {
		return err
	}
	p.namespaces = map[string]namespace{}
	return p.lister.List(ctx, res, cluster.ListOptions{}, func(raw []byte) error {
		var ns corev1.Namespace
		if err := json.Unmarshal(raw, &ns); err != nil {
			return fmt.Errorf("decode namespace: %w", err)
		}
		p.namespaces[ns.Name] = namespace{labels: ns.Labels, active: ns.Status.Phase == corev1.NamespaceActive}
		return nil
	})
}

// selects reports whether objects in the namespace are wanted: it is in the
// selection, and its owner hasn't labelled it as not to be backed up.
func (p *plan) selects(name string) bool {
	return p.filter.Namespace(name) && p.namespaces[name].labels[velerov1.ExcludeFromBackupLabel] != "true"
}

// selectsNamespaceObject reports whether the Namespace itself is wanted whether
// or not something in it is.
func (p *plan) selectsNamespaceObject(name string) bool {
	if !p.selects(name) || !p.namespaces[name].active {
		return false
	}
	if !p.filter.HasLabels() {
		return true
	}
	return p.filter.Labels(p.namespaces[name].labels) || !p.filter.AllNamespaces()
}

// listed returns the namespaces to list one by one; nil when one list over all
// is better.
func (p *plan) listed() []string {
	names := []string{} // none is a choice too
	for name := range p.namespaces {
		if p.selects(name) {
			names = append(names, name)
		}
	}
	if len(names) == len(p.namespaces) || len(names) > maxNamespaceLists {
		return nil
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

func (p *plan) shadowed(res cluster.Resource) bool {
	return slices.ContainsFunc(cohabitants, func(pair [2]string) bool {
		_, other := p.resources.Lookup(schema.ParseGroupResource(pair[0]))
		return other && pair[1] == res.GroupResource().String()
	})
}

// selectKinds returns the selected kinds in the order of a restore.
func (p *plan) selectKinds() []cluster.Resource {
	var kinds []cluster.Resource
	for _, res := range p.resources.All() {
		name := res.GroupResource().String()
		switch {
		case !res.Can("list", "create", "get", "delete"), p.shadowed(res):
		case name == volumeSnapshots, name == volumeSnapshotContents:
		case p.filter.Kind(res.GroupResource(), res.Namespaced):
			kinds = append(kinds, res)
		}
	}
	waves := cluster.Waves()
	slices.SortStableFunc(kinds, func(a, b cluster.Resource) int {
		return cmp.Or(
			cmp.Compare(cluster.WaveOf(waves, a.GroupResource()), cluster.WaveOf(waves, b.GroupResource())),
			cmp.Compare(a.GroupResource().String(), b.GroupResource().String()),
		)
	})
	return kinds
}
