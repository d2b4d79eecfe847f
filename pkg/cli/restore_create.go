package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

type restoreCreate struct {
	waitFlags
	creation
	fromBackup                           string
	includeNamespaces, excludeNamespaces flag.List
	includeResources, excludeResources   flag.List
	includeClusterResources              flag.OptionalBool
	namespaceMappings                    flag.Map
	restoreVolumes                       flag.OptionalBool
	selector                             flag.Selector
	labels                               flag.Map
	role                                 string
}

func newRestoreCreate(f *Factory, use string) *cobra.Command {
	o := &restoreCreate{creation: newCreation()}
	cmd := &cobra.Command{
		Use:     use + " [NAME] --from-backup BACKUP",
		Short:   "Restore a backup or a part of it",
		Long:    "Restore a backup or a part of it. Objects that exist are left as they are. Without NAME the restore is named after the backup and the time.",
		Example: f.examples(restoreCreateExamples),
		Args:    atMostOneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = o.fromBackup + "-" + f.now().Format("20060102150405")
			if len(args) > 0 {
				o.name = args[0]
			}
			return o.run(cmd.Context(), f)
		},
	}
	o.addFlags(cmd.Flags())
	o.waitFlags.add(cmd.Flags())
	o.creation.add(cmd)
	f.completeFlag(cmd, "from-backup", completeBackups)
	return cmd
}

const restoreCreateExamples = `  # Restore everything in a backup and wait
  %[1]s restore create --from-backup shop --wait

  # Restore one namespace under another name
  %[1]s restore create copy --from-backup shop --include-namespaces shop --namespace-mappings shop:shop-copy

  # Only some kinds, without volumes
  %[1]s restore create --from-backup shop --include-resources configmaps,secrets --restore-volumes=false`

func (o *restoreCreate) addFlags(fs *pflag.FlagSet) {
	o.includeNamespaces = flag.List{"*"}
	o.namespaceMappings, o.labels = flag.NewMap(":"), flag.NewMap("=")
	fs.StringVar(&o.fromBackup, "from-backup", "", "The backup to restore from; required.")
	fs.Var(&o.includeNamespaces, "include-namespaces", "Namespaces of the backup to restore, separated by commas; * ? and [ ] make patterns.")
	fs.Var(&o.excludeNamespaces, "exclude-namespaces", "Namespaces to leave out.")
	fs.Var(&o.includeResources, "include-resources", "Resources to restore, such as deployments.apps,secrets; all when not given.")
	fs.Var(&o.excludeResources, "exclude-resources", "Resources to leave out.")
	flag.AddOptionalBool(fs, &o.includeClusterResources, "include-cluster-resources",
		"Restore all cluster-scoped objects of the backup, or none with =false. When not given: all if every namespace is restored, else those that the selected objects need.")
	fs.Var(&o.namespaceMappings, "namespace-mappings", "Restore namespaces under other names, such as old:new,old2:new2.")
	flag.AddOptionalBool(fs, &o.restoreVolumes, "restore-volumes", "Restore volumes from their snapshots; =false restores none.")
	fs.VarP(&o.selector, "selector", "l", "Restore only objects that match this label selector.")
	fs.Var(&o.labels, "labels", "Labels for the restore, such as a=b,c=d.")
	fs.StringVar(&o.role, "role", launch.DefaultRestoreRole, "The ClusterRole that the restore runs with. You can give it no more than you have.")
}

func (o *restoreCreate) run(ctx context.Context, f *Factory) error {
	if err := o.checkFlags(f); err != nil {
		return err
	}
	restore := o.restore(f.Namespace())
	return o.finish(f, "restore", steps{
		objects: func() ([]runtime.Object, error) { return []runtime.Object{restore}, nil },
		create:  func(s *session) error { return o.create(ctx, s, restore) },
	})
}

func (o *restoreCreate) checkFlags(f *Factory) error {
	if o.fromBackup == "" {
		return fmt.Errorf("--from-backup is missing; hint: `%s backup get` lists the backups", f.name)
	}
	if err := o.creation.check("restore"); err != nil {
		return err
	}
	if err := checkLabels(o.labels.Data()); err != nil {
		return err
	}
	if err := checkMappings(o.namespaceMappings.Data()); err != nil {
		return err
	}
	return checkFilter(filter.Spec{
		IncludedNamespaces: o.includeNamespaces, ExcludedNamespaces: o.excludeNamespaces,
		IncludedResources: o.includeResources, ExcludedResources: o.excludeResources,
		IncludeClusterResources: o.includeClusterResources.Value,
		LabelSelector:           o.selector.LabelSelector,
	})
}

// checkMappings refuses names that no namespace can have.
func checkMappings(mappings map[string]string) error {
	for from, to := range mappings {
		for _, name := range []string{from, to} {
			if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
				return fmt.Errorf("--namespace-mappings %s:%s: %q is not the name of a namespace: %s", from, to, name, problems[0])
			}
		}
	}
	return nil
}

func (o *restoreCreate) restore(namespace string) *velerov1.Restore {
	return &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.name, Labels: o.labels.Data()},
		Spec: velerov1.RestoreSpec{
			BackupName:              o.fromBackup,
			IncludedNamespaces:      o.includeNamespaces,
			ExcludedNamespaces:      o.excludeNamespaces,
			IncludedResources:       o.includeResources,
			ExcludedResources:       o.excludeResources,
			IncludeClusterResources: o.includeClusterResources.Value,
			NamespaceMapping:        o.namespaceMappings.Data(),
			LabelSelector:           o.selector.LabelSelector,
			RestorePVs:              o.restoreVolumes.Value,
		},
	}
}

