package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DataMoveOperationProgress counts the bytes of a running transfer of volume data.
type DataMoveOperationProgress struct {
	// Number of bytes to transfer, as known so far.
	// +optional
	TotalBytes int64 `json:"totalBytes,omitempty"`

	// Number of bytes transferred.
	// +optional
	BytesDone int64 `json:"bytesDone,omitempty"`
}

// PodVolumeBackup is the record of the file-by-file backup of one pod volume.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`,description="Where the backup of the volume stands"
// +kubebuilder:printcolumn:name="Started",type=date,JSONPath=`.status.startTimestamp`,description="When it began"
// +kubebuilder:printcolumn:name="Bytes Done",type=integer,format=int64,JSONPath=`.status.progress.bytesDone`,description="Bytes transferred"
// +kubebuilder:printcolumn:name="Total Bytes",type=integer,format=int64,JSONPath=`.status.progress.totalBytes`,description="Bytes to transfer"
// +kubebuilder:printcolumn:name="Incremental Bytes",type=integer,format=int64,priority=10,JSONPath=`.status.incrementalBytes`,description="Bytes that were not in the repository before"
// +kubebuilder:printcolumn:name="Storage Location",type=string,JSONPath=`.spec.backupStorageLocation`,description="Where the data is kept"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.node`,description="Node that the pod runs on"
// +kubebuilder:printcolumn:name="Uploader",type=string,JSONPath=`.spec.uploaderType`,description="Format of the repository"
type PodVolumeBackup struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec PodVolumeBackupSpec `json:"spec,omitempty"`

	// +optional
	Status PodVolumeBackupStatus `json:"status,omitempty"`
}

// PodVolumeBackupList is a list of PodVolumeBackups.
//
// +kubebuilder:object:root=true
type PodVolumeBackupList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PodVolumeBackup `json:"items"`
}

// PodVolumeBackupSpec names the volume and where its data goes.
type PodVolumeBackupSpec struct {
	// Node that the pod runs on.
	Node string `json:"node"`

	// The pod that uses the volume.
	Pod corev1.ObjectReference `json:"pod"`

	// Name of the volume in the pod.
	Volume string `json:"volume"`

	// Name of the BackupStorageLocation.
	BackupStorageLocation string `json:"backupStorageLocation"`

	// Address of the repository; empty for kopia, which finds it by its location.
	RepoIdentifier string `json:"repoIdentifier"`

	// Format of the repository; empty means restic.
	// +optional
	// +kubebuilder:validation:Enum=kopia;restic;""
	UploaderType string `json:"uploaderType"`

	// Tags of the snapshot in the repository.
	// +optional
	Tags map[string]string `json:"tags,omitempty"`

	// Settings of the uploader, by name.
	// +optional
	// +nullable
	UploaderSettings map[string]string `json:"uploaderSettings,omitempty"`

	// Whether the transfer is to be given up.
	// +optional
	Cancel bool `json:"cancel,omitempty"`
}

// PodVolumeBackupPhase says where the backup of a volume stands; empty means New.
//
// +kubebuilder:validation:Enum=New;Accepted;Prepared;InProgress;Canceling;Canceled;Completed;Failed
type PodVolumeBackupPhase string

// The phases of a PodVolumeBackup.
const (
	PodVolumeBackupPhaseNew        PodVolumeBackupPhase = "New"
	PodVolumeBackupPhaseAccepted   PodVolumeBackupPhase = "Accepted"
	PodVolumeBackupPhasePrepared   PodVolumeBackupPhase = "Prepared"
	PodVolumeBackupPhaseInProgress PodVolumeBackupPhase = "InProgress"
	PodVolumeBackupPhaseCanceling  PodVolumeBackupPhase = "Canceling"
	PodVolumeBackupPhaseCanceled   PodVolumeBackupPhase = "Canceled"
	PodVolumeBackupPhaseCompleted  PodVolumeBackupPhase = "Completed"
	PodVolumeBackupPhaseFailed     PodVolumeBackupPhase = "Failed"
)

