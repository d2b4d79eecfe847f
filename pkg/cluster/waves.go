package cluster

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Wave is a group of kinds that are restored side by side in one pass over the
// archive. Within it no kind needs another; a later wave may need an earlier.
type Wave struct {
	// Name is for the log.
	Name string
	// Resources are the kinds; nil means every kind that no other wave names.
	Resources []schema.GroupResource
}

// Waves returns Velero's documented order in groups as coarse as the order
// allows, since each costs a pass over the archive. Backups are written in this
// order too. It differs in three places, each for what
// controllers would otherwise make twice or refuse: ControllerRevisions come
// with ReplicaSets, before the DaemonSets and StatefulSets that they belong to;
// accounts and roles come beside the volumes; what judges or replaces other
// requests (webhooks, policies, APIServices) comes last.
func Waves() []Wave {
	const (
		admission = "admissionregistration.k8s.io"
		rbac      = "rbac.authorization.k8s.io"
		snapshots = "snapshot.storage.k8s.io"
	)
	return []Wave{
		{"definitions and namespaces", []schema.GroupResource{{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}, {Resource: "namespaces"}}},
		{"volumes, accounts and roles", []schema.GroupResource{
			{Group: "storage.k8s.io", Resource: "storageclasses"},
			{Group: snapshots, Resource: "volumesnapshotclasses"},
			{Group: snapshots, Resource: "volumesnapshotcontents"},
			{Group: snapshots, Resource: "volumesnapshots"},
			{Group: "velero.io", Resource: "datauploads"},
			{Resource: "persistentvolumes"},
			{Group: rbac, Resource: "clusterroles"},
			{Group: rbac, Resource: "roles"},
			{Resource: "serviceaccounts"},
		}},
		{"claims and configuration", []schema.GroupResource{
			{Resource: "persistentvolumeclaims"},
			{Group: rbac, Resource: "clusterrolebindings"},
			{Group: rbac, Resource: "rolebindings"},
			{Resource: "secrets"},
			{Resource: "configmaps"},
		}},
		{"limits and priorities", []schema.GroupResource{
			{Resource: "limitranges"},
			{Group: "scheduling.k8s.io", Resource: "priorityclasses"},
		}},
		{"pods", []schema.GroupResource{{Resource: "pods"}}},
		{"what controllers adopt", []schema.GroupResource{
			{Group: "apps", Resource: "replicasets"},
			{Group: "apps", Resource: "controllerrevisions"},
			{Group: "cluster.x-k8s.io", Resource: "clusterclasses"},
			{Resource: "endpoints"},
		}},
		{Name: "everything else"},
		{"clusters and packages", []schema.GroupResource{
			{Group: "run.tanzu.vmware.com", Resource: "clusterbootstraps"},
			{Group: "cluster.x-k8s.io", Resource: "clusters"},
			{Group: "addons.cluster.x-k8s.io", Resource: "clusterresourcesets"},
			{Group: "kappctrl.k14s.io", Resource: "apps"},
			{Group: "packaging.carvel.dev", Resource: "packageinstalls"},
		}},
		{"webhooks, policies and APIServices", []schema.GroupResource{
			{Group: "apiregistration.k8s.io", Resource: "apiservices"},
			{Group: admission, Resource: "mutatingwebhookconfigurations"},
			{Group: admission, Resource: "validatingwebhookconfigurations"},
			{Group: admission, Resource: "mutatingadmissionpolicybindings"},
			{Group: admission, Resource: "validatingadmissionpolicybindings"},
		}},
	}
}

// WavesWith is Waves with wishes: the kinds of high come one after the other right
// after the definitions and namespaces, those of low after all but webhooks,
// policies and APIServices. A kind that is wished for leaves the wave it had;
// definitions and namespaces, and what comes last, can't be moved.
func WavesWith(high, low []schema.GroupResource) []Wave {
	all := Waves()
	fixed := slices.Concat(all[0].Resources, all[len(all)-1].Resources)
	wished := map[schema.GroupResource]bool{}
	single := func(resources []schema.GroupResource) []Wave {
		var waves []Wave
		for _, resource := range resources {
			if !wished[resource] && !slices.Contains(fixed, resource) {
				wished[resource] = true
				waves = append(waves, Wave{Name: resource.String(), Resources: []schema.GroupResource{resource}})
			}
		}
		return waves
	}
	first, last := single(high), single(low)
	middle := all[1 : len(all)-1]
	for i, w := range middle {
		if len(w.Resources) > 0 {
			middle[i].Resources = slices.DeleteFunc(w.Resources, func(r schema.GroupResource) bool { return wished[r] })
		}
	}
	// A wave without resources stands for all that no other names.
	emptied := func(w Wave) bool { return w.Resources != nil && len(w.Resources) == 0 }
	return slices.Concat(all[:1], first, slices.DeleteFunc(slices.Clone(middle), emptied), last, all[len(all)-1:])
}

// WaveOf returns the index of the wave, among all, that a kind belongs to.
func WaveOf(all []Wave, resource schema.GroupResource) int {
	rest := 0
	for i, w := range all {
		if slices.Contains(w.Resources, resource) {
			return i
		}
		if w.Resources == nil {
			rest = i
		}
	}
	return rest
}
