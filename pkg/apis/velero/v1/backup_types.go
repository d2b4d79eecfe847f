package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Backup is the request for, and the record of, one backup.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
type Backup struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec BackupSpec `json:"spec,omitempty"`

	// +optional
	Status BackupStatus `json:"status,omitempty"`
}

// BackupList is a list of Backups.
//
// +kubebuilder:object:root=true
type BackupList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Backup `json:"items"`
}

// Metadata is the part of object metadata that a Schedule's template may set.
type Metadata struct {
	// Labels given to each Backup made from the template.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
}

// BackupSpec says what to back up, where to, and how.
type BackupSpec struct {
	// Metadata for the Backups that a Schedule makes from this template.
	// +optional
	Metadata `json:"metadata,omitempty"`

	// Namespaces to take; empty means all. Glob patterns are allowed.
	// +optional
	// +nullable
	IncludedNamespaces []string `json:"includedNamespaces,omitempty"`

	// Namespaces to leave out. Glob patterns are allowed.
	// +optional
	// +nullable
	ExcludedNamespaces []string `json:"excludedNamespaces,omitempty"`

	// Resources to take; empty means all. Not together with the scope-specific lists.
	// +optional
	// +nullable
	IncludedResources []string `json:"includedResources,omitempty"`

	// Resources to leave out. Not together with the scope-specific lists.
	// +optional
	// +nullable
	ExcludedResources []string `json:"excludedResources,omitempty"`

	// Cluster-scoped resources to take, as resource.group.
	// +optional
	// +nullable
	IncludedClusterScopedResources []string `json:"includedClusterScopedResources,omitempty"`

	// Cluster-scoped resources to leave out, as resource.group.
	// +optional
	// +nullable
	ExcludedClusterScopedResources []string `json:"excludedClusterScopedResources,omitempty"`

	// Namespaced resources to take, as resource.group.
	// +optional
	// +nullable
	IncludedNamespaceScopedResources []string `json:"includedNamespaceScopedResources,omitempty"`

	// Namespaced resources to leave out, as resource.group.
	// +optional
	// +nullable
	ExcludedNamespaceScopedResources []string `json:"excludedNamespaceScopedResources,omitempty"`

	// Objects must match this selector. Not together with orLabelSelectors.
	// +optional
	// +nullable
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`

	// Objects must match at least one of these selectors. Not together with labelSelector.
	// +optional
	// +nullable
	OrLabelSelectors []*metav1.LabelSelector `json:"orLabelSelectors,omitempty"`

	// Whether to snapshot the disks of persistent volumes; unset means yes.
	// +optional
	// +nullable
	SnapshotVolumes *bool `json:"snapshotVolumes,omitempty"`

	// How long to keep the backup; zero means the default of 720 hours.
	// +optional
	TTL metav1.Duration `json:"ttl,omitempty"`

	// Label of PersistentVolumeClaims whose value names the group that is
	// snapshotted together; empty means velero.io/volume-group.
	// +optional
	VolumeGroupSnapshotLabelKey string `json:"volumeGroupSnapshotLabelKey,omitempty"`

	// Whether cluster-scoped objects are taken: true all, false none, unset those
	// that the selected namespaced objects need.
	// +optional
	// +nullable
	IncludeClusterResources *bool `json:"includeClusterResources,omitempty"`

	// Commands to run in containers before and after their pods are backed up.
	// +optional
	Hooks BackupHooks `json:"hooks,omitempty"`

	// Name of the BackupStorageLocation; empty means the default one.
	// +optional
	StorageLocation string `json:"storageLocation,omitempty"`

	// Names of VolumeSnapshotLocations, at most one per provider.
	// +optional
	VolumeSnapshotLocations []string `json:"volumeSnapshotLocations,omitempty"`

	// The old name of defaultVolumesToFsBackup, for clients that still use it.
	// +optional
	// +nullable
	DefaultVolumesToRestic *bool `json:"defaultVolumesToRestic,omitempty"`

	// Whether all pod volumes are backed up file by file unless told otherwise;
	// unset means no.
	// +optional
	// +nullable
	DefaultVolumesToFsBackup *bool `json:"defaultVolumesToFsBackup,omitempty"`

	// Order of objects within a resource: plural resource name to a comma-separated
	// list of namespace/name, or name for cluster-scoped ones.
	// +optional
	// +nullable
	OrderedResources map[string]string `json:"orderedResources,omitempty"`

	// How long to wait for a CSI snapshot to be ready; zero means 10 minutes.
	// +optional
	CSISnapshotTimeout metav1.Duration `json:"csiSnapshotTimeout,omitempty"`

	// How long to wait for operations that go on after an object was taken; zero
	// means 4 hours.
	// +optional
	ItemOperationTimeout metav1.Duration `json:"itemOperationTimeout,omitempty"`

	// ConfigMap in the same namespace that holds volume and resource policies.
	// +optional
	ResourcePolicy *corev1.TypedLocalObjectReference `json:"resourcePolicy,omitempty"`

	// Whether the data of snapshots is moved to the storage location; unset means no.
	// +optional
	// +nullable
	SnapshotMoveData *bool `json:"snapshotMoveData,omitempty"`

	// What moves snapshot data; empty and "velero" mean the built-in mover.
	// +optional
	DataMover string `json:"datamover,omitempty"`

	// Settings for backing up volumes file by file.
	// +optional
	// +nullable
	UploaderConfig *UploaderConfigForBackup `json:"uploaderConfig,omitempty"`
}

// UploaderConfigForBackup tunes the file-by-file backup of volumes.
type UploaderConfigForBackup struct {
	// Number of files uploaded at once; zero leaves the choice to the uploader.
	// +optional
	ParallelFilesUpload int `json:"parallelFilesUpload,omitempty"`
}

// BackupStatus is what is known about a Backup's run.
type BackupStatus struct {
	// Major version of the format; formatVersion, which is newer, says more.
	// +optional
	Version int `json:"version,omitempty"`

	// Version of the backup's format, major.minor.patch.
	// +optional
	FormatVersion string `json:"formatVersion,omitempty"`

	// When the backup may be deleted.
	// +optional
	// +nullable
	Expiration *metav1.Time `json:"expiration,omitempty"`

	// Where the backup stands.
	// +optional
	Phase BackupPhase `json:"phase,omitempty"`

	// Place in the queue of waiting backups, from 1; only while Queued.
	// +optional
	QueuePosition int `json:"queuePosition,omitempty"`

	// What is wrong with the spec.
	// +optional
	// +nullable
	ValidationErrors []string `json:"validationErrors,omitempty"`

	// When the run began.
	// +optional
	// +nullable
	StartTimestamp *metav1.Time `json:"startTimestamp,omitempty"`

	// When the run ended, whatever its outcome.
	// +optional
	// +nullable
	CompletionTimestamp *metav1.Time `json:"completionTimestamp,omitempty"`

	// Number of disk snapshots begun.
	// +optional
	VolumeSnapshotsAttempted int `json:"volumeSnapshotsAttempted,omitempty"`

	// Number of disk snapshots that succeeded.
	// +optional
	VolumeSnapshotsCompleted int `json:"volumeSnapshotsCompleted,omitempty"`

	// Why the whole backup failed.
	// +optional
	FailureReason string `json:"failureReason,omitempty"`

	// Number of warnings in the backup's log.
	// +optional
	Warnings int `json:"warnings,omitempty"`

	// Number of errors in the backup's log.
	// +optional
	Errors int `json:"errors,omitempty"`

	// How far the run has come.
	// +optional
	// +nullable
	Progress *BackupProgress `json:"progress,omitempty"`

	// Number of CSI snapshots begun.
	// +optional
	CSIVolumeSnapshotsAttempted int `json:"csiVolumeSnapshotsAttempted,omitempty"`

	// Number of CSI snapshots that succeeded.
	// +optional
	CSIVolumeSnapshotsCompleted int `json:"csiVolumeSnapshotsCompleted,omitempty"`

	// Number of operations begun that go on after their object was taken.
	// +optional
	BackupItemOperationsAttempted int `json:"backupItemOperationsAttempted,omitempty"`

	// Number of such operations that succeeded.
	// +optional
	BackupItemOperationsCompleted int `json:"backupItemOperationsCompleted,omitempty"`

	// Number of such operations that failed.
	// +optional
	BackupItemOperationsFailed int `json:"backupItemOperationsFailed,omitempty"`

	// Counts of the hooks that ran.
	// +optional
	// +nullable
	HookStatus *HookStatus `json:"hookStatus,omitempty"`
}

// BackupProgress counts the objects of a running backup.
type BackupProgress struct {
	// Number of objects to take, as known so far.
	// +optional
	TotalItems int `json:"totalItems,omitempty"`

	// Number of objects taken.
	// +optional
	ItemsBackedUp int `json:"itemsBackedUp,omitempty"`
}

// HookStatus counts the hooks of a backup or restore.
type HookStatus struct {
	// Number of hooks begun.
	// +optional
	HooksAttempted int `json:"hooksAttempted,omitempty"`

	// Number of hooks that failed.
	// +optional
	HooksFailed int `json:"hooksFailed,omitempty"`
}

// SnapshotCounts names the fields of BackupStatus that count snapshots. The executor
// writes them while it runs; of a backup that failed they count nothing.
func SnapshotCounts() []string {
	return []string{
		"volumeSnapshotsAttempted", "volumeSnapshotsCompleted",
		"csiVolumeSnapshotsAttempted", "csiVolumeSnapshotsCompleted",
		"backupItemOperationsAttempted", "backupItemOperationsCompleted", "backupItemOperationsFailed",
	}
}
