package describe

import (
	"strings"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// resources writes which kinds are chosen, by the family of filters that is used.
func (l *layout) resources(spec filter.Spec) {
	if !newerFilters(spec) {
		in := l.lists("Resources", spec.IncludedResources, spec.ExcludedResources, "*")
		in.line("Cluster-scoped", tristate(spec.IncludeClusterResources, "included", "excluded", "auto"))
		return
	}
	l.head("Resources")
	in := l.inner()
	in.line("Included cluster-scoped", orNone(strings.Join(spec.IncludedClusterScopedResources, ", ")))
	in.line("Excluded cluster-scoped", orNone(strings.Join(spec.ExcludedClusterScopedResources, ", ")))
	in.line("Included namespace-scoped", orElse(strings.Join(spec.IncludedNamespaceScopedResources, ", "), "*"))
	in.line("Excluded namespace-scoped", orNone(strings.Join(spec.ExcludedNamespaceScopedResources, ", ")))
}

// newerFilters reports whether kinds are chosen by their scope.
func newerFilters(spec filter.Spec) bool {
	return len(spec.IncludedClusterScopedResources)+len(spec.ExcludedClusterScopedResources)+
		len(spec.IncludedNamespaceScopedResources)+len(spec.ExcludedNamespaceScopedResources) > 0
}

// objects writes which objects are chosen by name, if any are.
func (l *layout) objects(annotations map[string]string) {
	if included, excluded := objects(annotations); len(included)+len(excluded) > 0 {
		l.lists("Objects", included, excluded, "*")
		l.blank()
	}
}

// objects are the patterns of the objects that are chosen by name.
func objects(annotations map[string]string) (included, excluded []string) {
	return list(annotations[velerov1.IncludeObjectsAnnotation]), list(annotations[velerov1.ExcludeObjectsAnnotation])
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// resourcesJSON has a family of keys for each family of filters; Velero leaves
// out the newer one.
func resourcesJSON(spec filter.Spec) object {
	if newerFilters(spec) {
		return object{
			"includedClusterScoped":   orNone(strings.Join(spec.IncludedClusterScopedResources, ", ")),
			"excludedClusterScoped":   orNone(strings.Join(spec.ExcludedClusterScopedResources, ", ")),
			"includedNamespaceScoped": orElse(strings.Join(spec.IncludedNamespaceScopedResources, ", "), "*"),
			"excludedNamespaceScoped": orNone(strings.Join(spec.ExcludedNamespaceScopedResources, ", ")),
		}
	}
	out := listsJSON(spec.IncludedResources, spec.ExcludedResources)
	out["clusterScoped"] = tristate(spec.IncludeClusterResources, "included", "excluded", "auto")
	return out
}

// listsJSON is a pair of lists, each as one text.
func listsJSON(included, excluded []string) object {
	return object{"included": orElse(strings.Join(included, ", "), "*"), "excluded": orNone(strings.Join(excluded, ", "))}
}

// objects adds which objects are chosen by name, if any are.
func (o object) objects(annotations map[string]string) {
	if included, excluded := objects(annotations); len(included)+len(excluded) > 0 {
		o["objects"] = listsJSON(included, excluded)
	}
}
