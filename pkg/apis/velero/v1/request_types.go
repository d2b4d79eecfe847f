package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DeleteBackupRequest asks a Velero server to delete a backup.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
// +kubebuilder:printcolumn:name="BackupName",type=string,JSONPath=`.spec.backupName`,description="The backup to delete"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`,description="Where the request stands"
type DeleteBackupRequest struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec DeleteBackupRequestSpec `json:"spec,omitempty"`

	// +optional
	Status DeleteBackupRequestStatus `json:"status,omitempty"`
}

// DeleteBackupRequestList is a list of DeleteBackupRequests.
//
// +kubebuilder:object:root=true
type DeleteBackupRequestList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DeleteBackupRequest `json:"items"`
}

// DeleteBackupRequestSpec names the backup to delete.
type DeleteBackupRequestSpec struct {
	// Name of the Backup.
	BackupName string `json:"backupName"`
}

// DeleteBackupRequestPhase says where a request stands.
//
// +kubebuilder:validation:Enum=New;InProgress;Processed
type DeleteBackupRequestPhase string

// The phases of a DeleteBackupRequest.
const (
	DeleteBackupRequestPhaseNew        DeleteBackupRequestPhase = "New"
	DeleteBackupRequestPhaseInProgress DeleteBackupRequestPhase = "InProgress"
	DeleteBackupRequestPhaseProcessed  DeleteBackupRequestPhase = "Processed"
)

// DeleteBackupRequestStatus is what is known about a request.
type DeleteBackupRequestStatus struct {
	// Where the request stands.
	// +optional
	Phase DeleteBackupRequestPhase `json:"phase,omitempty"`

	// What went wrong.
	// +optional
	// +nullable
	Errors []string `json:"errors,omitempty"`
}

// DownloadRequest asks a Velero server for a URL of one of a backup's or restore's
// files.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
type DownloadRequest struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec DownloadRequestSpec `json:"spec,omitempty"`

	// +optional
	Status DownloadRequestStatus `json:"status,omitempty"`
}

// DownloadRequestList is a list of DownloadRequests.
//
// +kubebuilder:object:root=true
type DownloadRequestList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DownloadRequest `json:"items"`
}

// DownloadRequestSpec names the file.
type DownloadRequestSpec struct {
	// The file.
	Target DownloadTarget `json:"target"`
}

// DownloadTarget is one file of a backup or restore.
type DownloadTarget struct {
	// Which of the files.
	Kind DownloadTargetKind `json:"kind"`

	// Name of the Backup or Restore.
	Name string `json:"name"`
}

// DownloadTargetKind is a kind of file that belongs to a backup or restore.
//
// +kubebuilder:validation:Enum=BackupLog;BackupContents;BackupVolumeSnapshots;BackupItemOperations;BackupResourceList;BackupResults;RestoreLog;RestoreResults;RestoreResourceList;RestoreItemOperations;CSIBackupVolumeSnapshots;CSIBackupVolumeSnapshotContents;BackupVolumeInfos;RestoreVolumeInfo
type DownloadTargetKind string

// The kinds of files.
const (
	DownloadTargetKindBackupLog                       DownloadTargetKind = "BackupLog"
	DownloadTargetKindBackupContents                  DownloadTargetKind = "BackupContents"
	DownloadTargetKindBackupVolumeSnapshots           DownloadTargetKind = "BackupVolumeSnapshots"
	DownloadTargetKindBackupItemOperations            DownloadTargetKind = "BackupItemOperations"
	DownloadTargetKindBackupResourceList              DownloadTargetKind = "BackupResourceList"
	DownloadTargetKindBackupResults                   DownloadTargetKind = "BackupResults"
	DownloadTargetKindRestoreLog                      DownloadTargetKind = "RestoreLog"
	DownloadTargetKindRestoreResults                  DownloadTargetKind = "RestoreResults"
	DownloadTargetKindRestoreResourceList             DownloadTargetKind = "RestoreResourceList"
	DownloadTargetKindRestoreItemOperations           DownloadTargetKind = "RestoreItemOperations"
	DownloadTargetKindCSIBackupVolumeSnapshots        DownloadTargetKind = "CSIBackupVolumeSnapshots"
	DownloadTargetKindCSIBackupVolumeSnapshotContents DownloadTargetKind = "CSIBackupVolumeSnapshotContents"
	DownloadTargetKindBackupVolumeInfos               DownloadTargetKind = "BackupVolumeInfos"
	DownloadTargetKindRestoreVolumeInfo               DownloadTargetKind = "RestoreVolumeInfo"
)

// DownloadRequestPhase says where a request stands.
//
// +kubebuilder:validation:Enum=New;Processed
type DownloadRequestPhase string

// The phases of a DownloadRequest.
const (
	DownloadRequestPhaseNew       DownloadRequestPhase = "New"
	DownloadRequestPhaseProcessed DownloadRequestPhase = "Processed"
)

// DownloadRequestStatus is what is known about a request.
type DownloadRequestStatus struct {
	// Where the request stands.
	// +optional
	Phase DownloadRequestPhase `json:"phase,omitempty"`

	// URL that the file can be had from until the expiration.
	// +optional
	DownloadURL string `json:"downloadURL,omitempty"`

	// Until when the URL works.
	// +optional
	// +nullable
	Expiration *metav1.Time `json:"expiration,omitempty"`
}

// ServerStatusRequest asks a Velero server for its version and plugins.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=ssr
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
type ServerStatusRequest struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec ServerStatusRequestSpec `json:"spec,omitempty"`

	// +optional
	Status ServerStatusRequestStatus `json:"status,omitempty"`
}

// ServerStatusRequestList is a list of ServerStatusRequests.
//
// +kubebuilder:object:root=true
type ServerStatusRequestList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ServerStatusRequest `json:"items"`
}

// ServerStatusRequestSpec is empty: there is nothing to choose.
type ServerStatusRequestSpec struct{}

// ServerStatusRequestPhase says where a request stands.
//
// +kubebuilder:validation:Enum=New;Processed
type ServerStatusRequestPhase string

// The phases of a ServerStatusRequest.
const (
	ServerStatusRequestPhaseNew       ServerStatusRequestPhase = "New"
	ServerStatusRequestPhaseProcessed ServerStatusRequestPhase = "Processed"
)

// PluginInfo is one plugin of a Velero server.
type PluginInfo struct {
	// Name of the plugin.
	Name string `json:"name"`

	// What the plugin does, such as ObjectStore.
	Kind string `json:"kind"`
}

// ServerStatusRequestStatus is a Velero server's answer.
type ServerStatusRequestStatus struct {
	// Where the request stands.
	// +optional
	Phase ServerStatusRequestPhase `json:"phase,omitempty"`

	// When the server answered.
	// +optional
	// +nullable
	ProcessedTimestamp *metav1.Time `json:"processedTimestamp,omitempty"`

	// The server's version.
	// +optional
	ServerVersion string `json:"serverVersion,omitempty"`

	// The server's plugins.
	// +optional
	// +nullable
	Plugins []PluginInfo `json:"plugins,omitempty"`
}
