package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Schedule makes Backups at recurring times.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced
// +kubebuilder:storageversion
// +kubebuilder:metadata:labels="component=velero"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`,description="Where the schedule stands"
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`,description="When backups are made, as a cron expression"
// +kubebuilder:printcolumn:name="LastBackup",type=date,JSONPath=`.status.lastBackup`,description="When the last backup was made"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Paused",type=boolean,JSONPath=`.spec.paused`
type Schedule struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ObjectMeta `json:"metadata"`

	// +optional
	Spec ScheduleSpec `json:"spec,omitempty"`

	// +optional
	Status ScheduleStatus `json:"status,omitempty"`
}

// ScheduleList is a list of Schedules.
//
// +kubebuilder:object:root=true
type ScheduleList struct {
	metav1.TypeMeta `json:",inline"`

	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Schedule `json:"items"`
}

// ScheduleSpec says when backups are made and what each holds.
type ScheduleSpec struct {
	// Spec of each Backup that is made.
	Template BackupSpec `json:"template"`

	// When backups are made: a cron expression of five fields, or a descriptor such
	// as @every 6h or @daily, optionally behind CRON_TZ=<zone>.
	Schedule string `json:"schedule"`

	// Whether the Schedule owns its Backups, so that deleting it deletes them;
	// unset means no.
	// +optional
	// +nullable
	UseOwnerReferencesInBackup *bool `json:"useOwnerReferencesInBackup,omitempty"`

	// Whether no backups are made for now.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// Whether the backup that is due at once, when the Schedule is created or
	// unpaused, is left out.
	// +optional
	SkipImmediately *bool `json:"skipImmediately,omitempty"`
}

// SchedulePhase says where a Schedule stands.
//
// +kubebuilder:validation:Enum=New;Enabled;FailedValidation
type SchedulePhase string

// The phases of a Schedule.
const (
	SchedulePhaseNew              SchedulePhase = "New"
	SchedulePhaseEnabled          SchedulePhase = "Enabled"
	SchedulePhaseFailedValidation SchedulePhase = "FailedValidation"
)

// ScheduleStatus is what is known about a Schedule.
type ScheduleStatus struct {
	// Where the schedule stands.
	// +optional
	Phase SchedulePhase `json:"phase,omitempty"`

	// When the last backup was made.
	// +optional
	// +nullable
	LastBackup *metav1.Time `json:"lastBackup,omitempty"`

	// When a backup was last left out.
	// +optional
	// +nullable
	LastSkipped *metav1.Time `json:"lastSkipped,omitempty"`

	// What is wrong with the spec.
	// +optional
	ValidationErrors []string `json:"validationErrors,omitempty"`
}
