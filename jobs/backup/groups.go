package backup

import (
	"context"
	"slices"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

// groups says which claims are snapshotted together: by the label of their volume
// group, within a namespace.
type groups struct {
	of      map[place]place // a claim's namespace and group
	members map[place][]place
}

// readGroups reads which of the claims, and of their neighbours, are in groups. It
// costs one list for each namespace.
func (c *collector) readGroups(ctx context.Context, claims places) (groups, error) {
	g := groups{of: map[place]place{}, members: map[place][]place{}}
	if len(claims) == 0 {
		return g, nil
	}
	key := c.backup.Spec.VolumeGroupSnapshotLabelKey
	for _, k := range c.versions(claimResource) {
		if !k.preferred {
			continue
		}
		for _, ns := range namespacesOf(claims) {
			err := c.visitAll(ctx, k, cluster.ListOptions{Namespace: ns, LabelSelector: key}, func(obj cluster.Object) error {
				if group := obj.Labels[key]; group != "" && c.barred(k, obj) == "" {
					at, in := placeOf(obj), place{obj.Namespace, group}
					g.of[at] = in
					g.members[in] = append(g.members[in], at)
				}
				return nil
			})
			if err != nil {
				return g, err
			}
		}
	}
	return g, nil
}

// extend returns the claims and those of their groups, each once.
func (g groups) extend(claims []place) []place {
	all := slices.Clone(claims)
	for _, claim := range claims {
		if in, ok := g.of[claim]; ok {
			for _, member := range g.members[in] {
				if !slices.Contains(all, member) {
					all = append(all, member)
				}
			}
		}
	}
	return all
}
