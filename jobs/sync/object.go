package sync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// runAnnotations are about one run of a Job, or about the Backup object that the
// bucket's copy was made from.
var runAnnotations = []string{
	velerov1.HeartbeatAnnotation, velerov1.CommittingAnnotation, velerov1.AttemptAnnotation,
	velerov1.JobNameAnnotation, velerov1.JobUIDAnnotation, velerov1.LockedUntilAnnotation,
}

// backupOf is the Backup object that a cluster shows for a commit marker found in
// location; nil for a backup that a Velero server still works on. One that it
// never ended is shown as PartiallyFailed once its time is up, so that it can
// expire.
func backupOf(marker *velerov1.Backup, location *velerov1.BackupStorageLocation, now time.Time) *velerov1.Backup {
	backup := &velerov1.Backup{
		ObjectMeta: metaOf(&marker.ObjectMeta),
		Spec:       *marker.Spec.DeepCopy(),
		Status:     *marker.Status.DeepCopy(),
	}
	if !marker.Status.Phase.Terminal() {
		expiration := marker.Status.Expiration
		if expiration == nil || expiration.After(now) {
			return nil
		}
		backup.Status.Phase = velerov1.BackupPhasePartiallyFailed
	}
	backup.Spec.StorageLocation = location.Name
	backup.Labels[velerov1.StorageLocationLabel] = velerov1.ValidName(location.Name)
	delete(backup.Labels, velerov1.GCFailureLabel)
	for _, key := range runAnnotations {
		delete(backup.Annotations, key)
	}
	return backup
}

// metaOf keeps of an object's metadata what means something in another cluster:
// name, labels and annotations. Owners and finalizers are another cluster's.
func metaOf(from *metav1.ObjectMeta) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Name: from.Name, Labels: maps.Clone(from.Labels), Annotations: maps.Clone(from.Annotations)}
	if meta.Labels == nil {
		meta.Labels = map[string]string{}
	}
	return meta
}

// addVolumeBackups makes the PodVolumeBackups of a backup that was just created,
// which belong to it.
func (s *syncing) addVolumeBackups(ctx context.Context, created *velerov1.Backup) error {
	var stored []velerov1.PodVolumeBackup
	err := s.catalog.GetJSON(ctx, catalog.BackupFile(created.Name, catalog.PodVolumeBackups), &stored)
	switch {
	case errors.Is(err, store.ErrNotExist):
		return nil
	case err != nil && (unreachable(err) || ctx.Err() != nil):
		return err
	case err != nil:
		s.warn(fmt.Errorf("the PodVolumeBackups of backup %q aren't shown: %w", created.Name, err))
		return nil
	}
	for i := range stored {
		volume := volumeBackupOf(&stored[i], created, s.location)
		_, err := s.Client.PodVolumeBackups(s.Namespace).Create(ctx, volume, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			s.warn(fmt.Errorf("create PodVolumeBackup %q of backup %q: %w", volume.Name, created.Name, err))
		}
	}
	return nil
}

// volumeBackupOf is the PodVolumeBackup that belongs to backup in this cluster.
func volumeBackupOf(stored *velerov1.PodVolumeBackup, backup *velerov1.Backup, location *velerov1.BackupStorageLocation) *velerov1.PodVolumeBackup {
	volume := &velerov1.PodVolumeBackup{ObjectMeta: metaOf(&stored.ObjectMeta), Spec: *stored.Spec.DeepCopy(), Status: *stored.Status.DeepCopy()}
	volume.Namespace = backup.Namespace
	volume.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: velerov1.SchemeGroupVersion.String(), Kind: "Backup", Name: backup.Name, UID: backup.UID, Controller: ptr.To(true),
	}}
	if _, ok := volume.Labels[velerov1.BackupUIDLabel]; ok {
		volume.Labels[velerov1.BackupUIDLabel] = string(backup.UID)
	}
	volume.Spec.BackupStorageLocation = location.Name
	return volume
}
