package volume

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Method is how the data of a volume was saved.
type Method string

// The methods. Skipped is the data that wasn't.
const (
	Skipped         Method = ""
	NativeSnapshot  Method = "NativeSnapshot"
	PodVolumeBackup Method = "PodVolumeBackup"
	CSISnapshot     Method = "CSISnapshot"
)

// Result says how saving ended.
type Result string

// The results; empty for a volume that was skipped.
const (
	Succeeded Result = "succeeded"
	Failed    Result = "failed"
)

// Info is one element of a backup's volumeinfo object, as Velero 1.18 has it.
type Info struct {
	// The claim and the volume in the cluster that was backed up; the claim's are
	// empty for a volume without one.
	PVCName      string `json:"pvcName,omitempty"`
	PVCNamespace string `json:"pvcNamespace,omitempty"`
	PVName       string `json:"pvName,omitempty"`
	Method       Method `json:"backupMethod,omitempty"`
	// SnapshotDataMoved says that the snapshot's data went to the storage location.
	SnapshotDataMoved bool `json:"snapshotDataMoved"`
	// PreserveLocalSnapshot says that the snapshot stays in the storage system.
	PreserveLocalSnapshot bool `json:"preserveLocalSnapshot"`
	Skipped               bool `json:"skipped"`
	// SkippedReason is "approach: reason;", perhaps several.
	SkippedReason       string        `json:"skippedReason,omitempty"`
	StartTimestamp      *metav1.Time  `json:"startTimestamp,omitempty"`
	CompletionTimestamp *metav1.Time  `json:"completionTimestamp,omitempty"`
	Result              Result        `json:"result,omitempty"`
	CSI                 *CSIInfo      `json:"csiSnapshotInfo,omitempty"`
	DataMovement        *MovementInfo `json:"snapshotDataMovementInfo,omitempty"`
	Native              *NativeInfo   `json:"nativeSnapshotInfo,omitempty"`
	PVB                 *PVBInfo      `json:"pvbInfo,omitempty"`
	PV                  *PVInfo       `json:"pvInfo,omitempty"`
	// Decision says why the data was saved this way, or not; only we write it.
	Decision string `json:"decision,omitempty"`
}

// CSIInfo is about a snapshot that a CSI driver took.
type CSIInfo struct {
	SnapshotHandle string `json:"snapshotHandle"`
	// Size is what a volume made from it needs at least, in bytes; 0 when the
	// driver doesn't say.
	Size   int64  `json:"size"`
	Driver string `json:"driver"`
	// ContentName is the name of the VolumeSnapshotContent.
	ContentName string `json:"vscName"`
	OperationID string `json:"operationID,omitempty"`
	// ReadyToUse is nil as long as the driver hasn't said.
	ReadyToUse  *bool  `json:"ReadyToUse"`
	GroupHandle string `json:"volumeGroupSnapshotHandle,omitempty"`
}

// MovementInfo is about a snapshot whose data was moved to the storage location.
type MovementInfo struct {
	DataMover        string `json:"dataMover"`
	UploaderType     string `json:"uploaderType"`
	RetainedSnapshot string `json:"retainedSnapshot,omitempty"`
	SnapshotHandle   string `json:"snapshotHandle"`
	OperationID      string `json:"operationID"`
	Size             int64  `json:"size"`
	IncrementalSize  int64  `json:"incrementalSize,omitempty"`
	Phase            string `json:"Phase"`
}

// NativeInfo is about a snapshot that a cloud's own API took.
type NativeInfo struct {
	SnapshotHandle string `json:"snapshotHandle"`
	VolumeType     string `json:"volumeType"`
	VolumeAZ       string `json:"volumeAZ"`
	// IOPS is a decimal number, "0" when there is none.
	IOPS  string `json:"iops"`
	Phase string `json:"Phase"`
}

// PVBInfo is about a volume that was saved file by file.
type PVBInfo struct {
	SnapshotHandle  string `json:"snapshotHandle,omitempty"`
	Size            int64  `json:"size,omitempty"`
	IncrementalSize int64  `json:"incrementalSize,omitempty"`
	UploaderType    string `json:"uploaderType"`
	VolumeName      string `json:"volumeName"`
	PodName         string `json:"podName"`
	PodNamespace    string `json:"podNamespace"`
	NodeName        string `json:"nodeName,omitempty"`
	Phase           string `json:"Phase"`
}

// PVInfo is what a restore gives a volume that is provisioned anew.
type PVInfo struct {
	ReclaimPolicy string            `json:"reclaimPolicy"`
	Labels        map[string]string `json:"labels"`
}

// RestoreInfo is one element of a restore's volumeinfo object.
type RestoreInfo struct {
	PVCName      string `json:"pvcName,omitempty"`
	PVCNamespace string `json:"pvcNamespace,omitempty"`
	PVName       string `json:"pvName,omitempty"`
	// Method is CSISnapshot, NativeSnapshot or "PodVolumeRestore".
	Method            Method        `json:"restoreMethod,omitempty"`
	SnapshotDataMoved bool          `json:"snapshotDataMoved"`
	CSI               *CSIInfo      `json:"csiSnapshotInfo,omitempty"`
	DataMovement      *MovementInfo `json:"snapshotDataMovementInfo,omitempty"`
	Native            *NativeInfo   `json:"nativeSnapshotInfo,omitempty"`
	PVR               *PVBInfo      `json:"pvrInfo,omitempty"`
}
