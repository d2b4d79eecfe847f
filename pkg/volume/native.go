package volume

// SnapshotPhase is how taking a disk snapshot ended.
type SnapshotPhase string

// The phases of disk snapshots.
const (
	SnapshotNew       SnapshotPhase = "New"
	SnapshotCompleted SnapshotPhase = "Completed"
	SnapshotFailed    SnapshotPhase = "Failed"
)

// Snapshot is one element of a backup's volumesnapshots object: a snapshot that a
// cloud's own API took.
type Snapshot struct {
	Spec   SnapshotSpec   `json:"spec"`
	Status SnapshotStatus `json:"status"`
}

// SnapshotSpec says of what and where.
type SnapshotSpec struct {
	BackupName string `json:"backupName"`
	BackupUID  string `json:"backupUID"`
	// Location is the name of the VolumeSnapshotLocation.
	Location             string `json:"location"`
	PersistentVolumeName string `json:"persistentVolumeName"`
	ProviderVolumeID     string `json:"providerVolumeID"`
	VolumeType           string `json:"volumeType"`
	// VolumeAZ is the zone; those of a disk in several are joined by "__".
	VolumeAZ string `json:"volumeAZ,omitempty"`
	// VolumeIOPS is nil where the provider has none, and 0 in what Velero writes.
	VolumeIOPS *int64 `json:"volumeIOPS,omitempty"`
}

// SnapshotStatus says what came of it.
type SnapshotStatus struct {
	ProviderSnapshotID string        `json:"providerSnapshotID,omitempty"`
	Phase              SnapshotPhase `json:"phase,omitempty"`
}