// PodVolumeBackupStatus is what is known about the backup of a volume.
type PodVolumeBackupStatus struct {
	// Where it stands.
	// +optional
	Phase PodVolumeBackupPhase `json:"phase,omitempty"`

	// Directory on the node that was read.
	// +optional
	Path string `json:"path,omitempty"`

	// Id of the snapshot in the repository; empty for a volume without data.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`

	// Why it stands there.
	// +optional
	Message string `json:"message,omitempty"`

	// When it began.
	// +optional
	// +nullable
	StartTimestamp *metav1.Time `json:"startTimestamp,omitempty"`

	// When it ended, whatever the outcome.
	// +optional
	// +nullable
	CompletionTimestamp *metav1.Time `json:"completionTimestamp,omitempty"`

	// How far the transfer has come.
	// +optional
	Progress DataMoveOperationProgress `json:"progress,omitempty"`

	// Number of bytes that were not in the repository before.
	// +optional
	IncrementalBytes int64 `json:"incrementalBytes,omitempty"`

	// When a node took it up.
	// +optional
	// +nullable
	AcceptedTimestamp *metav1.Time `json:"acceptedTimestamp,omitempty"`
}

// PodVolumeRestore is the record of the file-by-file restore of one pod volume.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`,description="Where the restore of the volume stands"
// +kubebuilder:printcolumn:name="Started",type=date,JSONPath=`.status.startTimestamp`,description="When it began"
// +kubebuilder:printcolumn:name="Bytes Done",type=integer,format=int64,JSONPath=`.status.progress.bytesDone`,description="Bytes transferred"
// +kubebuilder:printcolumn:name="Total Bytes",type=integer,format=int64,JSONPath=`.status.progress.totalBytes`,description="Bytes to transfer"
// +kubebuilder:printcolumn:name="Storage Location",type=string,JSONPath=`.spec.backupStorageLocation`,description="Where the data is kept"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.node`,description="Node that the data is restored on"
// +kubebuilder:printcolumn:name="Uploader Type",type=string,JSONPath=`.spec.uploaderType`,description="Format of the repository"
type PodVolumeRestore struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec PodVolumeRestoreSpec `json:"spec,omitempty"`

	// +optional
	Status PodVolumeRestoreStatus `json:"status,omitempty"`
}

// PodVolumeRestoreList is a list of PodVolumeRestores.
//
// +kubebuilder:object:root=true
type PodVolumeRestoreList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PodVolumeRestore `json:"items"`
}

// PodVolumeRestoreSpec names the volume and where its data comes from.
type PodVolumeRestoreSpec struct {
	// The pod that uses the volume.
	Pod corev1.ObjectReference `json:"pod"`

	// Name of the volume in the pod.
	Volume string `json:"volume"`

	// Name of the BackupStorageLocation.
	BackupStorageLocation string `json:"backupStorageLocation"`

	// Address of the repository; empty for kopia, which finds it by its location.
	RepoIdentifier string `json:"repoIdentifier"`

	// Format of the repository; empty means restic.
	// +optional
	// +kubebuilder:validation:Enum=kopia;restic;""
	UploaderType string `json:"uploaderType"`

	// Id of the snapshot in the repository.
	SnapshotID string `json:"snapshotID"`

	// Namespace that the volume was in when it was backed up.
	SourceNamespace string `json:"sourceNamespace"`

	// Settings of the uploader, by name.
	// +optional
	// +nullable
	UploaderSettings map[string]string `json:"uploaderSettings,omitempty"`

	// Whether the transfer is to be given up.
	// +optional
	Cancel bool `json:"cancel,omitempty"`

	// Number of bytes in the snapshot; zero means unknown.
	// +optional
	SnapshotSize int64 `json:"snapshotSize,omitempty"`
}

// PodVolumeRestorePhase says where the restore of a volume stands; empty means New.
//
// +kubebuilder:validation:Enum=New;Accepted;Prepared;InProgress;Canceling;Canceled;Completed;Failed
type PodVolumeRestorePhase string

// The phases of a PodVolumeRestore.
const (
	PodVolumeRestorePhaseNew        PodVolumeRestorePhase = "New"
	PodVolumeRestorePhaseAccepted   PodVolumeRestorePhase = "Accepted"
	PodVolumeRestorePhasePrepared   PodVolumeRestorePhase = "Prepared"
	PodVolumeRestorePhaseInProgress PodVolumeRestorePhase = "InProgress"
	PodVolumeRestorePhaseCanceling  PodVolumeRestorePhase = "Canceling"
	PodVolumeRestorePhaseCanceled   PodVolumeRestorePhase = "Canceled"
	PodVolumeRestorePhaseCompleted  PodVolumeRestorePhase = "Completed"
	PodVolumeRestorePhaseFailed     PodVolumeRestorePhase = "Failed"
)

