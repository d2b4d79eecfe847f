package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// restoreFlags say what is restored, from where and how; what only looks at a
// restore that could be has them, too.
type restoreFlags struct {
	restoreSource
	filterFlags
	namespaceMappings                 flag.Map
	existing                          flag.Choice
	statusInclude, statusExclude      flag.List
	restoreVolumes, preserveNodePorts flag.OptionalBool
	modifier                          flag.Name
	writeSparseFiles                  flag.OptionalBool
	parallelFilesDownload             int
	itemOperationTimeout, retryFor    flag.Duration
	priorities                        flag.List
	labels, annotations               flag.Map
	role                              string
}

func (o *restoreFlags) add(fs *pflag.FlagSet) {
	o.restoreSource.add(fs)
	o.filterFlags.add(fs)
	o.namespaceMappings, o.labels, o.annotations = flag.NewMap(":"), flag.NewMap("="), flag.NewMap("=")
	o.existing = flag.NewChoice(string(velerov1.PolicyTypeNone), string(velerov1.PolicyTypeUpdate), string(velerov1.PolicyTypeRecreate))
	fs.Var(&o.namespaceMappings, "namespace-mappings", "Restore namespaces under other names, such as old:new,old2:new2.")
	fs.Var(&o.existing, "existing-resource-policy", `What to do with objects that exist: "none" leaves them as they are, "update" patches them to what the backup holds, "recreate" deletes them and creates them anew. Default: none.`)
	fs.Var(&o.statusInclude, "status-include-resources", "Resources whose status is restored, too; * for all. None when not given.")
	fs.Var(&o.statusExclude, "status-exclude-resources", "With --status-include-resources: resources whose status is not restored.")
	flag.AddOptionalBool(fs, &o.restoreVolumes, "restore-volumes", "Restore volumes from their snapshots; =false restores none.")
	flag.AddOptionalBool(fs, &o.preserveNodePorts, "preserve-nodeports", "Give Services the node ports that they had, not new ones.")
	fs.Var(&o.modifier, "resource-modifier-configmap", "ConfigMap in Velero's namespace with changes to make to objects.")
	fs.Var(&o.priorities, "restore-resource-priorities", "Resources to restore first, in this order, and after an entry - those to restore last. They come before Velero's own order.")
	fs.Var(&o.retryFor, "retry-for", "How long objects that could not be restored for a reason that may pass are tried again after the last success of any; 0 means a minute.")
	fs.Var(&o.itemOperationTimeout, "item-operation-timeout", "How long work on one object may go on by itself, such as bringing back a volume's data; 0 means 4 hours.")
	flag.AddOptionalBool(fs, &o.writeSparseFiles, "write-sparse-files", "Write runs of zeros in files of volumes as holes.")
	fs.IntVar(&o.parallelFilesDownload, "parallel-files-download", 0, "How many files of a volume are written at once; 0 means as many as its node has CPUs.")
	fs.Var(&o.labels, "labels", "Labels for the restore, such as a=b,c=d.")
	fs.Var(&o.annotations, "annotations", "Annotations for the restore, such as a=b,c=d.")
	fs.StringVar(&o.role, "role", launch.DefaultRestoreRole, "The ClusterRole that the restore runs with. You can give it no more than you have.")
}

func (o *restoreFlags) complete(f *Factory, cmd *cobra.Command) {
	o.restoreSource.complete(f, cmd)
	o.filterFlags.complete(f, cmd, o.completeNamespaces)
	for _, name := range []string{"status-include-resources", "status-exclude-resources", "restore-resource-priorities"} {
		f.completeListFlag(cmd, name, completeResources(anyScope))
	}
	completeChoice(cmd, "existing-resource-policy", o.existing)
	f.completeFlag(cmd, "resource-modifier-configmap", completeConfigMaps)
	f.completeFlag(cmd, "role", completeClusterRoles)
}

// check finds what is wrong without asking the cluster.
func (o *restoreFlags) check(f *Factory) error {
	if err := o.restoreSource.check(f); err != nil {
		return err
	}
	if err := checkLabels(o.labels.Data()); err != nil {
		return err
	}
	if err := checkAnnotations(o.annotations.Data()); err != nil {
		return err
	}
	if err := o.filterFlags.check(); err != nil {
		return err
	}
	if i := slices.IndexFunc(o.includeResources, filter.NonRestorable); i >= 0 {
		return fmt.Errorf("--include-resources: %q belongs to a cluster or to an installation, and is never restored", o.includeResources[i])
	}
	if err := o.checkMappings(); err != nil {
		return err
	}
	if err := o.checkStatus(); err != nil {
		return err
	}
	if o.parallelFilesDownload < 0 {
		return fmt.Errorf("--parallel-files-download %d is negative; hint: 0 means as many as a node has CPUs", o.parallelFilesDownload)
	}
	return checkPriorities(o.priorities)
}

