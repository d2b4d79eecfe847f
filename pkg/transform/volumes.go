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

// Volumes knows how the persistent volumes of a backup were backed up, and
// which of them don't come back, so that their claims get new ones. It is safe
// for concurrent use.
type Volumes struct {
	methods map[string]VolumeMethod

	mu          sync.Mutex
	provisioned map[string]bool
	renamed     map[string]string
}

// NewVolumes returns Volumes with the method of each persistent volume by name.
func NewVolumes(methods map[string]VolumeMethod) *Volumes {
	return &Volumes{methods: methods, provisioned: map[string]bool{}, renamed: map[string]string{}}
}

// Method is how the volume's data was backed up.
func (v *Volumes) Method(name string) VolumeMethod { return v.methods[name] }

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
