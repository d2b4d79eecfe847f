package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// backupFlags say what a backup holds and how it is kept; schedules have them,
// too.
type backupFlags struct {
	selectionFlags
	ttl, csiSnapshotTimeout, itemOperationTimeout flag.Duration
	snapshotVolumes                               flag.OptionalBool
	snapshotLocations                             flag.Repeated
	labels, annotations                           flag.Map
	storageLocation                               string
}

func (b *backupFlags) add(fs *pflag.FlagSet) {
	b.selectionFlags.add(fs)
	b.labels, b.annotations = flag.NewMap("="), flag.NewMap("=")
	fs.Var(&b.ttl, "ttl", "How long the backup is kept, such as 720h; 0 means 30 days.")
	fs.Var(&b.csiSnapshotTimeout, "csi-snapshot-timeout", "How long a CSI driver may take to begin a snapshot; 0 means 10 minutes.")
	fs.Var(&b.itemOperationTimeout, "item-operation-timeout", "How long work on one object may go on by itself, such as moving a snapshot's data; 0 means 4 hours.")
	flag.AddOptionalBool(fs, &b.snapshotVolumes, "snapshot-volumes", "Take snapshots of volumes; =false takes none.")
	fs.Var(&b.snapshotLocations, "volume-snapshot-locations", "Where the clouds' own snapshots of disks go, one for each provider; where a provider has only one, it needs no name.")
	fs.Var(&b.labels, "labels", "Labels for the backup, such as a=b,c=d.")
	fs.Var(&b.annotations, "annotations", "Annotations for the backup, such as a=b,c=d.")
	fs.StringVar(&b.storageLocation, "storage-location", "", "Where to store the backup; the default location when not given.")
}

func (b *backupFlags) complete(f *Factory, cmd *cobra.Command) {
	b.selectionFlags.complete(f, cmd)
	f.completeFlag(cmd, "storage-location", completeLocations)
	f.completeFlag(cmd, "volume-snapshot-locations", completeSnapshotLocations)
}

// spec is the part of a Backup that they fill.
func (b *backupFlags) spec() velerov1.BackupSpec {
	spec := velerov1.BackupSpec{
		SnapshotVolumes:      b.snapshotVolumes.Value,
		TTL:                  metav1.Duration{Duration: b.ttl.Value},
		CSISnapshotTimeout:   metav1.Duration{Duration: b.csiSnapshotTimeout.Value},
		ItemOperationTimeout: metav1.Duration{Duration: b.itemOperationTimeout.Value},
		StorageLocation:      b.storageLocation,

		VolumeSnapshotLocations: b.snapshotLocations,
	}
	b.fill(&spec)
	return spec
}

// meta is the metadata that they fill, of a Backup or a Schedule.
func (b *backupFlags) meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels: b.labels.Data(), Annotations: b.annotate(b.annotations.Data()),
	}
}

// check finds what is wrong without asking the cluster.
func (b *backupFlags) check() error {
	if err := checkLabels(b.labels.Data()); err != nil {
		return err
	}
	if err := checkAnnotations(b.annotations.Data()); err != nil {
		return err
	}
	return b.selectionFlags.check()
}

type backupCreate struct {
	backupFlags
	waitFlags
	creation
	fromSchedule flag.Name
	// own are the flags that a schedule's template stands in for.
	own *pflag.FlagSet
}

