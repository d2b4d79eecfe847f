package backup

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

// mounts is an index of which pods mount which claims. It holds names only.
type mounts struct {
	claimsOf map[place][]place // of every pod
	podsOf   map[place][]place // running pods, by claim
	groupOf  map[place]place   // of a claim: its namespace and volume group
	grouped  map[place][]place // claims by group
}

// neededPodsAndClaims stores the claims that stored pods mount and the running
// pods that mount stored claims, and so on until nothing new is found, so that
// what shares data is taken together. Only a selection of single objects can
// leave some of them out.
func (c *collector) neededPodsAndClaims(ctx context.Context) error {
	claimsWanted := c.filter.Kind(claimResource, true)
	if !c.narrowed() {
		if !claimsWanted {
			return nil
		}
		return c.need(ctx, claimResource, c.needs.claims)
	}
	if len(c.needs.claims) == 0 && len(c.needs.have[claimResource]) == 0 {
		return nil
	}
	index, err := c.indexMounts(ctx)
	if err != nil {
		return err
	}
	pods, claims := index.closure(c.needs)
	if c.filter.Kind(podResource, true) {
		if err := c.need(ctx, podResource, pods); err != nil {
			return err
		}
	}
	if !claimsWanted {
		return nil
	}
	return c.need(ctx, claimResource, claims)
}

// indexMounts lists the pods and the claims of the namespaces in question, once.
func (c *collector) indexMounts(ctx context.Context) (*mounts, error) {
	index := &mounts{claimsOf: map[place][]place{}, podsOf: map[place][]place{}, groupOf: map[place]place{}, grouped: map[place][]place{}}
	concerned := maps.Clone(c.needs.claims)
	maps.Copy(concerned, c.needs.have[claimResource])
	namespaces := namespacesOf(concerned)
	for _, part := range []struct {
		kinds []*kind
		add   func(cluster.Object) error
	}{
		{c.versions(podResource), index.addPod},
		{c.versions(claimResource), func(obj cluster.Object) error {
			return index.addClaim(obj, c.backup.Spec.VolumeGroupSnapshotLabelKey)
		}},
	} {
		for _, k := range part.kinds {
			if !k.preferred {
				continue
			}
			for _, ns := range namespaces {
				if err := c.visitAll(ctx, k, cluster.ListOptions{Namespace: ns}, part.add); err != nil {
					return nil, err
				}
			}
		}
	}
	return index, nil
}

func (m *mounts) addPod(obj cluster.Object) error {
	pod, err := readPod(obj)
	if err != nil {
		return nil // it is reported where it is stored
	}
	at := placeOf(obj)
	for _, claim := range pod.claims(obj.Namespace) {
		m.claimsOf[at] = append(m.claimsOf[at], claim)
		if pod.Status.Phase == corev1.PodRunning {
			m.podsOf[claim] = append(m.podsOf[claim], at)
		}
	}
	return nil
}

func (m *mounts) addClaim(obj cluster.Object, groupKey string) error {
	var facts claimFacts
	group, ok := obj.Labels[groupKey]
	if !ok || json.Unmarshal(obj.Raw, &facts) != nil || facts.Spec.VolumeName == "" {
		return nil
	}
	at, in := placeOf(obj), place{obj.Namespace, group}
	m.groupOf[at] = in
	m.grouped[in] = append(m.grouped[in], at)
	return nil
}

// closure returns all pods and claims that belong to the stored ones, these
// included.
func (m *mounts) closure(n *needs) (pods, claims places) {
	pods, claims = maps.Clone(n.have[podResource]), places{}
	todo := slices.Concat(slices.Collect(maps.Keys(n.have[claimResource])), slices.Collect(maps.Keys(n.claims)))
	for len(todo) > 0 {
		claim := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if claims[claim] {
			continue
		}
		claims[claim] = true
		if group, ok := m.groupOf[claim]; ok {
			todo = append(todo, m.grouped[group]...)
		}
		for _, pod := range m.podsOf[claim] {
			if !pods[pod] {
				pods[pod] = true
				todo = append(todo, m.claimsOf[pod]...)
			}
		}
	}
	return pods, claims
}
