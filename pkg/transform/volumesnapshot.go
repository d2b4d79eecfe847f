package transform

// volumeSnapshot leaves out the VolumeSnapshots and their contents that a
// backup made: as plain objects they would claim snapshots that are not theirs,
// and delete them with their namespace. The volume itself is reported with its
// PersistentVolume.
func volumeSnapshot(_ *Options, _ *Object) (Decision, error) {
	return Decision{Skip: "this version restores no CSI snapshots"}, nil
}
