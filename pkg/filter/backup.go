package filter

import velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"

// OfBackup is the selection that a Backup's spec asks for.
func OfBackup(spec velerov1.BackupSpec) Spec {
	return Spec{
		IncludedNamespaces: spec.IncludedNamespaces, ExcludedNamespaces: spec.ExcludedNamespaces,
		IncludedResources: spec.IncludedResources, ExcludedResources: spec.ExcludedResources,
		IncludeClusterResources:          spec.IncludeClusterResources,
		IncludedClusterScopedResources:   spec.IncludedClusterScopedResources,
		ExcludedClusterScopedResources:   spec.ExcludedClusterScopedResources,
		IncludedNamespaceScopedResources: spec.IncludedNamespaceScopedResources,
		ExcludedNamespaceScopedResources: spec.ExcludedNamespaceScopedResources,
		LabelSelector:                    spec.LabelSelector,
		OrLabelSelectors:                 spec.OrLabelSelectors,
	}
}
