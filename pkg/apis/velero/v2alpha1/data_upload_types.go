package v2alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// DataUpload is the record of moving the data of one volume snapshot to a storage
// location.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`,description="Where the upload stands"
// +kubebuilder:printcolumn:name="Started",type=date,JSONPath=`.status.startTimestamp`,description="When it began"
// +kubebuilder:printcolumn:name="Bytes Done",type=integer,format=int64,JSONPath=`.status.progress.bytesDone`,description="Bytes transferred"
// +kubebuilder:printcolumn:name="Total Bytes",type=integer,format=int64,JSONPath=`.status.progress.totalBytes`,description="Bytes to transfer"
// +kubebuilder:printcolumn:name="Incremental Bytes",type=integer,format=int64,priority=10,JSONPath=`.status.incrementalBytes`,description="Bytes that were not in the repository before"
// +kubebuilder:printcolumn:name="Storage Location",type=string,JSONPath=`.spec.backupStorageLocation`,description="Where the data is kept"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.node`,description="Node that the data is read on"
type DataUpload struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec DataUploadSpec `json:"spec,omitempty"`

	// +optional
	Status DataUploadStatus `json:"status,omitempty"`
}

// DataUploadList is a list of DataUploads.
//
// +kubebuilder:object:root=true
type DataUploadList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DataUpload `json:"items"`
}

// SnapshotType is a kind of volume snapshot.
type SnapshotType string

// SnapshotTypeCSI is a snapshot taken by a CSI driver.
const SnapshotTypeCSI SnapshotType = "CSI"

// DataUploadSpec names the snapshot and where its data goes.
type DataUploadSpec struct {
	// Kind of the snapshot: CSI.
	SnapshotType SnapshotType `json:"snapshotType"`

	// The CSI snapshot.
	// +optional
	// +nullable
	CSISnapshot *CSISnapshotSpec `json:"csiSnapshot,omitempty"`

	// Name of the PersistentVolumeClaim that was snapshotted.
	SourcePVC string `json:"sourcePVC"`

	// What moves the data; empty and "velero" mean the built-in mover.
	// +optional
	DataMover string `json:"datamover,omitempty"`

	// Name of the BackupStorageLocation.
	BackupStorageLocation string `json:"backupStorageLocation"`

	// Namespace of the PersistentVolumeClaim.
	SourceNamespace string `json:"sourceNamespace"`

	// Settings of the data mover, by name.
	// +optional
	// +nullable
	DataMoverConfig map[string]string `json:"dataMoverConfig,omitempty"`

	// Whether the transfer is to be given up.
	// +optional
	Cancel bool `json:"cancel,omitempty"`

	// How long to wait for steps of the mover.
	OperationTimeout metav1.Duration `json:"operationTimeout"`
}

// CSISnapshotSpec names a CSI snapshot.
type CSISnapshotSpec struct {
	// Name of the VolumeSnapshot.
	VolumeSnapshot string `json:"volumeSnapshot"`

	// Name of the StorageClass of the claim.
	StorageClass string `json:"storageClass"`

	// Name of the VolumeSnapshotClass.
	// +optional
	SnapshotClass string `json:"snapshotClass,omitempty"`

	// Name of the CSI driver.
	// +optional
	Driver string `json:"driver,omitempty"`
}

// DataUploadPhase says where an upload stands; empty means New.
//
// +kubebuilder:validation:Enum=New;Accepted;Prepared;InProgress;Canceling;Canceled;Completed;Failed
type DataUploadPhase string

// The phases of a DataUpload.
const (
	DataUploadPhaseNew        DataUploadPhase = "New"
	DataUploadPhaseAccepted   DataUploadPhase = "Accepted"
	DataUploadPhasePrepared   DataUploadPhase = "Prepared"
	DataUploadPhaseInProgress DataUploadPhase = "InProgress"
	DataUploadPhaseCanceling  DataUploadPhase = "Canceling"
	DataUploadPhaseCanceled   DataUploadPhase = "Canceled"
	DataUploadPhaseCompleted  DataUploadPhase = "Completed"
	DataUploadPhaseFailed     DataUploadPhase = "Failed"
)

// DataUploadStatus is what is known about an upload.
type DataUploadStatus struct {
	// Where it stands.
	// +optional
	Phase DataUploadPhase `json:"phase,omitempty"`

	// Directory or device on the node that was read.
	// +optional
	Path string `json:"path,omitempty"`

	// Id of the snapshot in the repository.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`

	// What the data mover wants to be given at the restore.
	// +optional
	// +nullable
	DataMoverResult map[string]string `json:"dataMoverResult,omitempty"`

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
	Progress velerov1.DataMoveOperationProgress `json:"progress,omitempty"`

	// Number of bytes that were not in the repository before.
	// +optional
	IncrementalBytes int64 `json:"incrementalBytes,omitempty"`

	// Node that the data is read on.
	// +optional
	Node string `json:"node,omitempty"`

	// Operating system of that node.
	// +optional
	NodeOS NodeOS `json:"nodeOS,omitempty"`

	// Node that took it up.
	// +optional
	AcceptedByNode string `json:"acceptedByNode,omitempty"`

	// When a node took it up.
	// +optional
	// +nullable
	AcceptedTimestamp *metav1.Time `json:"acceptedTimestamp,omitempty"`
}
