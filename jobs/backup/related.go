package backup

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

var errNeeded = errors.New("a stored object needs it, but it doesn't exist")

// related stores what the selected objects need and the selection itself left
// out, beside pods and claims: volumes of claims, roles of service accounts and
// priority classes. Each kind is listed a fixed number of times, however many
// objects are needed.
func (c *collector) related(ctx context.Context) error {
	return inOrder(ctx, c.neededVolumes, c.hiddenVolumes, c.neededPriorityClasses, c.neededRoles)
}

// relatedToAll stores what goes with the stored objects whatever they are: the
// definitions of custom resources, and namespaces.
func (c *collector) relatedToAll(ctx context.Context) error {
	return inOrder(ctx, c.neededDefinitions, c.neededNamespaces)
}

// inOrder carries out steps until one fails.
func inOrder(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pick lists a kind and stores the objects that want accepts and that aren't
// stored yet. It returns those that exist. A kind that isn't served has none.
func (c *collector) pick(ctx context.Context, gr schema.GroupResource, namespaces []string, want func(cluster.Object) bool) (places, error) {
	exist := places{}
	for _, k := range c.versions(gr) {
		taker := c.taker(k)
		for _, ns := range namespaces {
			err := c.visitAll(ctx, k, cluster.ListOptions{Namespace: ns, OnStale: func() { c.stale(k) }}, func(obj cluster.Object) error {
				if c.needs.have[gr][placeOf(obj)] && k.preferred || !want(obj) {
					return nil
				}
				exist[placeOf(obj)] = true
				k.coverage.Related++
				if reason := c.barred(k, obj); reason != "" {
					c.skip(ctx, k, placeOf(obj), reason)
					return nil
				}
				return taker.take(ctx, obj, false)
			})
			if err != nil {
				return nil, err
			}
		}
		if err := errors.Join(taker.end(ctx), k.close()); err != nil {
			return nil, err
		}
	}
	return exist, nil
}

// versions returns the kinds of gr that are to be stored.
func (c *collector) versions(gr schema.GroupResource) []*kind {
	var found []*kind
	for _, k := range c.kinds {
		if k.GroupResource() == gr {
			found = append(found, k)
		}
	}
	return found
}

// need stores the named objects of a kind that aren't stored yet, and warns of
// those that don't exist.
func (c *collector) need(ctx context.Context, gr schema.GroupResource, wanted places) error {
	missing := c.needs.missing(gr, wanted)
	if len(missing) == 0 {
		return nil
	}
	exist, err := c.pick(ctx, gr, namespacesOf(missing), func(obj cluster.Object) bool { return missing[placeOf(obj)] })
	if err != nil {
		return err
	}
	for at := range missing {
		if !exist[at] && c.listable(gr) {
			c.report.Add(report.Warning, ref.Object{Resource: gr.WithVersion(""), Namespace: at.namespace, Name: at.name}, errNeeded)
		}
	}
	return nil
}

// listable reports whether nothing kept us from seeing the objects of a kind.
func (c *collector) listable(gr schema.GroupResource) bool {
	return !slices.ContainsFunc(c.versions(gr), func(k *kind) bool {
		return k.coverage.State == report.KindForbidden || k.coverage.State == report.KindFailed
	})
}

// namespacesOf returns the namespaces to list for a set of objects: each, or all
// at once when that costs less.
func namespacesOf(set places) []string {
	seen := map[string]bool{}
	for at := range set {
		seen[at.namespace] = true
	}
	if len(seen) > maxNamespaceLists {
		return []string{""}
	}
	names := make([]string, 0, len(seen))
	for ns := range seen {
		names = append(names, ns)
	}
	slices.Sort(names)
	return names
}

// whole reports whether every object of the kind was selected anyway.
func (c *collector) whole(gr schema.GroupResource) bool {
	return !c.narrowed() && slices.ContainsFunc(c.versions(gr), func(k *kind) bool { return k.wanted })
}

func (c *collector) neededVolumes(ctx context.Context) error {
	return c.needAdditional(ctx, volumeResource, c.needs.volumes)
}

func (c *collector) neededPriorityClasses(ctx context.Context) error {
	return c.needAdditional(ctx, priorityClassResource, c.needs.priorityClasses)
}

// needAdditional is need for cluster-scoped kinds, unless the user ruled them
// out.
func (c *collector) needAdditional(ctx context.Context, gr schema.GroupResource, wanted places) error {
	if !c.filter.ClusterAdditional(gr) {
		return nil
	}
	return c.need(ctx, gr, wanted)
}

// neededRoles stores the cluster-wide bindings of stored service accounts and
// the roles that they bind.
func (c *collector) neededRoles(ctx context.Context) error {
	if len(c.needs.accounts) == 0 || c.whole(bindingResource) || !c.filter.ClusterAdditional(bindingResource) {
		return nil
	}
	roles := places{}
	_, err := c.pick(ctx, bindingResource, []string{""}, func(obj cluster.Object) bool {
		var binding rbacv1.ClusterRoleBinding
		if err := json.Unmarshal(obj.Raw, &binding); err != nil {
			return false
		}
		if !slices.ContainsFunc(binding.Subjects, c.isStoredAccount) {
			return false
		}
		roles[place{name: binding.RoleRef.Name}] = true
		return true
	})
	if err != nil {
		return err
	}
	return c.needAdditional(ctx, clusterRoleResource, roles)
}

func (c *collector) isStoredAccount(subject rbacv1.Subject) bool {
	return subject.Kind == rbacv1.ServiceAccountKind && c.needs.accounts[place{subject.Namespace, subject.Name}]
}

// neededDefinitions stores the definition of each custom resource of which an
// object is stored. A kind without one is built in or served by another API
// server.
func (c *collector) neededDefinitions(ctx context.Context) error {
	names := places{}
	for gr := range c.needs.kinds {
		if strings.Contains(gr.Group, ".") {
			names[place{name: gr.String()}] = true
		}
	}
	if len(names) == 0 || c.whole(definitionResource) || c.filter.Excluded(definitionResource) {
		return nil
	}
	_, err := c.pick(ctx, definitionResource, []string{""}, func(obj cluster.Object) bool { return names[placeOf(obj)] })
	return err
}

// neededNamespaces stores the Namespaces of stored objects that the selection
// didn't take by themselves: with a label selector, or when they aren't active.
func (c *collector) neededNamespaces(ctx context.Context) error {
	names := places{}
	for name := range c.needs.namespaces {
		names[place{name: name}] = true
	}
	missing := c.needs.missing(namespaceResource, names)
	if len(missing) == 0 || c.filter.Excluded(namespaceResource) || !c.filter.Kind(namespaceResource, false) {
		return nil
	}
	_, err := c.pick(ctx, namespaceResource, []string{""}, func(obj cluster.Object) bool { return missing[placeOf(obj)] })
	return err
}
