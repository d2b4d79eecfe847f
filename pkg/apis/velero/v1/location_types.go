package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BackupStorageLocation is a place where backups are kept: a bucket, a prefix in it,
// and how to reach it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=bsl
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`,description="Whether the location could be reached"
// +kubebuilder:printcolumn:name="Last Validated",type=date,JSONPath=`.status.lastValidationTime`,description="When the location was last tried"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Default",type=boolean,JSONPath=`.spec.default`,description="Whether backups that name no location go here"
type BackupStorageLocation struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec BackupStorageLocationSpec `json:"spec,omitempty"`

	// +optional
	Status BackupStorageLocationStatus `json:"status,omitempty"`
}

// BackupStorageLocationList is a list of BackupStorageLocations.
//
// +kubebuilder:object:root=true
type BackupStorageLocationList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BackupStorageLocation `json:"items"`
}

// BackupStorageLocationSpec says where the location is and how to reach it.
type BackupStorageLocationSpec struct {
	// Kind of storage, such as aws or velero.io/aws.
	Provider string `json:"provider"`

	// Settings that only the provider understands.
	// +optional
	Config map[string]string `json:"config,omitempty"`

	// Secret in the same namespace, and key in it, that holds the credentials; unset
	// means those given at installation.
	// +optional
	Credential *corev1.SecretKeySelector `json:"credential,omitempty"`

	// The bucket.
	ObjectStorage *ObjectStorageLocation `json:"objectStorage"`

	// Whether backups that name no location go here.
	// +optional
	Default bool `json:"default,omitempty"`

	// Whether backups may be written here; empty means ReadWrite.
	// +optional
	AccessMode BackupStorageLocationAccessMode `json:"accessMode,omitempty"`

	// How often backups that others wrote here are brought into the cluster; zero
	// means never.
	// +optional
	// +nullable
	BackupSyncPeriod *metav1.Duration `json:"backupSyncPeriod,omitempty"`

	// How often the location is tried; zero means never.
	// +optional
	// +nullable
	ValidationFrequency *metav1.Duration `json:"validationFrequency,omitempty"`
}

// ObjectStorageLocation is a bucket and a prefix in it.
type ObjectStorageLocation struct {
	// Name of the bucket.
	Bucket string `json:"bucket"`

	// Path below which everything is kept, without slashes around it; empty means
	// the top of the bucket.
	// +optional
	Prefix string `json:"prefix,omitempty"`

	// Certificates, in PEM, that the storage's own is checked against; caCertRef,
	// which is newer, keeps them out of this object.
	// +optional
	CACert []byte `json:"caCert,omitempty"`

	// Secret in the same namespace, and key in it, that holds such certificates.
	// +optional
	CACertRef *corev1.SecretKeySelector `json:"caCertRef,omitempty"`
}

// BackupStorageLocationPhase says whether a location could be reached.
//
// +kubebuilder:validation:Enum=Available;Unavailable
type BackupStorageLocationPhase string

// The phases of a BackupStorageLocation.
const (
	BackupStorageLocationPhaseAvailable   BackupStorageLocationPhase = "Available"
	BackupStorageLocationPhaseUnavailable BackupStorageLocationPhase = "Unavailable"
)

// BackupStorageLocationAccessMode says whether a location may be written to.
//
// +kubebuilder:validation:Enum=ReadOnly;ReadWrite
type BackupStorageLocationAccessMode string

// The access modes of a BackupStorageLocation.
const (
	BackupStorageLocationAccessModeReadOnly  BackupStorageLocationAccessMode = "ReadOnly"
	BackupStorageLocationAccessModeReadWrite BackupStorageLocationAccessMode = "ReadWrite"
)

// BackupStorageLocationStatus is what is known about a location.
type BackupStorageLocationStatus struct {
	// Whether the location could be reached when it was last tried.
	// +optional
	Phase BackupStorageLocationPhase `json:"phase,omitempty"`

	// When its backups were last brought into the cluster.
	// +optional
	// +nullable
	LastSyncedTime *metav1.Time `json:"lastSyncedTime,omitempty"`

	// When it was last tried.
	// +optional
	// +nullable
	LastValidationTime *metav1.Time `json:"lastValidationTime,omitempty"`

	// Why it could not be reached.
	// +optional
	Message string `json:"message,omitempty"`

	// Not used any more.
	// +optional
	LastSyncedRevision string `json:"lastSyncedRevision,omitempty"`

	// Not used any more; the spec's accessMode counts.
	// +optional
	AccessMode BackupStorageLocationAccessMode `json:"accessMode,omitempty"`
}

// VolumeSnapshotLocation is a place where disk snapshots are kept.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=vsl
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
type VolumeSnapshotLocation struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec VolumeSnapshotLocationSpec `json:"spec,omitempty"`

	// +optional
	Status VolumeSnapshotLocationStatus `json:"status,omitempty"`
}

// VolumeSnapshotLocationList is a list of VolumeSnapshotLocations.
//
// +kubebuilder:object:root=true
type VolumeSnapshotLocationList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []VolumeSnapshotLocation `json:"items"`
}

// VolumeSnapshotLocationSpec says who takes the snapshots and how to reach it.
type VolumeSnapshotLocationSpec struct {
	// Kind of disks, such as aws or velero.io/aws.
	Provider string `json:"provider"`

	// Settings that only the provider understands.
	// +optional
	Config map[string]string `json:"config,omitempty"`

	// Secret in the same namespace, and key in it, that holds the credentials; unset
	// means those given at installation.
	// +optional
	Credential *corev1.SecretKeySelector `json:"credential,omitempty"`
}

// VolumeSnapshotLocationPhase says whether a location could be reached.
//
// +kubebuilder:validation:Enum=Available;Unavailable
type VolumeSnapshotLocationPhase string

// The phases of a VolumeSnapshotLocation; nothing keeps them up to date.
const (
	VolumeSnapshotLocationPhaseAvailable   VolumeSnapshotLocationPhase = "Available"
	VolumeSnapshotLocationPhaseUnavailable VolumeSnapshotLocationPhase = "Unavailable"
)

// VolumeSnapshotLocationStatus is what is known about a location.
type VolumeSnapshotLocationStatus struct {
	// Whether the location could be reached; nothing keeps this up to date.
	// +optional
	Phase VolumeSnapshotLocationPhase `json:"phase,omitempty"`
}
