package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// sweepDisks removes the disk snapshots of backups that failed without a word. It
// asks the clouds once about each.
func (m *maintenance) sweepDisks(ctx context.Context) error {
	list, err := m.Client.Backups(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Backups: %w", err)
	}
	for i := range list.Items {
		backup := &list.Items[i]
		if len(backup.Spec.VolumeSnapshotLocations) == 0 || backup.Annotations[velerov1.SnapshotsSweptAnnotation] != "" {
			continue
		}
		what, err := m.fateOf(ctx, backup)
		if err == nil && what == remove {
			err = m.sweepBackup(ctx, backup)
		}
		if err != nil {
			m.problem(backupObject(backup), err)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

// sweepBackup removes all disk snapshots of a backup that is no backup.
func (m *maintenance) sweepBackup(ctx context.Context, backup *velerov1.Backup) error {
	if m.needsSnapshotJob(ctx, backup) {
		o := m.open(ctx, backup.Spec.StorageLocation)
		if o.err != nil {
			return o.err
		}
		return m.startOwnJob(ctx, o.location)
	}
	for _, name := range backup.Spec.VolumeSnapshotLocations {
		if err := m.sweepLocation(ctx, backup, name); err != nil {
			return fmt.Errorf("disk snapshots that it left may still be there: %w", err)
		}
	}
	return record.Open(m.Dynamic, backups, "Backup", backup, m.Log).Annotate(ctx, map[string]string{velerov1.SnapshotsSweptAnnotation: "true"})
}

// sweepLocation removes a backup's disk snapshots in one snapshot location. Where
// that is gone, nobody can.
func (m *maintenance) sweepLocation(ctx context.Context, backup *velerov1.Backup, name string) error {
	locations, err := m.snapshotLocations(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(locations, func(l velerov1.VolumeSnapshotLocation) bool { return l.Name == name })
	if i < 0 {
		m.warn(backupObject(backup), fmt.Errorf("snapshot location %q doesn't exist: disk snapshots that it left there stay", name))
		return nil
	}
	snapshotter, err := m.OpenSnapshotter(ctx, &locations[i])
	if err != nil {
		return err
	}
	ids, err := snapshotter.Find(ctx, snapshot.Owner{Backup: backup.Name, UID: string(backup.UID)})
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		if err := snapshotter.Delete(ctx, id); err != nil {
			errs = append(errs, err)
			continue
		}
		m.did("deleted", backupObject(backup), fmt.Sprintf("disk snapshot %q in snapshot location %q, of a backup that died", id, name))
	}
	return errors.Join(errs...)
}

// snapshotLocations reads the snapshot locations once for all chores.
func (m *maintenance) snapshotLocations(ctx context.Context) ([]velerov1.VolumeSnapshotLocation, error) {
	if m.disks == nil {
		list, err := m.Client.VolumeSnapshotLocations(m.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list VolumeSnapshotLocations: %w", err)
		}
		m.disks = list
	}
	return m.disks.Items, nil
}

// needsSnapshotJob reports whether this process, which does the chores of all
// locations, lacks credentials with which a backup's disk snapshots are deleted. The
// Job of a location has those of all snapshot locations.
func (m *maintenance) needsSnapshotJob(ctx context.Context, backup *velerov1.Backup) bool {
	if m.Location != "" || m.JobName == "" || !mayHaveDisks(backup) {
		return false
	}
	locations, err := m.snapshotLocations(ctx)
	if err != nil {
		return false // using them tells
	}
	return slices.ContainsFunc(locations, func(l velerov1.VolumeSnapshotLocation) bool {
		return l.Spec.Credential != nil && slices.Contains(backup.Spec.VolumeSnapshotLocations, l.Name)
	})
}

// mayHaveDisks reports whether a backup may have disk snapshots: one that got to its
// end says how many.
func mayHaveDisks(backup *velerov1.Backup) bool {
	switch backup.Status.Phase {
	case velerov1.BackupPhaseCompleted, velerov1.BackupPhasePartiallyFailed:
		return backup.Status.VolumeSnapshotsAttempted > 0
	}
	return true
}

// mountable are the snapshot locations whose credentials the Job of a location can
// have: one that names a Secret which isn't there would keep the Job from starting.
func (m *maintenance) mountable(ctx context.Context) ([]velerov1.VolumeSnapshotLocation, error) {
	locations, err := m.snapshotLocations(ctx)
	if err != nil {
		return nil, err
	}
	var found []velerov1.VolumeSnapshotLocation
	for _, location := range locations {
		if err := m.checkSecret(ctx, "credential", location.Spec.Credential); err != nil {
			m.Log.Warn("backups with disk snapshots in this snapshot location can't expire", "snapshotLocation", location.Name, "reason", err.Error())
			continue
		}
		found = append(found, location)
	}
	return found, nil
}
