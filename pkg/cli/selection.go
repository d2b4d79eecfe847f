package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// selectionFlags say which objects a backup holds, and in which order.
type selectionFlags struct {
	includeNamespaces, excludeNamespaces flag.List

	// Kinds are chosen either by these three or by the four below.
	includeResources, excludeResources flag.List
	includeClusterResources            flag.OptionalBool

	includeClusterScoped, excludeClusterScoped     flag.List
	includeNamespaceScoped, excludeNamespaceScoped flag.List

	selector                       flag.Selector
	orSelector                     flag.OrSelector
	includeObjects, excludeObjects flag.Repeated
	orderedResources               flag.OrderedResources
	policies                       flag.Name
}

// selectionHelp is what the help of one flag alone can't say.
const selectionHelp = " Kinds are chosen either by --include-resources, --exclude-resources and --include-cluster-resources, or by the flags " +
	"that end in -cluster-scoped-resources and -namespace-scoped-resources, never by both."

func (s *selectionFlags) add(fs *pflag.FlagSet) {
	s.includeNamespaces = flag.List{"*"}
	fs.Var(&s.includeNamespaces, "include-namespaces", "Namespaces to back up, separated by commas; * ? and [ ] make patterns.")
	fs.Var(&s.excludeNamespaces, "exclude-namespaces", "Namespaces to leave out.")
	fs.Var(&s.includeResources, "include-resources", "Resources to back up, such as deployments.apps,secrets; all when not given.")
	fs.Var(&s.excludeResources, "exclude-resources", "Resources to leave out, such as events.")
	flag.AddOptionalBool(fs, &s.includeClusterResources, "include-cluster-resources",
		"Back up all cluster-scoped objects, or none with =false. When not given: all if every namespace is backed up, else those that the selected objects need.")
	fs.Var(&s.includeClusterScoped, "include-cluster-scoped-resources", "Cluster-scoped resources to back up, such as storageclasses; * for all. When not given: as with --include-cluster-resources.")
	fs.Var(&s.excludeClusterScoped, "exclude-cluster-scoped-resources", "Cluster-scoped resources to leave out; * for all.")
	fs.Var(&s.includeNamespaceScoped, "include-namespace-scoped-resources", "Namespaced resources to back up, such as deployments.apps; all when not given.")
	fs.Var(&s.excludeNamespaceScoped, "exclude-namespace-scoped-resources", "Namespaced resources to leave out; * for all.")
	fs.VarP(&s.selector, "selector", "l", "Back up only objects that match this label selector.")
	fs.Var(&s.orSelector, "or-selector", "Back up only objects that match one of these label selectors, such as 'app=web or app=db'. Not together with --selector.")
	fs.Var(&s.includeObjects, "include-objects", "Back up only these objects, [NAMESPACE/]KIND/NAME such as shop/secret/db-*, separated by commas. May be repeated.")
	fs.Var(&s.excludeObjects, "exclude-objects", "Leave out these objects, [NAMESPACE/]KIND/NAME such as shop/secret/*, separated by commas. May be repeated.")
	fs.Var(&s.orderedResources, "ordered-resources", "Objects that come first, kind by kind, such as 'pods=shop/db-0,shop/db-1;persistentvolumes=pv-a'.")
	fs.Var(&s.policies, "resource-policies-configmap", "ConfigMap in Velero's namespace with rules for volumes and resources.")
}

// complete registers what the shell can propose.
func (s *selectionFlags) complete(f *Factory, cmd *cobra.Command) {
	for _, name := range []string{"include-namespaces", "exclude-namespaces"} {
		f.completeListFlag(cmd, name, completeNamespaces)
	}
	for _, name := range []string{"include-resources", "exclude-resources"} {
		f.completeListFlag(cmd, name, completeResources(anyScope))
	}
	for _, name := range []string{"include-cluster-scoped-resources", "exclude-cluster-scoped-resources"} {
		f.completeListFlag(cmd, name, completeResources(clusterScope))
	}
	for _, name := range []string{"include-namespace-scoped-resources", "exclude-namespace-scoped-resources"} {
		f.completeListFlag(cmd, name, completeResources(namespaceScope))
	}
	f.completeFlag(cmd, "resource-policies-configmap", completeConfigMaps)
}

// check finds what contradicts itself, without asking the cluster.
func (s *selectionFlags) check() error {
	spec := velerov1.BackupSpec{}
	s.fill(&spec)
	if err := checkFilter(filter.OfBackup(spec)); err != nil {
		return err
	}
	_, _, err := s.objects()
	return err
}

// objects parses the patterns of names.
func (s *selectionFlags) objects() (include, exclude []filter.ObjectPattern, err error) {
	include, err = filter.ParseObjects("--include-objects", s.includeObjects)
	if err != nil {
		return nil, nil, err
	}
	exclude, err = filter.ParseObjects("--exclude-objects", s.excludeObjects)
	return include, exclude, err
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
	if s.policies != "" {
		spec.ResourcePolicy = &corev1.TypedLocalObjectReference{Kind: policyKind, Name: string(s.policies)}
	}
}

// policyKind is how Velero writes the kind of a ConfigMap in specs.
const policyKind = "configmap"

// annotate adds what a spec has no fields for.
func (s *selectionFlags) annotate(annotations map[string]string) map[string]string {
	for key, patterns := range map[string]flag.Repeated{
		velerov1.IncludeObjectsAnnotation: s.includeObjects,
		velerov1.ExcludeObjectsAnnotation: s.excludeObjects,
	} {
		if len(patterns) > 0 {
			annotations = with(annotations, key, patterns.String())
		}
	}
	return annotations
}
