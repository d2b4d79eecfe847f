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
	// Resources are the kinds; none means every kind that no other wave names.
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

// WaveOf returns the index of the wave, among all, that a kind belongs to.
func WaveOf(all []Wave, resource schema.GroupResource) int {
	rest := 0
	for i, w := range all {
		if slices.Contains(w.Resources, resource) {
			return i
		}
		if len(w.Resources) == 0 {
			rest = i
		}
	}
	return rest
}
