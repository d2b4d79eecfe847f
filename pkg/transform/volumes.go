package transform

import "sync"

// VolumeMethod is how the data of a volume was backed up: backupMethod of the
// volume information in the bucket.
type VolumeMethod string

// The methods that Velero has.
const (
	// VolumeSkipped means that the data was not backed up.
	VolumeSkipped         VolumeMethod = ""
	VolumeNativeSnapshot  VolumeMethod = "NativeSnapshot"
	VolumePodVolumeBackup VolumeMethod = "PodVolumeBackup"
	VolumeCSISnapshot     VolumeMethod = "CSISnapshot"
)

// VolumeData is what a backup says of the data of a volume.
type VolumeData struct {
	Method VolumeMethod
	// Moved says that a snapshot's data is in the storage location, and not in the
	// snapshot any more.
	Moved bool
	// Failed says that the data was to be backed up and wasn't.
	Failed bool
}

// Volumes knows how the persistent volumes of a backup were backed up, and
// which of them don't come back, so that their claims get new ones. It is safe
// for concurrent use.
type Volumes struct {
	byName  map[string]VolumeData
	byClaim map[Place]VolumeData

	mu          sync.Mutex
	provisioned map[string]bool
	renamed     map[string]string
	undecided   map[string]error
}

// NewVolumes returns Volumes with what is said of persistent volumes by their
// names and, where their names don't say it, by their claims.
func NewVolumes(byName map[string]VolumeData, byClaim map[Place]VolumeData) *Volumes {
	return &Volumes{byName: byName, byClaim: byClaim, provisioned: map[string]bool{}, renamed: map[string]string{}, undecided: map[string]error{}}
}

// Data is what the backup says of a volume that has this claim; its namespace and
// name are empty when it has none.
func (v *Volumes) Data(volume, claimNamespace, claimName string) VolumeData {
	if data, ok := v.byName[volume]; ok {
		return data
	}
	return v.byClaim[Place{Claims, claimNamespace, claimName}]
}

// Reprovision notes that the volume doesn't come back.
func (v *Volumes) Reprovision(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.provisioned[name] = true
}

// Reprovisioned reports whether Reprovision was called for the volume.
func (v *Volumes) Reprovisioned(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.provisioned[name]
}

// Rename notes that a volume of the backup comes back under another name.
func (v *Volumes) Rename(from, to string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.renamed[from] = to
}

// Renamed returns the name that Rename gave to a volume of the backup.
func (v *Volumes) Renamed(name string) (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	to, ok := v.renamed[name]
	return to, ok
}

// Decide notes why it can't be told, or not yet, under which name a volume of the
// backup comes back; nil means that it can.
func (v *Volumes) Decide(name string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil {
		delete(v.undecided, name)
		return
	}
	v.undecided[name] = err
}

// Undecided returns what Decide noted of a volume.
func (v *Volumes) Undecided(name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.undecided[name]
}
