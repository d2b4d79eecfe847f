package cluster

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// first and last are the kinds with a place of their own in the order in which
// a restore creates objects, as documented by Velero 1.18; all others come
// between them.
var (
	first = []string{
		"customresourcedefinitions.apiextensions.k8s.io",
		"namespaces",
		"storageclasses.storage.k8s.io",
		"volumesnapshotclasses.snapshot.storage.k8s.io",
		"volumesnapshotcontents.snapshot.storage.k8s.io",
		"volumesnapshots.snapshot.storage.k8s.io",
		"datauploads.velero.io",
		"persistentvolumes",
		"persistentvolumeclaims",
		"clusterroles.rbac.authorization.k8s.io",
		"roles.rbac.authorization.k8s.io",
		"serviceaccounts",
		"clusterrolebindings.rbac.authorization.k8s.io",
		"rolebindings.rbac.authorization.k8s.io",
		"secrets",
		"configmaps",
		"limitranges",
		"priorityclasses.scheduling.k8s.io",
		"pods",
		"replicasets.apps",
		"clusterclasses.cluster.x-k8s.io",
		"endpoints",
		"services",
	}
	last = []string{
		"clusterbootstraps.run.tanzu.vmware.com",
		"clusters.cluster.x-k8s.io",
		"clusterresourcesets.addons.cluster.x-k8s.io",
		"apps.kappctrl.k14s.io",
		"packageinstalls.packaging.carvel.dev",
		// These change what the API server accepts, so they wait for the rest.
		"validatingwebhookconfigurations.admissionregistration.k8s.io",
		"mutatingwebhookconfigurations.admissionregistration.k8s.io",
		"apiservices.apiregistration.k8s.io",
	}
)

// Priority is a kind's place in the order of a restore: lower comes first.
// Kinds without a place of their own share one.
func Priority(gr schema.GroupResource) int {
	if i := slices.Index(first, gr.String()); i >= 0 {
		return i
	}
	if i := slices.Index(last, gr.String()); i >= 0 {
		return len(first) + 1 + i
	}
	return len(first)
}
