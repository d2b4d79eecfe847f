package v1

import (
	"crypto/sha256"
	"encoding/hex"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Names that the installation and its objects have.
const (
	// DefaultNamespace is the namespace when none is chosen.
	DefaultNamespace = "velero"
	// DefaultName is the name of the default locations.
	DefaultName = "default"
	// DefaultProviderNamespace stands in front of a provider's name that has no slash.
	DefaultProviderNamespace = "velero.io"
)

// The label that marks everything that belongs to an installation.
const (
	// ComponentLabel is its key.
	ComponentLabel = "component"
	// ComponentValue is its value.
	ComponentValue = "velero"
)

// Labels of Velero. A value that is an object's name goes through ValidName, both
// when it is written and when it is looked for.
const (
	// BackupNameLabel names the backup that an object belongs to or was restored from.
	BackupNameLabel = "velero.io/backup-name"
	// BackupUIDLabel is the UID of the backup that an object belongs to.
	BackupUIDLabel = "velero.io/backup-uid"
	// RestoreNameLabel names the restore that made an object.
	RestoreNameLabel = "velero.io/restore-name"
	// RestoreUIDLabel is the UID of the restore that an object belongs to.
	RestoreUIDLabel = "velero.io/restore-uid"
	// ScheduleNameLabel names the schedule that made a backup.
	ScheduleNameLabel = "velero.io/schedule-name"
	// StorageLocationLabel names the location that a backup or repository is in.
	StorageLocationLabel = "velero.io/storage-location"
	// VolumeNamespaceLabel names the namespace whose volumes a repository holds.
	VolumeNamespaceLabel = "velero.io/volume-namespace"
	// RepositoryTypeLabel is the format of a repository.
	RepositoryTypeLabel = "velero.io/repository-type"
	// PVCUIDLabel is the UID of the claim whose data was taken or restored.
	PVCUIDLabel = "velero.io/pvc-uid"
	// PodUIDLabel is the UID of the pod whose volume is restored.
	PodUIDLabel = "velero.io/pod-uid"
	// AsyncOperationIDLabel is the id of an operation that goes on by itself.
	AsyncOperationIDLabel = "velero.io/async-operation-id"
	// ExcludeFromBackupLabel with value "true" keeps an object or namespace out of backups.
	ExcludeFromBackupLabel = "velero.io/exclude-from-backup"
	// VolumeGroupLabel names the group of volumes that a claim is snapshotted with.
	VolumeGroupLabel = "velero.io/volume-group"
	// DynamicPVRestoreLabel ties a claim to the volume that is being restored for it.
	DynamicPVRestoreLabel = "velero.io/dynamic-pv-restore"
	// PluginConfigLabel marks a ConfigMap with settings of one restore step.
	PluginConfigLabel = "velero.io/plugin-config"
	// ChangeStorageClassLabel marks, beside PluginConfigLabel, a map of storage classes.
	ChangeStorageClassLabel = "velero.io/change-storage-class"
	// ChangeImageNameLabel marks, beside PluginConfigLabel, a map of image names.
	ChangeImageNameLabel = "velero.io/change-image-name"
	// VolumeSnapshotNameLabel, label and annotation, is on a backed-up claim the name
	// of its VolumeSnapshot.
	VolumeSnapshotNameLabel = "velero.io/volume-snapshot-name"
	// GCFailureLabel says why an expired backup could not be removed.
	GCFailureLabel = "velero.io/gc-failure"
)

// Annotations of Velero.
const (
	// SourceClusterK8sGitVersionAnnotation is, on a Backup, the API server's version.
	SourceClusterK8sGitVersionAnnotation = "velero.io/source-cluster-k8s-gitversion"
	// SourceClusterK8sMajorVersionAnnotation is its major version.
	SourceClusterK8sMajorVersionAnnotation = "velero.io/source-cluster-k8s-major-version"
	// SourceClusterK8sMinorVersionAnnotation is its minor version; it may end with "+".
	SourceClusterK8sMinorVersionAnnotation = "velero.io/source-cluster-k8s-minor-version"
	// ResourceTimeoutAnnotation is, on a Backup, how long to wait for one resource.
	ResourceTimeoutAnnotation = "velero.io/resource-timeout"
	// PVCNameAnnotation is, on a PodVolumeBackup, the name of the claim.
	PVCNameAnnotation = "velero.io/pvc-name"
	// OriginalPVNameAnnotation is, on a renamed volume, its name in the backup.
	OriginalPVNameAnnotation = "velero.io/original-pv-name"
	// RestoreStatusAnnotation, "true" or "false", overrides whether an object's status
	// is restored.
	RestoreStatusAnnotation = "velero.io/restore-status"
	// SkipFromBackupAnnotation keeps an object out of the archive.
	SkipFromBackupAnnotation = "velero.io/skip-from-backup"
	// VolumesToBackupAnnotation lists, on a Pod, volumes to back up file by file.
	VolumesToBackupAnnotation = "backup.velero.io/backup-volumes"
	// VolumesToExcludeAnnotation lists, on a Pod, volumes not to back up file by file.
	VolumesToExcludeAnnotation = "backup.velero.io/backup-volumes-excludes"
)

// RestoreFinalizer is what a Velero server puts on every Restore. This program puts
// finalizers on nothing, and takes this one off when it deletes a Restore.
const RestoreFinalizer = "restores.velero.io/external-resources-finalizer"

// Annotations of this program.
const (
	// HeartbeatAnnotation is, on a Backup or Restore, when its executor was last alive
	// (RFC 3339, UTC, every 10 seconds).
	HeartbeatAnnotation = "kubectl-velero.io/heartbeat"
	// CommittingAnnotation is "true" on a Backup from just before its commit marker is
	// written. Without it there can be no marker in the bucket.
	CommittingAnnotation = "kubectl-velero.io/committing"
	// JobUIDAnnotation is, on a Backup or Restore, the UID of the Job that works on it.
	JobUIDAnnotation = "kubectl-velero.io/job-uid"
	// JobNameAnnotation is that Job's name.
	JobNameAnnotation = "kubectl-velero.io/job-name"
	// AttemptAnnotation is which attempt of that Job works on it, from 1; 0 as long as there is no Job.
	AttemptAnnotation = "kubectl-velero.io/attempt"
	// TopCausesAnnotation holds up to five causes of failure, one per line.
	TopCausesAnnotation = "kubectl-velero.io/top-causes"
	// IncludeObjectsAnnotation is, on a Backup, Schedule or Restore, which objects it
	// takes by name: patterns [NAMESPACE/]KIND/NAME, separated by commas.
	IncludeObjectsAnnotation = "kubectl-velero.io/include-objects"
	// ExcludeObjectsAnnotation is which objects it leaves out, in the same form.
	ExcludeObjectsAnnotation = "kubectl-velero.io/exclude-objects"
	// The four lists of the newer filter family on a Restore, whose spec has no fields
	// for them: kinds, separated by commas, as in a Backup's fields of these names.
	IncludedClusterScopedResourcesAnnotation   = "kubectl-velero.io/included-cluster-scoped-resources"
	ExcludedClusterScopedResourcesAnnotation   = "kubectl-velero.io/excluded-cluster-scoped-resources"
	IncludedNamespaceScopedResourcesAnnotation = "kubectl-velero.io/included-namespace-scoped-resources"
	ExcludedNamespaceScopedResourcesAnnotation = "kubectl-velero.io/excluded-namespace-scoped-resources"
	// ResourcePrioritiesAnnotation is, on a Restore, the kinds that come first, in this
	// order, and after an element "-" those that come last, separated by commas.
	ResourcePrioritiesAnnotation = "kubectl-velero.io/restore-resource-priorities"
	// RetryForAnnotation is, on a Restore, how long objects that failed for a reason
	// that may pass are tried again after the last success of any: a Go duration.
	RetryForAnnotation = "kubectl-velero.io/retry-for"
	// RestoreSpecAnnotation is, on the Job of a preview, which has no Restore, what
	// would be restored: a Restore as JSON.
	RestoreSpecAnnotation = "kubectl-velero.io/restore-spec"
	// ClusterIDAnnotation is, on a Backup, the cluster that made it: the UID of its
	// kube-system namespace.
	ClusterIDAnnotation = "kubectl-velero.io/cluster-id"
	// AdoptedClustersAnnotation is, on a BackupStorageLocation, whose backups there
	// count as this cluster's own: cluster ids, separated by commas, or
	// AdoptedUnknown.
	AdoptedClustersAnnotation = "kubectl-velero.io/adopted-clusters"
	// LockedUntilAnnotation is, on an expired Backup, until when the bucket refuses to
	// delete it (RFC 3339, UTC).
	LockedUntilAnnotation = "kubectl-velero.io/locked-until"
	// SnapshotsSweptAnnotation is "true" on a failed Backup when maintenance has made
	// sure that it left no snapshots in its snapshot locations.
	SnapshotsSweptAnnotation = "kubectl-velero.io/snapshots-swept"
	// DisksCopiedAnnotation is, on a Backup that waits for disk snapshots, how much of
	// all of them the clouds have copied: "42%".
	DisksCopiedAnnotation = "kubectl-velero.io/disks-copied"
	// ChecksumsAnnotation is, on the Backup in a commit marker, the SHA-256 (hex) of
	// the object that holds the checksums of all others.
	ChecksumsAnnotation = "kubectl-velero.io/checksums-sha256"
)

// AdoptedUnknown stands in AdoptedClustersAnnotation for backups that don't say
// which cluster made them, as those of a Velero server don't.
const AdoptedUnknown = "unknown"

// Labels of this program, on the Jobs, CronJobs and bindings that it makes.
const (
	// OperationLabel is what the object is for: one of the Operation constants.
	OperationLabel = "kubectl-velero.io/operation"
	// NameLabel is ValidName of the name of the object that is operated on.
	NameLabel = "kubectl-velero.io/name"
	// OperationUIDLabel is the UID of the Backup or Restore, or an id of the Job's own.
	OperationUIDLabel = "kubectl-velero.io/operation-uid"
)

// Values of OperationLabel.
const (
	OperationBackup   = "backup"
	OperationRestore  = "restore"
	OperationPreview  = "preview"
	OperationDelete   = "delete"
	OperationRead     = "read"
	OperationMaintain = "maintain"
	OperationSchedule = "schedule"
	OperationCheck    = "check"
	OperationSync     = "sync"
	OperationVerify   = "verify"
)

// ValidName makes a name fit a label's value as Velero does: a name of more than 63
// bytes is cut to 57 and followed by the first 6 hex digits of its SHA-256. It looks
// at the length only.
func ValidName(s string) string {
	const hashDigits = 6
	if len(s) <= validation.LabelValueMaxLength {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:validation.LabelValueMaxLength-hashDigits] + hex.EncodeToString(sum[:])[:hashDigits]
}