func (o *restoreCreate) create(ctx context.Context, s *session, restore *velerov1.Restore) error {
	rights := launch.Rights{Kube: s.kube, Namespace: s.namespace, Role: o.role}
	template, location, err := o.prepare(ctx, s, rights)
	if err != nil {
		return err
	}
	created, err := s.createRestore(ctx, restore)
	if err != nil {
		return err
	}
	cr := launch.RestoreCR(created)
	if err := rights.Bind(ctx, created.Name, created.UID); err != nil {
		return s.neverStarted(ctx, velerov1.OperationRestore, cr, err)
	}
	err = s.start(ctx, template, launch.Operation{
		Kind: velerov1.OperationRestore, Namespace: created.Namespace, Name: created.Name, UID: created.UID,
		Owner:          launch.Owner("Restore", created.Name, created.UID),
		ServiceAccount: launch.RestoreServiceAccount,
		Args:           []string{"restore", "--name", created.Name},
		Credential:     location.Spec.Credential,
	}, cr)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Restore request %q submitted successfully.\n", created.Name)
	if !o.wait {
		fmt.Fprintln(s.Out, s.pointers(restoreNoun, created.Name))
		return nil
	}
	return s.wait(ctx, restoreNoun, created.Name, o.waitFlags)
}

// prepare checks everything that the cluster knows.
func (o *restoreCreate) prepare(ctx context.Context, s *session, rights launch.Rights) (*corev1.PodTemplate, *velerov1.BackupStorageLocation, error) {
	err := s.mustBeAllowed(ctx,
		permission{verb: "create", group: "velero.io", resource: "restores"},
		permission{verb: "get", group: "velero.io", resource: "backups"},
		permission{verb: "create", group: "batch", resource: "jobs"},
		permission{verb: "get", resource: "podtemplates"},
		permission{verb: "list", group: "velero.io", resource: "backupstoragelocations"},
		permission{verb: "list", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings", clusterScoped: true},
		permission{verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings", clusterScoped: true})
	if err != nil {
		return nil, nil, err
	}
	template, err := s.template(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := s.mustHaveNoServer(ctx); err != nil {
		return nil, nil, err
	}
	backup, err := s.restorable(ctx, o.fromBackup)
	if err != nil {
		return nil, nil, err
	}
	if err := mustHold(backup, o.includeNamespaces); err != nil {
		return nil, nil, err
	}
	location, err := s.location(ctx, backup.Spec.StorageLocation)
	if err != nil {
		return nil, nil, fmt.Errorf("backup %q: %w", backup.Name, err)
	}
	if err := s.restoreNameIsFree(ctx, o.name); err != nil {
		return nil, nil, err
	}
	return template, location, rights.Check(ctx)
}

// restorable finds the backup and refuses one that holds nothing.
func (s *session) restorable(ctx context.Context, name string) (*velerov1.Backup, error) {
	backup, err := s.velero.Backups(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !notInstalled(err) {
		return nil, fmt.Errorf("backup %q does not exist in namespace %q; hint: `%s backup get` lists those that do", name, s.namespace, s.name)
	}
	if err != nil {
		return nil, s.explain(fmt.Sprintf("read backup %q", name), err)
	}
	switch backup.Status.Phase {
	case velerov1.BackupPhaseCompleted, velerov1.BackupPhasePartiallyFailed:
		return backup, nil
	case velerov1.BackupPhaseInProgress:
		return nil, fmt.Errorf("backup %q has not ended yet; hint: `%s backup describe %s` shows how it fares", name, s.name, name)
	}
	return nil, fmt.Errorf("backup %q can't be restored: its phase is %s; hint: `%s backup describe %s` says why", name, backup.Status.Phase, s.name, name)
}

// mustHold refuses namespaces that the backup can't have in it, as far as its
// own list of namespaces tells.
func mustHold(backup *velerov1.Backup, wanted []string) error {
	held := backup.Spec.IncludedNamespaces
	if len(held) == 0 || slices.ContainsFunc(held, filter.IsPattern) {
		return nil
	}
	for _, name := range wanted {
		if !filter.IsPattern(name) && !slices.Contains(held, name) {
			return fmt.Errorf("namespace %q is not in backup %q; hint: it holds %s", name, backup.Name, strings.Join(held, ", "))
		}
	}
	return nil
}

func (s *session) restoreNameIsFree(ctx context.Context, name string) error {
	taken, err := s.velero.Restores(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !notInstalled(err) {
		return nil
	}
	if err != nil {
		return s.explain(fmt.Sprintf("look whether restore %q exists", name), err)
	}
	return fmt.Errorf("restore %q exists already (%s); hint: choose another name, or none: it is then named after backup and time", name, taken.Status.Phase)
}

// createRestore creates the record, InProgress from the first moment.
func (s *session) createRestore(ctx context.Context, restore *velerov1.Restore) (*velerov1.Restore, error) {
	restore.Annotations = map[string]string{velerov1.AttemptAnnotation: "0"}
	restore.Status.Phase = velerov1.RestorePhaseInProgress
	created, err := s.velero.Restores(s.namespace).Create(ctx, restore, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, s.explain(fmt.Sprintf("create restore %q", restore.Name), err)
	}
	return created, nil
}
