package v2alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// DataDownload is the record of moving the data of one volume snapshot back from a
// storage location.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`,description="Where the download stands"
// +kubebuilder:printcolumn:name="Started",type=date,JSONPath=`.status.startTimestamp`,description="When it began"
// +kubebuilder:printcolumn:name="Bytes Done",type=integer,format=int64,JSONPath=`.status.progress.bytesDone`,description="Bytes transferred"
// +kubebuilder:printcolumn:name="Total Bytes",type=integer,format=int64,JSONPath=`.status.progress.totalBytes`,description="Bytes to transfer"
// +kubebuilder:printcolumn:name="Storage Location",type=string,JSONPath=`.spec.backupStorageLocation`,description="Where the data is kept"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.node`,description="Node that the data is written on"
type DataDownload struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec DataDownloadSpec `json:"spec,omitempty"`

	// +optional
	Status DataDownloadStatus `json:"status,omitempty"`
}

// DataDownloadList is a list of DataDownloads.
//
// +kubebuilder:object:root=true
type DataDownloadList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DataDownload `json:"items"`
}

// DataDownloadSpec names the data and where it goes.
type DataDownloadSpec struct {
	// The volume that the data is restored to.
	TargetVolume TargetVolumeSpec `json:"targetVolume"`

	// Name of the BackupStorageLocation.
	BackupStorageLocation string `json:"backupStorageLocation"`

	// What moves the data; empty and "velero" mean the built-in mover.
	// +optional
	DataMover string `json:"datamover,omitempty"`

	// Id of the snapshot in the repository.
	SnapshotID string `json:"snapshotID"`

	// Namespace that the claim was in when it was backed up.
	SourceNamespace string `json:"sourceNamespace"`

	// Settings of the data mover, by name.
	// +optional
	DataMoverConfig map[string]string `json:"dataMoverConfig,omitempty"`

	// Whether the transfer is to be given up.
	// +optional
	Cancel bool `json:"cancel,omitempty"`

	// How long to wait for steps of the mover.
	OperationTimeout metav1.Duration `json:"operationTimeout"`

	// Operating system of the node that the data is written on.
	// +optional
	NodeOS NodeOS `json:"nodeOS,omitempty"`

	// Number of bytes in the snapshot; zero means unknown.
	// +optional
	SnapshotSize int64 `json:"snapshotSize,omitempty"`
}

// TargetVolumeSpec names the volume that data is restored to.
type TargetVolumeSpec struct {
	// Name of the PersistentVolumeClaim.
	PVC string `json:"pvc"`

	// Name of the PersistentVolume; empty while there is none.
	PV string `json:"pv"`

	// Namespace of the PersistentVolumeClaim.
	Namespace string `json:"namespace"`
}

// DataDownloadPhase says where a download stands; empty means New.
//
// +kubebuilder:validation:Enum=New;Accepted;Prepared;InProgress;Canceling;Canceled;Completed;Failed
type DataDownloadPhase string

// The phases of a DataDownload.
const (
	DataDownloadPhaseNew        DataDownloadPhase = "New"
	DataDownloadPhaseAccepted   DataDownloadPhase = "Accepted"
	DataDownloadPhasePrepared   DataDownloadPhase = "Prepared"
	DataDownloadPhaseInProgress DataDownloadPhase = "InProgress"
	DataDownloadPhaseCanceling  DataDownloadPhase = "Canceling"
	DataDownloadPhaseCanceled   DataDownloadPhase = "Canceled"
	DataDownloadPhaseCompleted  DataDownloadPhase = "Completed"
	DataDownloadPhaseFailed     DataDownloadPhase = "Failed"
)

// DataDownloadStatus is what is known about a download.
type DataDownloadStatus struct {
	// Where it stands.
	// +optional
	Phase DataDownloadPhase `json:"phase,omitempty"`

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

	// Node that the data is written on.
	// +optional
	Node string `json:"node,omitempty"`

	// Node that took it up.
	// +optional
	AcceptedByNode string `json:"acceptedByNode,omitempty"`

	// When a node took it up.
	// +optional
	// +nullable
	AcceptedTimestamp *metav1.Time `json:"acceptedTimestamp,omitempty"`
}
