package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

type backupDelete struct {
	all      bool
	confirm  bool
	force    bool
	selector flag.Selector
	location string
}

func newBackupDelete(f *Factory, use string) *cobra.Command {
	o := &backupDelete{}
	cmd := &cobra.Command{
		Use:   use + " [NAMES]",
		Short: "Delete backups with all that is stored for them",
		Long: "Delete backups with all that is stored for them: what lies in the bucket, the restores made from them, and the objects in the cluster. " +
			"A Job does it; the command waits for the end.",
		Example: f.examples(`  # One backup
  %[1]s backup delete shop

  # All of a schedule, without being asked
  %[1]s backup delete --selector velero.io/schedule-name=nightly --confirm`),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return err
			}
			s, err := f.connect()
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), s, args)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.all, "all", false, "Delete all backups.")
	fs.BoolVar(&o.confirm, "confirm", false, "Don't ask.")
	fs.BoolVar(&o.force, "force", false, "Also delete a backup that belongs to another cluster, or whose snapshots can't be deleted.")
	fs.VarP(&o.selector, "selector", "l", "Delete the backups that match this label selector.")
	fs.StringVar(&o.location, "storage-location", "", "Where a backup lies that the cluster has no object of; its name must be given.")
	f.completeFlag(cmd, "storage-location", completeLocations)
	f.completeArgs(cmd, completeBackups)
	return cmd
}

func (o *backupDelete) check(names []string) error {
	if err := checkChoice(names, o.all, o.selector); err != nil {
		return err
	}
	if o.location != "" && len(names) == 0 {
		return errors.New("--storage-location needs the names of backups")
	}
	return nil
}

func (o *backupDelete) run(ctx context.Context, s *session, names []string) error {
	backups, err := o.find(ctx, s, names)
	if err != nil {
		return err
	}
	if len(backups) == 0 {
		fmt.Fprintln(s.Out, "No backups found")
		return nil
	}
	if err := s.mustHaveNoServer(ctx); err != nil {
		return err
	}
	if err := s.noneRuns(ctx, backups); err != nil {
		return err
	}
	if sure, err := o.sure(s, backups); !sure || err != nil {
		return err
	}
	var failed error
	for i := range backups {
		err := o.deleteOne(ctx, s, &backups[i])
		if err == nil {
			continue
		}
		PrintError(s.ErrOut, failed) // the last one is returned
		failed = err
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// find reads what is to be deleted. With --storage-location the bucket alone
// may know the names.
func (o *backupDelete) find(ctx context.Context, s *session, names []string) ([]velerov1.Backup, error) {
	if o.location == "" {
		return s.backups(ctx, names, o.selector.String())
	}
	backups := make([]velerov1.Backup, 0, len(names))
	for _, name := range names {
		b, err := s.velero.Backups(s.namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) && !notInstalled(err):
			b = &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}, Spec: velerov1.BackupSpec{StorageLocation: o.location}}
			b.Status.Phase = velerov1.BackupPhaseDeleting
		case err != nil:
			return nil, s.explain(fmt.Sprintf("read backup %q", name), err)
		}
		backups = append(backups, *b)
	}
	return backups, nil
}

// noneRuns refuses to pull a backup away from under the Job that makes it.
func (s *session) noneRuns(ctx context.Context, backups []velerov1.Backup) error {
	verdicts, err := s.judgeBackups(ctx, backups)
	if err != nil {
		return err
	}
	for i, v := range verdicts {
		if v.Standing != launch.Ended {
			return fmt.Errorf("backup %q has not ended; hint: wait until it has, or stop it with `kubectl -n %s delete jobs -l %s=%s`",
				backups[i].Name, s.namespace, velerov1.OperationUIDLabel, backups[i].UID)
		}
	}
	return nil
}

// sure asks, unless --confirm was given. Without a terminal there is nobody to
// ask, and then it refuses.
func (o *backupDelete) sure(s *session, backups []velerov1.Backup) (bool, error) {
	if o.confirm {
		return true, nil
	}
	if !isTerminal(s.In) {
		return false, errors.New("nobody can be asked whether to delete, since the input is not a terminal; hint: --confirm deletes without asking")
	}
	return ask(s, fmt.Sprintf("Delete %s and everything that is stored for them? (y/N) ", strings.Join(names(backups, func(i int) string { return backups[i].Name }), ", ")))
}

func ask(s *session, question string) (bool, error) {
	fmt.Fprint(s.ErrOut, question)
	answer, err := bufio.NewReader(s.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	fmt.Fprintln(s.ErrOut, "Nothing was deleted.")
	return false, nil
}

func (o *backupDelete) deleteOne(ctx context.Context, s *session, backup *velerov1.Backup) error {
	job, err := o.startDelete(ctx, s, backup)
	if err != nil {
		return err
	}
	p := s.newProgress(ctx, deleteNoun, backup.Name)
	target := launch.Target{Operation: velerov1.OperationDelete, Name: backup.Name, Job: job}
	if backup.UID == "" {
		target.Name = "" // without an object, the Job alone tells
	}
	_, verdict, err := s.observer.Follow(ctx, target, p.show)
	p.end()
	if err != nil {
		return s.stoppedWaiting(deleteNoun, backup.Name, err)
	}
	if verdict.Outcome == report.Completed {
		fmt.Fprintf(s.Out, "Backup %q deleted.\n", backup.Name)
		return nil
	}
	return &outcomeError{outcome: verdict.Outcome, text: fmt.Sprintf("backup %q was not deleted: %s", backup.Name, verdict.Reason)}
}

var deleteNoun = noun{"deletion of backup", "Deletion", "Deleting", velerov1.OperationDelete}

func (o *backupDelete) startDelete(ctx context.Context, s *session, backup *velerov1.Backup) (string, error) {
	template, err := s.template(ctx)
	if err != nil {
		return "", err
	}
	location, err := o.locationOf(ctx, s, backup)
	if err != nil {
		return "", fmt.Errorf("backup %q: %w", backup.Name, err)
	}
	args := []string{"delete", "--backup", backup.Name}
	known := backup
	if backup.UID == "" {
		known = nil
	}
	snapshots, err := s.snapshotLocationsOf(ctx, known)
	if err != nil {
		return "", fmt.Errorf("backup %q: %w", backup.Name, err)
	}
	if known == nil {
		args = append(args, "--location", location.Name)
	}
	if o.force {
		args = append(args, "--force")
	}
	job, err := launch.Start(ctx, s.kube, launch.Job(template, launch.Operation{
		Kind: velerov1.OperationDelete, Namespace: s.namespace, Name: backup.Name, UID: uuid.NewUUID(),
		Args: args, Location: location, SnapshotLocations: snapshots,
	}))
	if err != nil {
		return "", fmt.Errorf("delete backup %q: %w", backup.Name, err)
	}
	return job.Name, nil
}

// locationOf finds where a backup lies: the flag's word is only taken for one that the
// cluster has no object of.
func (o *backupDelete) locationOf(ctx context.Context, s *session, backup *velerov1.Backup) (*velerov1.BackupStorageLocation, error) {
	if backup.UID == "" {
		return s.location(ctx, o.location)
	}
	location, err := s.takenTo(ctx, backup.Spec.StorageLocation)
	if err != nil {
		return nil, fmt.Errorf("%w; or `kubectl -n %s delete backups.velero.io %s` forgets the backup and leaves its files and snapshots where they are",
			err, s.namespace, backup.Name)
	}
	return location, nil
}
