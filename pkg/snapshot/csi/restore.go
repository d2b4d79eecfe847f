package csi

import (
	"crypto/sha256"
	"encoding/hex"
)

// RestoreName is the name that a restored VolumeSnapshot and its content get, as in
// Velero: two restores of one backup don't get into each other's way.
func RestoreName(restoreUID, snapshot string) string {
	sum := sha256.Sum256([]byte(restoreUID + "/" + snapshot))
	return hex.EncodeToString(sum[:])
}

// UnboundPatch is the merge patch for a restored content that is to be deleted without
// its data. Where its VolumeSnapshot went before snapshot-controller had looked at
// both, the controller binds the content all the same, and nobody would ever take its
// finalizer off: csi-snapshotter does so at this sign of the controller only.
func UnboundPatch() []byte {
	return metadataPatch("annotations", map[string]string{beingDeleted: "yes"})
}