// PodVolumeRestoreStatus is what is known about the restore of a volume.
type PodVolumeRestoreStatus struct {
	// Where it stands.
	// +optional
	Phase PodVolumeRestorePhase `json:"phase,omitempty"`

	// Why it stands there.
	// +optional
	Message string `json:"message,omitempty"`

	// When it began.
	// +optional
	// +nullable
	StartTimestamp *metav1.Time `json:"startTimestamp,omitempty"`

	// When it ended, whatever the outcome.
	// +optional
	// +nullable
	CompletionTimestamp *metav1.Time `json:"completionTimestamp,omitempty"`

	// How far the transfer has come.
	// +optional
	Progress DataMoveOperationProgress `json:"progress,omitempty"`

	// When a node took it up.
	// +optional
	// +nullable
	AcceptedTimestamp *metav1.Time `json:"acceptedTimestamp,omitempty"`

	// Node that the data is restored on.
	// +optional
	Node string `json:"node,omitempty"`
}

// BackupRepository is one repository of volume data: that of a namespace's volumes in
// a storage location.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Repository Type",type=string,JSONPath=`.spec.repositoryType`
type BackupRepository struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec BackupRepositorySpec `json:"spec,omitempty"`

	// +optional
	Status BackupRepositoryStatus `json:"status,omitempty"`
}

// BackupRepositoryList is a list of BackupRepositories.
//
// +kubebuilder:object:root=true
type BackupRepositoryList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BackupRepository `json:"items"`
}

// BackupRepositorySpec says whose data the repository holds and how it is looked after.
type BackupRepositorySpec struct {
	// Namespace of the volumes.
	VolumeNamespace string `json:"volumeNamespace"`

	// Name of the BackupStorageLocation.
	BackupStorageLocation string `json:"backupStorageLocation"`

	// Format of the repository; empty means restic.
	// +optional
	// +kubebuilder:validation:Enum=kopia;restic;""
	RepositoryType string `json:"repositoryType"`

	// Address of a restic repository.
	// +optional
	ResticIdentifier string `json:"resticIdentifier,omitempty"`

	// How often the repository is tidied up.
	MaintenanceFrequency metav1.Duration `json:"maintenanceFrequency"`

	// Settings of the repository, by name.
	// +optional
	// +nullable
	RepositoryConfig map[string]string `json:"repositoryConfig,omitempty"`
}

// BackupRepositoryPhase says whether a repository can be used.
//
// +kubebuilder:validation:Enum=New;Ready;NotReady
type BackupRepositoryPhase string

// The phases of a BackupRepository.
const (
	BackupRepositoryPhaseNew      BackupRepositoryPhase = "New"
	BackupRepositoryPhaseReady    BackupRepositoryPhase = "Ready"
	BackupRepositoryPhaseNotReady BackupRepositoryPhase = "NotReady"
)

// BackupRepositoryMaintenanceResult says how tidying up a repository ended.
//
// +kubebuilder:validation:Enum=Succeeded;Failed
type BackupRepositoryMaintenanceResult string

// How tidying up a repository ended.
const (
	BackupRepositoryMaintenanceSucceeded BackupRepositoryMaintenanceResult = "Succeeded"
	BackupRepositoryMaintenanceFailed    BackupRepositoryMaintenanceResult = "Failed"
)

// BackupRepositoryStatus is what is known about a repository.
type BackupRepositoryStatus struct {
	// Whether the repository can be used.
	// +optional
	Phase BackupRepositoryPhase `json:"phase,omitempty"`

	// Why it can't.
	// +optional
	Message string `json:"message,omitempty"`

	// When it was last tidied up.
	// +optional
	// +nullable
	LastMaintenanceTime *metav1.Time `json:"lastMaintenanceTime,omitempty"`

	// The last three times that it was tidied up.
	// +optional
	RecentMaintenance []BackupRepositoryMaintenanceStatus `json:"recentMaintenance,omitempty"`
}

// BackupRepositoryMaintenanceStatus is one time that a repository was tidied up.
type BackupRepositoryMaintenanceStatus struct {
	// How it ended.
	// +optional
	Result BackupRepositoryMaintenanceResult `json:"result,omitempty"`

	// When it began.
	// +optional
	// +nullable
	StartTimestamp *metav1.Time `json:"startTimestamp,omitempty"`

	// When it ended.
	// +optional
	// +nullable
	CompleteTimestamp *metav1.Time `json:"completeTimestamp,omitempty"`

	// What went wrong.
	// +optional
	Message string `json:"message,omitempty"`
}
