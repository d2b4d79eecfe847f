package volume

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Operation is one element of the itemoperations object of a backup or a restore:
// work that went on after its object was stored or created.
type Operation struct {
	Spec   OperationSpec   `json:"spec"`
	Status OperationStatus `json:"status"`
}

// OperationSpec says whose work it is. A backup's has the Backup fields, a
// restore's the Restore fields.
type OperationSpec struct {
	BackupName       string `json:"backupName,omitempty"`
	BackupUID        string `json:"backupUID,omitempty"`
	BackupItemAction string `json:"backupItemAction,omitempty"`

	RestoreName       string `json:"restoreName,omitempty"`
	RestoreUID        string `json:"restoreUID,omitempty"`
	RestoreItemAction string `json:"restoreItemAction,omitempty"`

	ResourceIdentifier Identifier   `json:"resourceIdentifier"`
	OperationID        string       `json:"operationID"`
	PostOperationItems []Identifier `json:"postOperationItems,omitempty"`
}

// Identifier names an object. Its keys are written with capitals.
type Identifier struct {
	Group     string
	Resource  string
	Namespace string
	Name      string
}

// OperationPhase is where an operation stands.
type OperationPhase string

// The phases of operations.
const (
	OperationNew        OperationPhase = "New"
	OperationInProgress OperationPhase = "InProgress"
	OperationCompleted  OperationPhase = "Completed"
	OperationFailed     OperationPhase = "Failed"
)

// OperationStatus says how it goes.
type OperationStatus struct {
	Phase          OperationPhase `json:"phase,omitempty"`
	Error          string         `json:"error,omitempty"`
	NCompleted     int64          `json:"nCompleted,omitempty"`
	NTotal         int64          `json:"nTotal,omitempty"`
	OperationUnits string         `json:"operationUnits,omitempty"`
	Description    string         `json:"description,omitempty"`
	Created        *metav1.Time   `json:"created,omitempty"`
	Started        *metav1.Time   `json:"started,omitempty"`
	Updated        *metav1.Time   `json:"updated,omitempty"`
}
