package maintain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// gcFailure is why an expired backup is still there: the value of
// velerov1.GCFailureLabel.
type gcFailure string

// The first three are Velero's.
const (
	gcNone      gcFailure = ""
	gcNotFound  gcFailure = "BSLNotFound"
	gcCannotGet gcFailure = "BSLCannotGet"
	gcReadOnly  gcFailure = "BSLReadOnly"
	gcLocked    gcFailure = "Locked"
	gcNotOurs   gcFailure = "NotOurs"
)

// expire deletes the backups of a location whose time is up. Those that only the
// bucket knows are left alone: nobody here may know what they are kept for.
func (m *maintenance) expire(ctx context.Context, o *opened) error {
	list, err := m.ended(ctx, o.location.Name)
	if err != nil {
		return err
	}
	slices.SortStableFunc(list, untriedFirst)
	for i := range list {
		err := m.expireOne(ctx, o, &list[i])
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case store.Temporary(err), errors.Is(err, store.ErrNoBucket):
			return fmt.Errorf("delete expired backup %q: %w", list[i].Name, err)
		default:
			m.problem(backupObject(&list[i]), fmt.Errorf("it has expired, but is not deleted: %w", err))
			if errors.Is(err, store.ErrDenied) {
				return nil // the others would fare the same
			}
		}
	}
	return nil
}

// ended reads the Backups of a location whose run is over.
func (m *maintenance) ended(ctx context.Context, location string) ([]velerov1.Backup, error) {
	list, err := m.Client.Backups(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Backups: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(b velerov1.Backup) bool {
		return b.Spec.StorageLocation != location || !b.Status.Phase.Terminal() || b.DeletionTimestamp != nil
	}), nil
}

// untriedFirst puts backups whose deletion broke off last, and of these the one that
// was tried last: a snapshot that is stuck keeps others of its driver waiting for one
// run, not for ever.
func untriedFirst(a, b velerov1.Backup) int {
	tried := func(backup velerov1.Backup) string {
		if backup.Status.Phase != velerov1.BackupPhaseDeleting {
			return ""
		}
		return cmp.Or(backup.Annotations[velerov1.HeartbeatAnnotation], "0") // RFC 3339 in UTC sorts by time
	}
	return cmp.Compare(tried(a), tried(b))
}

// hasExpired reports whether a backup's time is up; one without a time is kept.
func hasExpired(b *velerov1.Backup, now time.Time) bool {
	return b.Status.Expiration != nil && !b.Status.Expiration.After(now)
}