// checkMappings refuses names that no namespace can have, and those of namespaces
// that are not restored: what was meant for another name would come back under
// its own.
func (o *restoreFlags) checkMappings() error {
	mappings := o.namespaceMappings.Data()
	if len(mappings) == 0 {
		return nil
	}
	restored, err := filter.New(filter.Spec{IncludedNamespaces: o.includeNamespaces, ExcludedNamespaces: o.excludeNamespaces}, nil)
	if err != nil {
		return err
	}
	for _, from := range slices.Sorted(maps.Keys(mappings)) {
		to := mappings[from]
		for _, name := range []string{from, to} {
			if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
				return fmt.Errorf("--namespace-mappings %s:%s: %q is not the name of a namespace: %s", from, to, name, problems[0])
			}
		}
		if !restored.Namespace(from) {
			return fmt.Errorf("--namespace-mappings %s:%s: namespace %q is not restored; hint: filters and the left side of a mapping are names in the backup", from, to, from)
		}
	}
	return nil
}

func (o *restoreFlags) checkStatus() error {
	if len(o.statusExclude) > 0 && len(o.statusInclude) == 0 {
		return fmt.Errorf("--status-exclude-resources has no effect by itself, since no status is restored; hint: --status-include-resources '*' restores all others")
	}
	if err := checkFilter(filter.Spec{IncludedResources: o.statusInclude, ExcludedResources: o.statusExclude}); err != nil {
		return fmt.Errorf("%s", statusFlags.Replace(err.Error()))
	}
	return nil
}

// statusFlags makes of flags that choose objects those that choose their status.
var statusFlags = strings.NewReplacer("--include-resources", "--status-include-resources", "--exclude-resources", "--status-exclude-resources")

// divider stands between the resources that come first and those that come last.
const divider = "-"

func checkPriorities(names []string) error {
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			return fmt.Errorf("--restore-resource-priorities: %q is there twice; hint: RESOURCE,RESOURCE first, and after one - those that come last", name)
		}
		seen[name] = true
		if problems := validation.IsDNS1123Subdomain(name); name != divider && len(problems) > 0 {
			return fmt.Errorf("--restore-resource-priorities: %q is not the name of a kind, such as deployments.apps", name)
		}
	}
	return nil
}

// restore is the object that the flags describe. With --from-schedule it doesn't
// name its backup yet.
func (o *restoreFlags) restore(namespace, name string) *velerov1.Restore {
	return &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: o.labels.Data(), Annotations: o.annotate(o.annotations.Data())},
		Spec: velerov1.RestoreSpec{
			BackupName:              string(o.fromBackup),
			ScheduleName:            string(o.fromSchedule),
			IncludedNamespaces:      o.includeNamespaces,
			ExcludedNamespaces:      o.excludeNamespaces,
			IncludedResources:       o.includeResources,
			ExcludedResources:       o.excludeResources,
			IncludeClusterResources: o.includeClusterResources.Value,
			LabelSelector:           o.selector.LabelSelector,
			OrLabelSelectors:        o.orSelector.LabelSelectors,
			NamespaceMapping:        o.namespaceMappings.Data(),
			ExistingResourcePolicy:  velerov1.PolicyType(o.existing.Value),
			RestorePVs:              o.restoreVolumes.Value,
			RestoreStatus:           o.restoreStatus(),
			PreserveNodePorts:       o.preserveNodePorts.Value,
			ResourceModifier:        configMapReference(o.modifier),
			ItemOperationTimeout:    metav1.Duration{Duration: o.itemOperationTimeout.Value},
			UploaderConfig:          o.uploaderConfig(),
		},
	}
}

func (o *restoreFlags) restoreStatus() *velerov1.RestoreStatusSpec {
	if len(o.statusInclude) == 0 {
		return nil
	}
	return &velerov1.RestoreStatusSpec{IncludedResources: o.statusInclude, ExcludedResources: o.statusExclude}
}

func (o *restoreFlags) uploaderConfig() *velerov1.UploaderConfigForRestore {
	if o.writeSparseFiles.Value == nil && o.parallelFilesDownload == 0 {
		return nil
	}
	return &velerov1.UploaderConfigForRestore{WriteSparseFiles: o.writeSparseFiles.Value, ParallelFilesDownload: o.parallelFilesDownload}
}

// annotate adds what the spec of a Restore has no fields for.
func (o *restoreFlags) annotate(annotations map[string]string) map[string]string {
	annotations = withLists(o.filterFlags.annotate(annotations), map[string][]string{
		velerov1.IncludedClusterScopedResourcesAnnotation:   o.includeClusterScoped,
		velerov1.ExcludedClusterScopedResourcesAnnotation:   o.excludeClusterScoped,
		velerov1.IncludedNamespaceScopedResourcesAnnotation: o.includeNamespaceScoped,
		velerov1.ExcludedNamespaceScopedResourcesAnnotation: o.excludeNamespaceScoped,
		velerov1.ResourcePrioritiesAnnotation:               o.priorities,
	})
	if o.retryFor.Value > 0 {
		annotations = with(annotations, velerov1.RetryForAnnotation, o.retryFor.Value.String())
	}
	return annotations
}
