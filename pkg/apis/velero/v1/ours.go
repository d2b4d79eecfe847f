package v1

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// workingKinds are the kinds of the objects that do an installation's work.
var workingKinds = []schema.GroupResource{
	{Group: "batch", Resource: "cronjobs"},
	{Group: "batch", Resource: "jobs"},
	{Group: "coordination.k8s.io", Resource: "leases"},
	{Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings"},
	{Group: "rbac.authorization.k8s.io", Resource: "rolebindings"},
	{Resource: "pods"},
	{Resource: "podtemplates"},
}

// Ours reports whether an object does the work of an installation, so that it
// stays out of backups and restores: restored, it would back up into, and delete
// from, the bucket of the cluster it came from. inInstallation says that the
// object is in the installation's namespace, or in none.
func Ours(resource schema.GroupResource, labels map[string]string, inInstallation bool) bool {
	if !slices.Contains(workingKinds, resource) {
		return false
	}
	return labels[OperationLabel] != "" || inInstallation && labels[ComponentLabel] == ComponentValue
}
