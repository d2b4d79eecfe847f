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
