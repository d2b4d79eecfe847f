package filter

import velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"

// OfRestore is the selection that a Restore asks for: by its spec and, for what
// the spec has no fields for, by its annotations.
func OfRestore(restore *velerov1.Restore) Spec {
	spec := restore.Spec
	return Spec{
		IncludedNamespaces: spec.IncludedNamespaces, ExcludedNamespaces: spec.ExcludedNamespaces,
		IncludedResources: spec.IncludedResources, ExcludedResources: spec.ExcludedResources,
		IncludeClusterResources:          spec.IncludeClusterResources,
		IncludedClusterScopedResources:   velerov1.AnnotatedList(restore, velerov1.IncludedClusterScopedResourcesAnnotation),
		ExcludedClusterScopedResources:   velerov1.AnnotatedList(restore, velerov1.ExcludedClusterScopedResourcesAnnotation),
		IncludedNamespaceScopedResources: velerov1.AnnotatedList(restore, velerov1.IncludedNamespaceScopedResourcesAnnotation),
		ExcludedNamespaceScopedResources: velerov1.AnnotatedList(restore, velerov1.ExcludedNamespaceScopedResourcesAnnotation),
		LabelSelector:                    spec.LabelSelector,
		OrLabelSelectors:                 spec.OrLabelSelectors,
	}
}
