package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// backupFlags say what a backup holds; schedules have them, too.
type backupFlags struct {
	ttl                                  flag.Duration
	includeNamespaces, excludeNamespaces flag.List
	includeResources, excludeResources   flag.List
	includeClusterResources              flag.OptionalBool
	snapshotVolumes                      flag.OptionalBool
	selector                             flag.Selector
	labels                               flag.Map
	storageLocation                      string
}

func (b *backupFlags) add(fs *pflag.FlagSet) {
	b.includeNamespaces = flag.List{"*"}
	b.labels = flag.NewMap("=")
	fs.Var(&b.ttl, "ttl", "How long the backup is kept, such as 720h; 0 means 30 days.")
	fs.Var(&b.includeNamespaces, "include-namespaces", "Namespaces to back up, separated by commas; * ? and [ ] make patterns.")
	fs.Var(&b.excludeNamespaces, "exclude-namespaces", "Namespaces to leave out.")
	fs.Var(&b.includeResources, "include-resources", "Resources to back up, such as deployments.apps,secrets; all when not given.")
	fs.Var(&b.excludeResources, "exclude-resources", "Resources to leave out, such as events.")
	flag.AddOptionalBool(fs, &b.includeClusterResources, "include-cluster-resources",
		"Back up all cluster-scoped objects, or none with =false. When not given: all if every namespace is backed up, else those that the selected objects need.")
	flag.AddOptionalBool(fs, &b.snapshotVolumes, "snapshot-volumes", "Take snapshots of volumes; =false takes none.")
	fs.VarP(&b.selector, "selector", "l", "Back up only objects that match this label selector.")
	fs.Var(&b.labels, "labels", "Labels for the backup, such as a=b,c=d.")
	fs.StringVar(&b.storageLocation, "storage-location", "", "Where to store the backup; the default location when not given.")
}

func (b *backupFlags) spec() velerov1.BackupSpec {
	return velerov1.BackupSpec{
		IncludedNamespaces:      b.includeNamespaces,
		ExcludedNamespaces:      b.excludeNamespaces,
		IncludedResources:       b.includeResources,
		ExcludedResources:       b.excludeResources,
		IncludeClusterResources: b.includeClusterResources.Value,
		SnapshotVolumes:         b.snapshotVolumes.Value,
		LabelSelector:           b.selector.LabelSelector,
		TTL:                     metav1.Duration{Duration: b.ttl.Value},
		StorageLocation:         b.storageLocation,
	}
}

// check finds what is wrong without asking the cluster.
func (b *backupFlags) check() error {
	if err := checkLabels(b.labels.Data()); err != nil {
		return err
	}
	return checkFilter(filter.Spec{
		IncludedNamespaces: b.includeNamespaces, ExcludedNamespaces: b.excludeNamespaces,
		IncludedResources: b.includeResources, ExcludedResources: b.excludeResources,
		IncludeClusterResources: b.includeClusterResources.Value,
		LabelSelector:           b.selector.LabelSelector,
	})
}

type backupCreate struct {
	backupFlags
	waitFlags
	dryRun dryRun
	output *output
	name   string
}

func newBackupCreate(f *Factory, use string) *cobra.Command {
	o := &backupCreate{output: newOutput("created")}
	cmd := &cobra.Command{
		Use:     use + " NAME",
		Short:   "Back up the cluster or a part of it",
		Long:    "Back up the cluster or a part of it. Everything is checked before anything is created; a Job does the work.",
		Example: f.examples(backupCreateExamples),
		Args:    oneName("backup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return o.run(cmd.Context(), f)
		},
	}
	o.backupFlags.add(cmd.Flags())
	o.waitFlags.add(cmd.Flags())
	o.dryRun.add(cmd.Flags())
	o.output.add(cmd, false)
	f.completeFlag(cmd, "storage-location", completeLocations)
	f.completeFlag(cmd, "include-namespaces", completeNamespaces)
	f.completeFlag(cmd, "exclude-namespaces", completeNamespaces)
	return cmd
}

const backupCreateExamples = `  # Everything
  %[1]s backup create everything

  # One namespace; wait, and fail if anything is missing
  %[1]s backup create shop --include-namespaces shop --wait

  # What carries a label, for a week, without volume snapshots
  %[1]s backup create web --selector app=web --ttl 168h --snapshot-volumes=false

  # Show the object that would be created
  %[1]s backup create shop --include-namespaces shop --dry-run -o yaml`

func (o *backupCreate) run(ctx context.Context, f *Factory) error {
	if err := o.checkFlags(); err != nil {
		return err
	}
	backup := o.backup(f.Namespace())
	if o.output.chosen() {
		return o.output.print(f.Out, backup)
	}
	if o.dryRun == dryRunClient {
		fmt.Fprintf(f.Out, "backup.velero.io/%s created (dry run)\n", o.name)
		return nil
	}
	s, err := f.connect()
	if err != nil {
		return err
	}
	return o.create(ctx, s, backup)
}