func newBackupCreate(f *Factory, use string) *cobra.Command {
	o := &backupCreate{creation: newCreation(), own: pflag.NewFlagSet("", pflag.ContinueOnError)}
	cmd := &cobra.Command{
		Use:     use + " NAME",
		Short:   "Back up the cluster or a part of it",
		Long:    "Back up the cluster or a part of it. Everything is checked before anything is created; a Job does the work. With --from-schedule, NAME may be left out." + filterHelp,
		Example: f.examples(backupCreateExamples),
		Args:    o.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = strings.Join(args, "")
			return o.run(cmd.Context(), f)
		},
	}
	o.backupFlags.add(o.own)
	cmd.Flags().AddFlagSet(o.own)
	cmd.Flags().Var(&o.fromSchedule, "from-schedule", "Make the backup that this schedule would make, now. Of the flags that describe a backup only --labels and --annotations count then.")
	o.waitFlags.add(cmd.Flags())
	o.creation.add(cmd)
	o.backupFlags.complete(f, cmd)
	f.completeFlag(cmd, "from-schedule", completeSchedules)
	return cmd
}

const backupCreateExamples = `  # Everything
  %[1]s backup create everything

  # One namespace; wait, and fail if anything is missing
  %[1]s backup create shop --include-namespaces shop --wait

  # What carries a label, for a week, without volume snapshots
  %[1]s backup create web --selector app=web --ttl 168h --snapshot-volumes=false

  # With the disks' snapshots in another region than usual
  %[1]s backup create shop --include-namespaces shop --volume-snapshot-locations far-away

  # Single objects: one Deployment, and some Secrets
  %[1]s backup create web --include-objects shop/deploy/web,shop/secret/db-*

  # All kinds without a namespace, and of the others only two
  %[1]s backup create platform --include-cluster-scoped-resources '*' --include-namespace-scoped-resources configmaps,secrets

  # The database's pods first, the leader before its replica
  %[1]s backup create shop --include-namespaces shop --ordered-resources 'pods=shop/db-0,shop/db-1'

  # What a schedule says, now
  %[1]s backup create --from-schedule nightly

  # Show the object that would be created
  %[1]s backup create shop --include-namespaces shop --dry-run -o yaml`

// args asks for a name, which a schedule can stand in for.
func (o *backupCreate) args(cmd *cobra.Command, args []string) error {
	if o.fromSchedule != "" {
		return atMostOneName(cmd, args)
	}
	return oneName("backup")(cmd, args)
}

func (o *backupCreate) run(ctx context.Context, f *Factory) error {
	if o.name == "" {
		o.name = o.scheduledName(f.now())
	}
	if err := o.creation.check("backup"); err != nil {
		return err
	}
	if err := o.backupFlags.check(); err != nil {
		return err
	}
	return o.finish(f, "backup", steps{
		objects: func() ([]runtime.Object, error) {
			backup, err := o.backup(ctx, f)
			return []runtime.Object{backup}, err
		},
		create: func(s *session) error {
			backup, err := o.backup(ctx, f)
			if err != nil {
				return err
			}
			return o.create(ctx, s, backup)
		},
	})
}

// backup is the object to create.
func (o *backupCreate) backup(ctx context.Context, f *Factory) (*velerov1.Backup, error) {
	if o.fromSchedule != "" {
		return o.ofSchedule(ctx, f)
	}
	return &velerov1.Backup{ObjectMeta: o.meta(f.Namespace(), o.name), Spec: o.spec()}, nil
}

func (o *backupCreate) create(ctx context.Context, s *session, backup *velerov1.Backup) error {
	installed, err := s.readyForBackups(ctx, backup.Annotations, &backup.Spec,
		permission{verb: "create", group: "velero.io", resource: "backups"},
		permission{verb: "create", group: "batch", resource: "jobs"})
	if err != nil {
		return err
	}
	if err := s.nameIsFree(ctx, backup.Name); err != nil {
		return err
	}
	created, err := s.createBackup(ctx, backup)
	if err != nil {
		return err
	}
	err = s.start(ctx, installed.template, launch.Operation{
		Kind: velerov1.OperationBackup, Namespace: created.Namespace, Name: created.Name, UID: created.UID,
		Owner:    launch.Owner("Backup", created.Name, created.UID),
		Args:     []string{"backup", "--name", created.Name},
		Location: installed.location, SnapshotLocations: installed.snapshots,
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
