package gcepd

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"
)

const (
	// maxName is how long the name of a resource may be.
	maxName = 63
	// restoredPrefix begins the names of disks that are made from snapshots, as those
	// of Velero do.
	restoredPrefix = "restore-"
)

// snapshotName is the name of the snapshot of a disk for a backup: the same each
// time, so that a second attempt finds what the first one made. It looks as Velero's:
// the disk's name, as far as there is room, and a UUID.
func snapshotName(ownerUID, disk, at string) string {
	suffix := "-" + ownerPart(ownerUID) + "-" + diskPart(ownerUID, disk, at)
	if room := maxName - len(suffix); len(disk) > room {
		disk = strings.TrimRight(disk[:room], "-")
	}
	return disk + suffix
}

// ownerPart is what the UUIDs in the names of all snapshots of a backup begin with.
func ownerPart(ownerUID string) string {
	digits := digest(ownerUID)
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16]
}

func diskPart(ownerUID, disk, at string) string {
	digits := digest(ownerUID + "/" + at + "/" + disk)
	return digits[:4] + "-" + digits[4:16]
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// ownedBy is a filter of the API for the names of all snapshots of a backup.
func ownedBy(ownerUID string) string {
	return `name eq ".*-` + ownerPart(ownerUID) + `-[0-9a-f]{4}-[0-9a-f]{12}"`
}

// restoredName is the name of the disk that a token stands for.
func restoredName(token string) string {
	if id, err := uuid.Parse(token); err == nil && id.String() == token {
		return restoredPrefix + token
	}
	return restoredPrefix + uuid.NewSHA1(uuid.NameSpaceOID, []byte(token)).String()
}