func (o *backupCreate) checkFlags() error {
	if err := checkName("backup", o.name); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	return o.output.check()
}

func (o *backupCreate) backup(namespace string) *velerov1.Backup {
	return &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: o.name, Labels: o.labels.Data()},
		Spec:       o.spec(),
	}
}

func (o *backupCreate) create(ctx context.Context, s *session, backup *velerov1.Backup) error {
	template, location, err := o.prepare(ctx, s, backup)
	if err != nil {
		return err
	}
	created, err := s.createBackup(ctx, backup)
	if err != nil {
		return err
	}
	err = s.start(ctx, template, launch.Operation{
		Kind: velerov1.OperationBackup, Namespace: created.Namespace, Name: created.Name, UID: created.UID,
		Owner:      launch.Owner("Backup", created.Name, created.UID),
		Args:       []string{"backup", "--name", created.Name},
		Credential: location.Spec.Credential,
	}, launch.BackupCR(created))
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Backup request %q submitted successfully.\n", created.Name)
	if !o.wait {
		fmt.Fprintln(s.Out, s.pointers(backupNoun, created.Name))
		return nil
	}
	return s.wait(ctx, backupNoun, created.Name, o.waitFlags)
}

// prepare checks everything that the cluster knows, and completes the Backup.
func (o *backupCreate) prepare(ctx context.Context, s *session, backup *velerov1.Backup) (*corev1.PodTemplate, *velerov1.BackupStorageLocation, error) {
	template, location, err := s.readyForBackups(ctx, &backup.Spec, permission{verb: "create", group: "velero.io", resource: "backups"},
		permission{verb: "create", group: "batch", resource: "jobs"})
	if err != nil {
		return nil, nil, err
	}
	if err := s.nameIsFree(ctx, backup.Name); err != nil {
		return nil, nil, err
	}
	return template, location, nil
}

// readyForBackups checks what backups and schedules need alike, and fills in
// the storage location.
func (s *session) readyForBackups(ctx context.Context, spec *velerov1.BackupSpec, needed ...permission) (*corev1.PodTemplate, *velerov1.BackupStorageLocation, error) {
	needed = append(needed, permission{verb: "get", resource: "podtemplates"},
		permission{verb: "list", group: "velero.io", resource: "backupstoragelocations"})
	if err := s.mustBeAllowed(ctx, needed...); err != nil {
		return nil, nil, err
	}
	template, err := s.template(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := s.mustHaveNoServer(ctx); err != nil {
		return nil, nil, err
	}
	location, err := s.location(ctx, spec.StorageLocation)
	if err != nil {
		return nil, nil, err
	}
	if location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly {
		return nil, nil, fmt.Errorf("storage location %q is read-only; hint: choose another with --storage-location, or set its accessMode to ReadWrite", location.Name)
	}
	spec.StorageLocation = location.Name
	return template, location, s.mustExist(ctx, spec.IncludedNamespaces)
}

// nameIsFree refuses a name that another Backup has.
func (s *session) nameIsFree(ctx context.Context, name string) error {
	taken, err := s.velero.Backups(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !notInstalled(err) {
		return nil
	}
	if err != nil {
		return s.explain(fmt.Sprintf("look whether backup %q exists", name), err)
	}
	return s.nameTaken(name, string(taken.Status.Phase))
}

func (s *session) nameTaken(name, phase string) error {
	state := ""
	if phase != "" {
		state = fmt.Sprintf(" (%s)", phase)
	}
	return fmt.Errorf("backup %q exists already%s; hint: choose another name, or delete it: %s backup delete %s", name, state, s.name, name)
}

// createBackup creates the record. Its phase is InProgress from the first
// moment, since a Velero server that comes back runs those without one.
func (s *session) createBackup(ctx context.Context, backup *velerov1.Backup) (*velerov1.Backup, error) {
	backup.Annotations = map[string]string{velerov1.AttemptAnnotation: "0"}
	if backup.Labels == nil {
		backup.Labels = map[string]string{}
	}
	backup.Labels[velerov1.StorageLocationLabel] = velerov1.ValidName(backup.Spec.StorageLocation)
	backup.Status.Phase = velerov1.BackupPhaseInProgress
	created, err := s.velero.Backups(s.namespace).Create(ctx, backup, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return nil, s.nameTaken(backup.Name, "")
	}
	if err != nil {
		return nil, s.explain(fmt.Sprintf("create backup %q", backup.Name), err)
	}
	return created, nil
}

// fieldManager owns the fields that the plugin writes.
const fieldManager = "kubectl-velero"
