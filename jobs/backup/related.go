package backup

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

const rbacGroup = "rbac.authorization.k8s.io"

// related stores what the selected objects need and the selection itself left
// out: claims of pods, volumes of claims, roles of service accounts, priority
// classes, definitions of custom resources, and the namespaces of all. Each kind
// is listed at most once, however many objects are needed.
func (c *collector) related(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		c.neededClaims, c.neededVolumes, c.neededPriorityClasses, c.neededRoles, c.neededDefinitions, c.neededNamespaces,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pick lists a kind and stores the objects that want accepts. A kind that isn't
// served needs nothing.
func (c *collector) pick(ctx context.Context, gr schema.GroupResource, ns string, want func(object) bool) error {
	res, ok := c.resources.Lookup(gr)
	if !ok {
		return nil
	}
	err := c.lister.List(ctx, res, cluster.ListOptions{Namespace: ns, OnStale: func() { c.stale(res) }}, func(raw []byte) error {
		obj, err := decode(res, raw)
		if err != nil {
			return err
		}
		if !want(obj) || !c.mayStore(res, obj) {
			return nil
		}
		return c.write(ctx, res, obj)
	})
	return c.listFailed(ctx, res, ns, err)
}

// whole reports whether the main pass stored every object of the kind anyway.
func (c *collector) whole(gr schema.GroupResource) bool {
	return !c.filter.HasLabels() && slices.ContainsFunc(c.kinds, func(res cluster.Resource) bool { return res.GroupResource() == gr })
}

// pickNamed picks by name, cluster-scoped kinds when the user hasn't ruled them
// out.
func (c *collector) pickNamed(ctx context.Context, gr schema.GroupResource, names map[place]bool) error {
	if len(names) == 0 || c.whole(gr) || c.filter.Excluded(gr) {
		return nil
	}
	return c.pick(ctx, gr, "", func(obj object) bool { return names[place{name: obj.Metadata.Name}] })
}

func (c *collector) neededClaims(ctx context.Context) error {
	gr := schema.GroupResource{Resource: "persistentvolumeclaims"}
	if len(c.needs.claims) == 0 || c.whole(gr) || !c.filter.Kind(gr, true) {
		return nil
	}
	byNamespace := map[string]bool{}
	for claim := range c.needs.claims {
		byNamespace[claim.namespace] = true
	}
	for ns := range byNamespace {
		err := c.pick(ctx, gr, ns, func(obj object) bool {
			return c.needs.claims[place{obj.Metadata.Namespace, obj.Metadata.Name}]
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) neededVolumes(ctx context.Context) error {
	return c.pickAdditional(ctx, schema.GroupResource{Resource: "persistentvolumes"}, c.needs.volumes)
}

func (c *collector) neededPriorityClasses(ctx context.Context) error {
	return c.pickAdditional(ctx, schema.GroupResource{Group: "scheduling.k8s.io", Resource: "priorityclasses"}, c.needs.priorityClasses)
}

// pickAdditional is pickNamed for kinds that a list of included kinds must name.
func (c *collector) pickAdditional(ctx context.Context, gr schema.GroupResource, names map[place]bool) error {
	if !c.filter.ClusterAdditional(gr) {
		return nil
	}
	return c.pickNamed(ctx, gr, names)
}

// neededRoles stores the cluster-wide bindings of stored service accounts and
// the roles that they bind.
func (c *collector) neededRoles(ctx context.Context) error {
	bindings := schema.GroupResource{Group: rbacGroup, Resource: "clusterrolebindings"}
	if len(c.needs.accounts) == 0 || c.whole(bindings) || !c.filter.ClusterAdditional(bindings) {
		return nil
	}
	err := c.pick(ctx, bindings, "", func(obj object) bool {
		var binding rbacv1.ClusterRoleBinding
		if err := json.Unmarshal(obj.body, &binding); err != nil {
			return false
		}
		if !slices.ContainsFunc(binding.Subjects, c.isStoredAccount) {
			return false
		}
		c.needs.clusterRoles[place{name: binding.RoleRef.Name}] = true
		return true
	})
	if err != nil {
		return err
	}
	return c.pickAdditional(ctx, schema.GroupResource{Group: rbacGroup, Resource: "clusterroles"}, c.needs.clusterRoles)
}

func (c *collector) isStoredAccount(subject rbacv1.Subject) bool {
	return subject.Kind == rbacv1.ServiceAccountKind && c.needs.accounts[place{subject.Namespace, subject.Name}]
}

// neededDefinitions stores the definition of each custom resource of which an
// object is stored.
func (c *collector) neededDefinitions(ctx context.Context) error {
	names := map[place]bool{}
	for gr := range c.needs.kinds {
		if strings.Contains(gr.Group, ".") {
			names[place{name: gr.String()}] = true
		}
	}
	return c.pickNamed(ctx, schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}, names)
}

// neededNamespaces stores the Namespaces of stored objects that the selection
// didn't take by themselves: with a label selector, or when they aren't active.
func (c *collector) neededNamespaces(ctx context.Context) error {
	gr := schema.GroupResource{Resource: "namespaces"}
	if len(c.needs.namespaces) == 0 || c.filter.Excluded(gr) || !c.filter.Kind(gr, false) {
		return nil
	}
	missing := 0
	for name := range c.needs.namespaces {
		if !c.selectsNamespaceObject(name) {
			missing++
		}
	}
	if missing == 0 {
		return nil
	}
	return c.pick(ctx, gr, "", func(obj object) bool { return c.needs.namespaces[obj.Metadata.Name] })
}
