package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
)

// selectionFlags say which objects a backup holds, and in which order.
type selectionFlags struct {
	filterFlags
	orderedResources flag.OrderedResources
	policies         flag.Name
}

func (s *selectionFlags) add(fs *pflag.FlagSet) {
	s.filterFlags.add(fs)
	fs.Var(&s.orderedResources, "ordered-resources", "Objects that come first, kind by kind, such as 'pods=shop/db-0,shop/db-1;persistentvolumes=pv-a'.")
	fs.Var(&s.policies, "resource-policies-configmap", "ConfigMap in Velero's namespace with rules for volumes and resources.")
}

// complete registers what the shell can propose.
func (s *selectionFlags) complete(f *Factory, cmd *cobra.Command) {
	s.filterFlags.complete(f, cmd, completeNamespaces)
	f.completeFlag(cmd, "resource-policies-configmap", completeConfigMaps)
}

// fill writes the selection into spec.
func (s *selectionFlags) fill(spec *velerov1.BackupSpec) {
	spec.IncludedNamespaces, spec.ExcludedNamespaces = s.includeNamespaces, s.excludeNamespaces
	spec.IncludedResources, spec.ExcludedResources = s.includeResources, s.excludeResources
	spec.IncludeClusterResources = s.includeClusterResources.Value
	spec.IncludedClusterScopedResources, spec.ExcludedClusterScopedResources = s.includeClusterScoped, s.excludeClusterScoped
	spec.IncludedNamespaceScopedResources, spec.ExcludedNamespaceScopedResources = s.includeNamespaceScoped, s.excludeNamespaceScoped
	spec.LabelSelector, spec.OrLabelSelectors = s.selector.LabelSelector, s.orSelector.LabelSelectors
	spec.OrderedResources = s.orderedResources.Data()
	spec.ResourcePolicy = configMapReference(s.policies)
}

// configMapReference names a ConfigMap as Velero does in specs; nil for no name.
func configMapReference(name flag.Name) *corev1.TypedLocalObjectReference {
	if name == "" {
		return nil
	}
	return &corev1.TypedLocalObjectReference{Kind: "configmap", Name: string(name)}
}
