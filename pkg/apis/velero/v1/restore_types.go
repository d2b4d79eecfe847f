package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Restore is the request for, and the record of, one restore.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
type Restore struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Spec RestoreSpec `json:"spec,omitempty"`

	// +optional
	Status RestoreStatus `json:"status,omitempty"`
}

// RestoreList is a list of Restores.
//
// +kubebuilder:object:root=true
type RestoreList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Restore `json:"items"`
}

// PolicyType says what to do with an object that is in the cluster already.
type PolicyType string

// What to do with an object that is in the cluster already; empty means none.
const (
	// PolicyTypeNone leaves it alone.
	PolicyTypeNone PolicyType = "none"
	// PolicyTypeUpdate changes it to what the backup holds.
	PolicyTypeUpdate PolicyType = "update"
	// PolicyTypeRecreate deletes it and creates what the backup holds. Velero
	// doesn't know it.
	PolicyTypeRecreate PolicyType = "recreate"
)

// RestoreSpec says what to restore, from where, and how.
type RestoreSpec struct {
	// Name of the Backup. One of backupName and scheduleName is set at creation.
	// +optional
	BackupName string `json:"backupName,omitempty"`

	// Name of the Schedule whose newest completed backup is restored.
	// +optional
	ScheduleName string `json:"scheduleName,omitempty"`

	// Namespaces of the backup to restore; empty means all.
	// +optional
	// +nullable
	IncludedNamespaces []string `json:"includedNamespaces,omitempty"`

	// Namespaces of the backup to leave out.
	// +optional
	// +nullable
	ExcludedNamespaces []string `json:"excludedNamespaces,omitempty"`

	// Resources to restore; empty means all.
	// +optional
	// +nullable
	IncludedResources []string `json:"includedResources,omitempty"`

	// Resources to leave out.
	// +optional
	// +nullable
	ExcludedResources []string `json:"excludedResources,omitempty"`

	// Target namespace by namespace of the backup; those that aren't named keep theirs.
	// +optional
	NamespaceMapping map[string]string `json:"namespaceMapping,omitempty"`

	// Objects must match this selector. Not together with orLabelSelectors.
	// +optional
	// +nullable
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`

	// Objects must match at least one of these selectors. Not together with labelSelector.
	// +optional
	// +nullable
	OrLabelSelectors []*metav1.LabelSelector `json:"orLabelSelectors,omitempty"`

	// Whether volumes are restored from their snapshots; unset means yes.
	// +optional
	// +nullable
	RestorePVs *bool `json:"restorePVs,omitempty"`

	// Resources whose status is restored; unset means none.
	// +optional
	// +nullable
	RestoreStatus *RestoreStatusSpec `json:"restoreStatus,omitempty"`

	// Whether Services keep the node ports that they were given; unset means no.
	// +optional
	// +nullable
	PreserveNodePorts *bool `json:"preserveNodePorts,omitempty"`

	// Whether cluster-scoped objects are restored: true all, false none, unset all
	// if every namespace is restored, else those that the selected objects need.
	// +optional
	// +nullable
	IncludeClusterResources *bool `json:"includeClusterResources,omitempty"`

	// Commands and init containers for restored pods.
	// +optional
	Hooks RestoreHooks `json:"hooks,omitempty"`

	// What to do with objects that exist: none or update; empty means none.
	// +optional
	// +nullable
	ExistingResourcePolicy PolicyType `json:"existingResourcePolicy,omitempty"`

	// How long to wait for operations that go on after an object was restored; zero
	// means 4 hours.
	// +optional
	ItemOperationTimeout metav1.Duration `json:"itemOperationTimeout,omitempty"`

	// ConfigMap in the same namespace that holds changes to make to objects.
	// +optional
	// +nullable
	ResourceModifier *corev1.TypedLocalObjectReference `json:"resourceModifier,omitempty"`

	// Settings for restoring volumes file by file.
	// +optional
	// +nullable
	UploaderConfig *UploaderConfigForRestore `json:"uploaderConfig,omitempty"`
}

// RestoreStatusSpec selects the resources whose status is restored.
type RestoreStatusSpec struct {
	// Resources whose status is restored.
	// +optional
	// +nullable
	IncludedResources []string `json:"includedResources,omitempty"`

	// Resources whose status is not restored.
	// +optional
	// +nullable
	ExcludedResources []string `json:"excludedResources,omitempty"`
}

// UploaderConfigForRestore tunes the file-by-file restore of volumes.
type UploaderConfigForRestore struct {
	// Whether runs of zeros are written as holes; unset means no.
	// +optional
	// +nullable
	WriteSparseFiles *bool `json:"writeSparseFiles,omitempty"`

	// Number of files downloaded at once; zero leaves the choice to the uploader.
	// +optional
	ParallelFilesDownload int `json:"parallelFilesDownload,omitempty"`
}

// RestoreStatus is what is known about a Restore's run.
type RestoreStatus struct {
	// Where the restore stands.
	// +optional
	Phase RestorePhase `json:"phase,omitempty"`

	// What is wrong with the spec.
	// +optional
	// +nullable
	ValidationErrors []string `json:"validationErrors,omitempty"`

	// Number of warnings.
	// +optional
	Warnings int `json:"warnings,omitempty"`

	// Number of errors.
	// +optional
	Errors int `json:"errors,omitempty"`

	// Why the whole restore failed.
	// +optional
	FailureReason string `json:"failureReason,omitempty"`

	// When the run began.
	// +optional
	// +nullable
	StartTimestamp *metav1.Time `json:"startTimestamp,omitempty"`

	// When the run ended, whatever its outcome.
	// +optional
	// +nullable
	CompletionTimestamp *metav1.Time `json:"completionTimestamp,omitempty"`

	// How far the run has come.
	// +optional
	// +nullable
	Progress *RestoreProgress `json:"progress,omitempty"`

	// Number of operations begun that go on after their object was restored.
	// +optional
	RestoreItemOperationsAttempted int `json:"restoreItemOperationsAttempted,omitempty"`

	// Number of such operations that succeeded.
	// +optional
	RestoreItemOperationsCompleted int `json:"restoreItemOperationsCompleted,omitempty"`

	// Number of such operations that failed.
	// +optional
	RestoreItemOperationsFailed int `json:"restoreItemOperationsFailed,omitempty"`

	// Counts of the hooks that ran.
	// +optional
	// +nullable
	HookStatus *HookStatus `json:"hookStatus,omitempty"`
}

// RestoreProgress counts the objects of a running restore.
type RestoreProgress struct {
	// Number of objects to restore, as known so far.
	// +optional
	TotalItems int `json:"totalItems,omitempty"`

	// Number of objects dealt with.
	// +optional
	ItemsRestored int `json:"itemsRestored,omitempty"`
}
