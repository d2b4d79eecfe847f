package delete

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
)

// find reads the Backup, if there is one, and the Restores made from it.
func (o *operation) find(ctx context.Context) error {
	if problems := validation.IsDNS1123Subdomain(o.Backup); len(problems) > 0 {
		return refuse(fmt.Sprintf("%q is no name of a backup: %s", o.Backup, problems[0]), "check the name")
	}
	backup, err := o.Client.Backups(o.Namespace).Get(ctx, o.Backup, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return o.findWithoutRecord()
	case err != nil:
		return fmt.Errorf("read Backup %q: %w", o.Backup, err)
	}
	o.backup = backup
	o.record = record.Open(o.Dynamic, backups, "Backup", backup, o.Log)
	if in := o.backup.Spec.StorageLocation; o.Location != "" && in != "" && o.Location != in {
		return refuse(
			fmt.Sprintf("backup %q is in storage location %q, not in %q", o.Backup, in, o.Location),
			"leave --location out",
		)
	}
	return o.findRestores(ctx)
}

// findWithoutRecord decides what it means that there is no Backup object: a
// second attempt finds that the first got to the end, and a location says where
// else to look.
func (o *operation) findWithoutRecord() error {
	if o.Location != "" || o.Attempt > 1 {
		return nil
	}
	return refuse(
		fmt.Sprintf("backup %q doesn't exist in namespace %q", o.Backup, o.Namespace),
		"to delete what only a bucket still holds, name its storage location with --location",
	)
}

func (o *operation) findRestores(ctx context.Context) error {
	list, err := o.Client.Restores(o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Restores: %w", err)
	}
	for _, restore := range list.Items {
		if restore.Spec.BackupName == o.Backup {
			o.restores = append(o.restores, restore)
		}
	}
	return nil
}

// checkIdle refuses while the backup is being made or restored from.
func (o *operation) checkIdle(ctx context.Context) error {
	if o.backup == nil {
		return nil
	}
	if err := o.checkEnded(ctx, velerov1.OperationBackup, launch.BackupCR(o.backup)); err != nil {
		return err
	}
	for i := range o.restores {
		if err := o.checkEnded(ctx, velerov1.OperationRestore, launch.RestoreCR(&o.restores[i])); err != nil {
			return err
		}
	}
	return nil
}

// checkEnded refuses while the operation of cr goes on. Whether one goes on
// that has no Job of ours nobody can know, so there force decides.
func (o *operation) checkEnded(ctx context.Context, kind string, cr launch.CR) error {
	if cr.Terminal {
		return nil
	}
	observer := launch.Observer{Kube: o.Kube, Velero: o.Client, Namespace: o.Namespace}
	state, err := observer.Observe(ctx, launch.Target{Operation: kind, Name: cr.Name})
	if err != nil {
		return err
	}
	if launch.Judge(state).Standing == launch.Ended {
		return nil
	}
	what := fmt.Sprintf("%s %q is in progress", cr.Kind, cr.Name)
	switch {
	case state.Job != nil:
		return refuse(
			fmt.Sprintf("%s (Job %q)", what, state.Job.Name),
			"wait until it has ended, or stop it by deleting its Job",
		)
	case cr.Ours:
		return refuse(what+": its Job is about to be created", "try again in a minute")
	case o.Force:
		o.warn(fmt.Errorf("%s, as far as its phase %q says", what, cr.Phase))
		return nil
	}
	return refuse(
		fmt.Sprintf("%s (phase %q), and no Job of this program works on it: it is a Velero server's", what, cr.Phase),
		"if no Velero server runs any more, use --force",
	)
}

// findLocation reads the storage location and refuses one that must not be
// written to.
func (o *operation) findLocation(ctx context.Context) error {
	name, err := o.locationName(ctx)
	if err != nil {
		return err
	}
	location, err := o.Client.BackupStorageLocations(o.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return refuse(fmt.Sprintf("storage location %q doesn't exist, so the backup's files can't be deleted", name), o.recordOnly("create it again"))
	case err != nil:
		return fmt.Errorf("read BackupStorageLocation %q: %w", name, err)
	}
	o.location = location
	if o.location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly {
		return refuse(fmt.Sprintf("storage location %q is read-only, so the backup's files can't be deleted", name), o.recordOnly("set its accessMode to ReadWrite"))
	}
	return nil
}

// locationName is that of the location that the backup is in. A Backup that
// ended before it was given one is looked for where it would have gone.
func (o *operation) locationName(ctx context.Context) (string, error) {
	if o.backup != nil && o.backup.Spec.StorageLocation != "" {
		return o.backup.Spec.StorageLocation, nil
	}
	if o.Location != "" {
		return o.Location, nil
	}
	list, err := o.Client.BackupStorageLocations(o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list BackupStorageLocations: %w", err)
	}
	for _, location := range list.Items {
		if location.Spec.Default {
			return location.Name, nil
		}
	}
	return velerov1.DefaultName, nil
}

// recordOnly is a hint with the other way out, where there is one.
func (o *operation) recordOnly(first string) string {
	if o.backup == nil {
		return first
	}
	return fmt.Sprintf("%s, or remove only the record: kubectl -n %s delete backups.velero.io %s", first, o.Namespace, o.Backup)
}
