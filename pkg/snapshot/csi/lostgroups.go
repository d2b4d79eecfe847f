package csi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// groupKey tells the groups of all drivers apart.
func (o foundObject) groupKey() string { return o.driver + "\x00" + o.group }

// lostGroup is a group snapshot of which only members are left in the cluster.
type lostGroup struct {
	Handle
	unmarked []string // contents of members that don't say that their data may go
}

// lostGroups finds those that objects are members of, by their keys.
func lostGroups(groups []foundGroup, objects []foundObject) map[string]*lostGroup {
	lost := map[string]*lostGroup{}
	for _, o := range objects {
		if o.group == "" || slices.ContainsFunc(groups, func(g foundGroup) bool { return g.driver == o.driver && g.handle == o.group }) {
			continue
		}
		g := lost[o.groupKey()]
		if g == nil {
			g = &lostGroup{Handle: Handle{Driver: o.driver, Group: o.group}}
			lost[o.groupKey()] = g
		}
		if o.handle != "" {
			g.GroupMembers = append(g.GroupMembers, o.handle)
		}
		if g.SecretName == "" {
			g.SecretName, g.SecretNamespace = o.secretName, o.secretNamespace
		}
		if g.Node == "" {
			g.Node = o.node
		}
		if o.mark != notKept {
			g.unmarked = append(g.unmarked, o.content)
		}
	}
	return lost
}

// removeLostGroups deletes the data of groups of which only members are left: no driver
// deletes these one by one, and csi-snapshotter lets go of their contents without
// asking it. It returns the objects that may be removed now; members of a group that is
// still there may not, for nothing else tells of it.
func (r remover) removeLostGroups(ctx context.Context, groups []foundGroup, objects []foundObject) ([]object, error) {
	lost, left := lostGroups(groups, objects), map[string]bool{}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(lost)) {
		gone, err := r.removeLostGroup(ctx, lost[key])
		left[key] = !gone
		errs = append(errs, err)
	}
	var free []object
	for _, o := range objects {
		if !left[o.groupKey()] {
			free = append(free, o.object)
		}
	}
	return free, errors.Join(errs...)
}

// removeLostGroup reports whether a group is gone. Its members are marked first: a
// later attempt's commit must not take them for its own.
func (r remover) removeLostGroup(ctx context.Context, g *lostGroup) (gone bool, err error) {
	for _, content := range g.unmarked {
		_, err := r.patchContent(ctx, content, metadataPatch("labels", map[string]string{kept: notKept}))
		if ignoreNotFound(err) != nil {
			return false, fmt.Errorf("mark volume snapshot content %q: %w", content, err)
		}
	}
	began := time.Now()
	if !r.isSilent(g.Driver) {
		err := r.Delete(ctx, g.Handle, r.patience)
		late := errors.As(err, new(*lateError)) || errors.Is(err, context.DeadlineExceeded)
		if !late || ctx.Err() != nil {
			return err == nil, err
		}
	}
	r.left(ctx, removable{name: g.String(), driver: g.Driver, content: temporaryName("group", g.Driver, g.Group)}, began)
	return false, nil
}
