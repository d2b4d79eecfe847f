package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// filterFlags choose objects: those that go into a backup, or come out of it.
type filterFlags struct {
	includeNamespaces, excludeNamespaces flag.List

	// Kinds are chosen either by these three or by the four below.
	includeResources, excludeResources flag.List
	includeClusterResources            flag.OptionalBool

	includeClusterScoped, excludeClusterScoped     flag.List
	includeNamespaceScoped, excludeNamespaceScoped flag.List

	selector                       flag.Selector
	orSelector                     flag.OrSelector
	includeObjects, excludeObjects flag.Repeated
}

// filterHelp is what the help of one flag alone can't say.
const filterHelp = " Kinds are chosen either by --include-resources, --exclude-resources and --include-cluster-resources, or by the flags " +
	"that end in -cluster-scoped-resources and -namespace-scoped-resources, never by both."

func (o *filterFlags) add(fs *pflag.FlagSet) {
	o.includeNamespaces = flag.List{"*"}
	fs.Var(&o.includeNamespaces, "include-namespaces", "Namespaces to include, separated by commas; * ? and [ ] make patterns.")
	fs.Var(&o.excludeNamespaces, "exclude-namespaces", "Namespaces to leave out.")
	fs.Var(&o.includeResources, "include-resources", "Resources to include, such as deployments.apps,secrets; all when not given.")
	fs.Var(&o.excludeResources, "exclude-resources", "Resources to leave out, such as events.")
	flag.AddOptionalBool(fs, &o.includeClusterResources, "include-cluster-resources",
		"Include all cluster-scoped objects, or none with =false. When not given: all if every namespace is included, else those that the selected objects need.")
	fs.Var(&o.includeClusterScoped, "include-cluster-scoped-resources", "Cluster-scoped resources to include, such as storageclasses; * for all. When not given: as with --include-cluster-resources.")
	fs.Var(&o.excludeClusterScoped, "exclude-cluster-scoped-resources", "Cluster-scoped resources to leave out; * for all.")
	fs.Var(&o.includeNamespaceScoped, "include-namespace-scoped-resources", "Namespaced resources to include, such as deployments.apps; all when not given.")
	fs.Var(&o.excludeNamespaceScoped, "exclude-namespace-scoped-resources", "Namespaced resources to leave out; * for all.")
	fs.VarP(&o.selector, "selector", "l", "Include only objects that match this label selector.")
	fs.Var(&o.orSelector, "or-selector", "Include only objects that match one of these label selectors, such as 'app=web or app=db'. Not together with --selector.")
	fs.Var(&o.includeObjects, "include-objects", "Include only these objects, [NAMESPACE/]KIND/NAME such as shop/secret/db-*, separated by commas. May be repeated.")
	fs.Var(&o.excludeObjects, "exclude-objects", "Leave out these objects, [NAMESPACE/]KIND/NAME such as shop/secret/*, separated by commas. May be repeated.")
}

// complete registers what the shell can propose.
func (o *filterFlags) complete(f *Factory, cmd *cobra.Command, namespaces candidates) {
	for name, list := range map[string]candidates{
		"include-namespaces":                 namespaces,
		"exclude-namespaces":                 namespaces,
		"include-resources":                  completeResources(anyScope),
		"exclude-resources":                  completeResources(anyScope),
		"include-cluster-scoped-resources":   completeResources(clusterScope),
		"exclude-cluster-scoped-resources":   completeResources(clusterScope),
		"include-namespace-scoped-resources": completeResources(namespaceScope),
		"exclude-namespace-scoped-resources": completeResources(namespaceScope),
	} {
		f.completeListFlag(cmd, name, list)
	}
}

// check finds what contradicts itself, without asking the cluster.
func (o *filterFlags) check() error {
	if err := checkFilter(o.filter()); err != nil {
		return err
	}
	if _, err := filter.ParseObjects("--include-objects", o.includeObjects); err != nil {
		return err
	}
	_, err := filter.ParseObjects("--exclude-objects", o.excludeObjects)
	return err
}

// filter is the selection but for the objects that are chosen by name.
func (o *filterFlags) filter() filter.Spec {
	return filter.Spec{
		IncludedNamespaces: o.includeNamespaces, ExcludedNamespaces: o.excludeNamespaces,
		IncludedResources: o.includeResources, ExcludedResources: o.excludeResources,
		IncludeClusterResources:          o.includeClusterResources.Value,
		IncludedClusterScopedResources:   o.includeClusterScoped,
		ExcludedClusterScopedResources:   o.excludeClusterScoped,
		IncludedNamespaceScopedResources: o.includeNamespaceScoped,
		ExcludedNamespaceScopedResources: o.excludeNamespaceScoped,
		LabelSelector:                    o.selector.LabelSelector,
		OrLabelSelectors:                 o.orSelector.LabelSelectors,
	}
}

// annotate adds the objects that are chosen by name, which no spec has fields
// for.
func (o *filterFlags) annotate(annotations map[string]string) map[string]string {
	return withLists(annotations, map[string][]string{
		velerov1.IncludeObjectsAnnotation: o.includeObjects,
		velerov1.ExcludeObjectsAnnotation: o.excludeObjects,
	})
}

// withLists returns annotations and a list under each key that has entries.
func withLists(annotations map[string]string, lists map[string][]string) map[string]string {
	for key, list := range lists {
		if len(list) > 0 {
			annotations = with(annotations, key, strings.Join(list, ","))
		}
	}
	return annotations
}