func (m *maintenance) expireOne(ctx context.Context, o *opened, backup *velerov1.Backup) error {
	now := time.Now()
	switch {
	case !hasExpired(backup, now):
		return m.note(ctx, backup, gcNone, time.Time{}, "")
	case o.location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly:
		return m.note(ctx, backup, gcReadOnly, time.Time{}, fmt.Sprintf("storage location %q is read-only", o.location.Name))
	case beingDeleted(backup, now), lockedUntil(backup).After(now):
		return nil
	}
	ours, maker, err := m.ours(ctx, o, backup)
	if errors.Is(err, errFilesGone) {
		m.Log.Info("left to the sync", "backup", backup.Name, "reason", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if !ours {
		return m.note(ctx, backup, gcNotOurs, time.Time{}, fmt.Sprintf("%s made it, which is who deletes it; "+
			"hint: if this cluster took its place: kubectl velero backup-location adopt %s --cluster-id %s", maker.name(), o.location.Name, maker))
	}
	if m.needsSnapshotJob(ctx, backup) {
		return m.startOwnJob(ctx, o.location)
	}
	return m.delete(ctx, backup)
}

// snapshotTimeout is how long a CSI driver may take to delete a snapshot of an
// expired backup: one that is down must not keep all other chores. After the first
// time it isn't asked again in this run.
const snapshotTimeout = 2 * time.Minute

// delete deletes an expired backup.
func (m *maintenance) delete(ctx context.Context, backup *velerov1.Backup) error {
	err := deletejob.Expire(ctx, deletejob.Config{
		Env: m.Env, Backup: backup.Name, Drivers: m.Drivers, SnapshotTimeout: cmp.Or(m.SnapshotTimeout, snapshotTimeout),
		Down: &m.down,
	}, backup.UID)
	var locked *store.LockedError
	var refused *run.Refusal
	switch {
	case err == nil:
		m.did("deleted", backupObject(backup), "its time was up: "+backup.Status.Expiration.UTC().Format(time.RFC3339))
		return nil
	case errors.Is(err, deletejob.ErrDown):
		m.Log.Warn("it has expired, but is left to the next run", "backup", backup.Name, "reason", err.Error())
		return nil
	case errors.As(err, &locked):
		return m.note(ctx, backup, gcLocked, locked.Until, err.Error())
	case errors.As(err, &refused):
		m.warn(backupObject(backup), fmt.Errorf("it has expired, but is not deleted: %w", err))
		return m.note(ctx, backup, gcNone, time.Time{}, "")
	}
	return err
}

// errFilesGone means that a complete backup has no files in the bucket. Whether
// that is true or the bucket is a wrong one is for the sync to judge.
var errFilesGone = errors.New("its files are gone")

// maker is the id of the cluster that made a backup; empty when it doesn't say.
type maker string

func (c maker) name() string {
	if c == "" {
		return "a Velero server, perhaps of another cluster,"
	}
	return "cluster " + string(c)
}

// String is the id as it is adopted.
func (c maker) String() string {
	if c == "" {
		return velerov1.AdoptedUnknown
	}
	return string(c)
}

// ours reports whether a backup may expire here: only what this cluster, or one
// that it has adopted, made. A backup that doesn't say who made it, as those of a
// Velero server don't, is this cluster's if its object is the very one that is in
// the bucket, and was not brought here by a sync.
func (m *maintenance) ours(ctx context.Context, o *opened, backup *velerov1.Backup) (bool, maker, error) {
	failed := backup.Status.Phase == velerov1.BackupPhaseFailed || backup.Status.Phase == velerov1.BackupPhaseFailedValidation
	if failed && m.clusterID != "" && backup.Annotations[velerov1.ClusterIDAnnotation] == m.clusterID {
		return true, maker(m.clusterID), nil // what is in the bucket may be another's, and then stays
	}
	id, err := o.catalog.Owner(ctx, backup.Name)
	switch phase := backup.Status.Phase; {
	case !errors.Is(err, store.ErrNotExist):
	case phase == velerov1.BackupPhaseCompleted, phase == velerov1.BackupPhasePartiallyFailed:
		return false, "", errFilesGone
	default:
		return true, maker(m.clusterID), nil // only the record is left
	}
	if err != nil {
		return false, "", err
	}
	if catalog.OursIn(o.location, m.clusterID).Has(id) {
		return true, maker(id), nil
	}
	if id != "" {
		return false, maker(id), nil
	}
	marker, err := o.catalog.ReadBackup(ctx, backup.Name)
	if errors.Is(err, store.ErrNotExist) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	return marker.UID == backup.UID, "", nil
}

// beingDeleted reports whether a deletion gives signs of life.
func beingDeleted(backup *velerov1.Backup, now time.Time) bool {
	beat, err := time.Parse(time.RFC3339, backup.Annotations[velerov1.HeartbeatAnnotation])
	return err == nil && backup.Status.Phase == velerov1.BackupPhaseDeleting && now.Sub(beat) < 3*record.BeatInterval
}

// lockedUntil is until when trying to delete a backup is useless, as far as it was
// noted.
func lockedUntil(backup *velerov1.Backup) time.Time {
	until, err := time.Parse(time.RFC3339, backup.Annotations[velerov1.LockedUntilAnnotation])
	if err != nil {
		return time.Time{}
	}
	return until
}

// note labels a backup with why it couldn't expire, or takes the label off, and
// tells of what is new.
func (m *maintenance) note(ctx context.Context, backup *velerov1.Backup, failure gcFailure, until time.Time, reason string) error {
	stamp := ""
	if !until.IsZero() {
		stamp = until.UTC().Format(time.RFC3339)
	}
	if backup.Labels[velerov1.GCFailureLabel] == string(failure) && backup.Annotations[velerov1.LockedUntilAnnotation] == stamp {
		return nil
	}
	r := record.Open(m.Dynamic, backups, "Backup", backup, m.Log)
	err := r.Patch(ctx, map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{velerov1.GCFailureLabel: orNothing(string(failure))},
		"annotations": map[string]any{velerov1.LockedUntilAnnotation: orNothing(stamp)},
	}})
	if err != nil {
		return err
	}
	if failure != gcNone {
		m.warn(backupObject(backup), fmt.Errorf("it has expired, but stays (%s): %s", failure, reason))
		r.Event(ctx, corev1.EventTypeWarning, "BackupNotExpired", string(failure)+": "+reason)
	}
	return nil
}

// orNothing is what a merge patch sets: an empty value is taken away.
func orNothing(value string) any {
	if value == "" {
		return nil
	}
	return value
}

// labelExpired labels all expired backups of a location that can't be used.
func (m *maintenance) labelExpired(ctx context.Context, location *velerov1.BackupStorageLocation, failure gcFailure) error {
	list, err := m.ended(ctx, location.Name)
	if err != nil {
		return err
	}
	reason := fmt.Sprintf("storage location %q can't be used; hint: kubectl velero backup-location check %[1]s", location.Name)
	for i := range list {
		if !hasExpired(&list[i], time.Now()) {
			continue
		}
		if err := m.note(ctx, &list[i], failure, time.Time{}, reason); err != nil {
			return err
		}
	}
	return nil
}

// labelHomeless labels expired backups whose location doesn't exist.
func (m *maintenance) labelHomeless(ctx context.Context, existing []velerov1.BackupStorageLocation) error {
	list, err := m.Client.Backups(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Backups: %w", err)
	}
	now := time.Now()
	for i := range list.Items {
		backup := &list.Items[i]
		name := backup.Spec.StorageLocation
		found := slices.ContainsFunc(existing, func(l velerov1.BackupStorageLocation) bool { return l.Name == name })
		if found || name == "" || !backup.Status.Phase.Terminal() || !hasExpired(backup, now) {
			continue
		}
		err := m.note(ctx, backup, gcNotFound, time.Time{}, fmt.Sprintf("storage location %q doesn't exist; "+
			"hint: create it again, or remove only the record: kubectl -n %s delete backups.velero.io %s", name, m.Namespace, backup.Name))
		if err != nil {
			m.problem(backupObject(backup), err)
		}
	}
	return nil
}

func backupObject(backup *velerov1.Backup) ref.Object {
	return ref.Object{Resource: backups, Kind: "Backup", Namespace: backup.Namespace, Name: backup.Name}
}
