package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

type restoreCreate struct {
	restoreFlags
	waitFlags
	creation
}

func newRestoreCreate(f *Factory, use string) *cobra.Command {
	o := &restoreCreate{creation: newCreation()}
	cmd := &cobra.Command{
		Use:   use + " [NAME] (--from-backup BACKUP | --from-schedule SCHEDULE)",
		Short: "Restore a backup or a part of it",
		Long: "Restore a backup or a part of it. Everything is checked before anything is created; a Job does the work. " +
			"Objects that exist are left as they are, unless --existing-resource-policy says otherwise. Filters go by the names in the backup. " +
			"Without NAME the restore is named after its source and the time." + filterHelp,
		Example: f.examples(restoreCreateExamples),
		Args:    atMostOneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = strings.Join(args, "")
			err := o.run(cmd.Context(), f)
			if o.dryRun.Value == dryRunServer {
				return diffExit(err) // 1 says that something would fail
			}
			return err
		},
	}
	o.restoreFlags.add(cmd.Flags())
	o.waitFlags.add(cmd.Flags())
	o.creation.addWithPreview(cmd)
	o.restoreFlags.complete(f, cmd)
	return cmd
}

const restoreCreateExamples = `  # Everything in a backup; wait, and fail if anything is missing
  %[1]s restore create --from-backup shop --wait

  # First see what would become of each object
  %[1]s restore create --from-backup shop --dry-run=server

  # One namespace under another name
  %[1]s restore create copy --from-backup shop --include-namespaces shop --namespace-mappings shop:shop-copy

  # Single objects, as they were, over what there is now
  %[1]s restore create --from-backup shop --include-objects shop/deploy/web,shop/secret/db --existing-resource-policy update

  # The newest good backup of a schedule
  %[1]s restore create --from-schedule nightly --wait

  # Only some kinds, without volumes
  %[1]s restore create --from-backup shop --include-resources configmaps,secrets --restore-volumes=false

  # Show the object and the Job that would be created
  %[1]s restore create --from-backup shop --dry-run=client -o yaml`

func (o *restoreCreate) run(ctx context.Context, f *Factory) error {
	if err := o.restoreFlags.check(f); err != nil {
		return err
	}
	if o.name == "" {
		o.name = o.defaultName(f.now())
	}
	if err := o.creation.check("restore"); err != nil {
		return err
	}
	restore := o.restore(f.Namespace(), o.name)
	return o.finish(f, "restore", steps{
		objects: func() ([]runtime.Object, error) { return o.objects(ctx, f, restore) },
		create:  func(s *session) error { return o.create(ctx, s, restore) },
		preview: func(s *session) error { return o.preview(ctx, s, restore) },
	})
}

// objects are what would be created. The Job, which --dry-run=client asks for, is
// made of things that only the cluster knows, and so is the backup of a schedule.
func (o *restoreCreate) objects(ctx context.Context, f *Factory, restore *velerov1.Restore) ([]runtime.Object, error) {
	if o.dryRun.Value != dryRunClient && o.fromSchedule == "" {
		return []runtime.Object{restore}, nil
	}
	s, err := f.connect()
	if err != nil {
		return nil, err
	}
	if o.dryRun.Value != dryRunClient {
		return []runtime.Object{restore}, o.resolve(ctx, s, restore)
	}
	in, err := o.installed(ctx, s, restore)
	if err != nil {
		return nil, err
	}
	job := launch.Job(in.template, restoreOperation(in, restore))
	job.Name = strings.TrimSuffix(job.Name, "-") // where the UID would follow
	return []runtime.Object{restore, job}, nil
}

// restoreOperation is what the Job of a restore is to do.
func restoreOperation(in installed, restore *velerov1.Restore) launch.Operation {
	op := launch.Operation{
		Kind: velerov1.OperationRestore, Namespace: restore.Namespace, Name: restore.Name, UID: restore.UID,
		ServiceAccount: launch.RestoreServiceAccount,
		Args:           []string{"restore", "--name", restore.Name},
		Location:       in.location, SnapshotLocations: in.snapshots,
	}
	if restore.UID != "" { // which it has once it was created
		op.Owner = launch.Owner("Restore", restore.Name, restore.UID)
	}
	return op
}

// readyOrBroughtIn is ready, and looks for a backup that the cluster doesn't know in
// the storage locations.
func (o *restoreCreate) readyOrBroughtIn(ctx context.Context, s *session, restore *velerov1.Restore) (installed, error) {
	mayCreate := permission{verb: "create", group: "velero.io", resource: "restores"}
	var in installed
	ready := func() (err error) {
		in, err = o.ready(ctx, s, restore, mayCreate)
		return err
	}
	err := ready()
	if err != nil {
		err = s.bringIn(ctx, err, o.startTimeout.Value, ready)
	}
	return in, err
}

func (o *restoreCreate) create(ctx context.Context, s *session, restore *velerov1.Restore) error {
	in, err := o.readyOrBroughtIn(ctx, s, restore)
	if err != nil {
		return err
	}
	if err := s.restoreNameIsFree(ctx, restore.Name); err != nil {
		return err
	}
	created, err := s.createRestore(ctx, restore)
	if err != nil {
		return err
	}
	cr := launch.RestoreCR(created)
	if err := o.rights(s).Bind(ctx, created.Name, created.UID); err != nil {
		return s.neverStarted(ctx, velerov1.OperationRestore, cr, err)
	}
	if err := s.start(ctx, in.template, restoreOperation(in, created), cr); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Restore request %q submitted successfully.\n", created.Name)
	if !o.wait {
		fmt.Fprintln(s.Out, s.pointers(restoreNoun, created.Name))
		return nil
	}
	return s.wait(ctx, restoreNoun, created.Name, o.waitFlags)
}
