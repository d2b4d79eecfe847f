// Package snapshot is what the clouds' own disk snapshots have in common. The
// providers are the packages below it; snapshots by CSI drivers, which go through
// the API server, are package csi.
package snapshot

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Snapshotter works on the disks and snapshots of one VolumeSnapshotLocation. It is
// safe for concurrent use; requests that the provider throttles are tried again
// within it, at a slower pace. Errors say what was tried and, where a person can do
// something about it, what.
type Snapshotter interface {
	// VolumeID returns the id of the volume's disk, which is empty when the disk
	// isn't one of this provider. A volume of this provider whose id can't be read
	// is an error.
	VolumeID(pv *corev1.PersistentVolume) (string, error)
	// Disk describes a disk; zone is volume.Zone of its volume. One that isn't
	// there is ErrNotExist.
	Disk(ctx context.Context, id, zone string) (Disk, error)
	// Create cuts a snapshot and returns its id as soon as what is written to the
	// disk from then on isn't in it; copying may go on, as State tells. Called again
	// for the same Owner and disk it may return the first call's snapshot, where the
	// provider can tell.
	Create(ctx context.Context, r CreateRequest) (id string, err error)
	// State says how far a snapshot is. One that isn't there is ErrNotExist.
	State(ctx context.Context, id string) (State, error)
	// Find returns the ids of the snapshots that Create made for this owner, in any
	// order, those of attempts that died included.
	Find(ctx context.Context, owner Owner) ([]string, error)
	// Delete deletes a snapshot and returns when the provider has agreed; one that
	// isn't there is fine, one that is in use is ErrInUse.
	Delete(ctx context.Context, id string) error
	// CreateVolume makes a disk from a snapshot and returns its id when it can be
	// attached. Called again with the same Token it returns the same disk.
	CreateVolume(ctx context.Context, r VolumeRequest) (id string, err error)
	// SetVolumeID makes the volume one that is on the disk that CreateVolume made.
	SetVolumeID(pv *corev1.PersistentVolume, id string) error
}

// Disk is what a restore needs to know of a disk to make one like it.
type Disk struct {
	// Type is the provider's name for the kind of disk.
	Type string
	// IOPS is what was provisioned; nil where that can't be chosen.
	IOPS *int64
}

// Owner is the backup that snapshots belong to. It is kept on the snapshots.
type Owner struct {
	// Backup is the backup's name, UID its object's.
	Backup, UID string
}

// CreateRequest says of which disk a snapshot is to be cut.
type CreateRequest struct {
	VolumeID string
	// Zone is volume.Zone of the disk's volume.
	Zone  string
	Owner Owner
	// Volume is the name of the PersistentVolume.
	Volume string
	// Tags are kept on the snapshot, in the form the provider allows: the labels of
	// the backup, velero.io/backup and velero.io/pv. They win over the disk's own,
	// which are kept too.
	Tags map[string]string
}

// State is how far a snapshot is.
type State struct {
	// Ready says that a disk can be made from it and that it needs its source no
	// more.
	Ready bool
	// Progress is in percent; 0 when the provider doesn't say.
	Progress int
	// Failure is the provider's reason why it will never be ready; empty as long as
	// there is hope.
	Failure string
}

// VolumeRequest says what disk to make.
type VolumeRequest struct {
	SnapshotID string
	// Type, Zone and IOPS are those of the disk in the backup.
	Type string
	Zone string
	IOPS *int64
	// Token stands for the disk: the same for each attempt to make it. It has at
	// most 64 characters of [0-9a-f-].
	Token string
}

// Errors that a Snapshotter's wrap.
var (
	// ErrNotExist means that there is no such disk or snapshot.
	ErrNotExist = errors.New("it does not exist")
	// ErrInUse means that something that was made from a snapshot still needs it.
	ErrInUse = errors.New("it is in use")
	// ErrQuota means that the account may not have more.
	ErrQuota = errors.New("the quota is used up")
	// ErrNoZone means that the zone of the disk in the backup can't be used.
	ErrNoZone = errors.New("the zone can't be used")
)

// Config is where a VolumeSnapshotLocation points to.
type Config struct {
	// Location is its name, for messages.
	Location string
	// Settings are its spec.config; settings.CheckSnapshots has accepted them.
	Settings map[string]string
	// CredentialsFile is in the provider's own format; a file that doesn't exist
	// means the SDK's default chain.
	CredentialsFile string
	// Endpoint is the URL of the provider's API in place of its own; empty for that.
	Endpoint string
	// CACert is PEM; its certificates are trusted beside the system's.
	CACert []byte
}

// Errorf is fmt.Errorf with the location's name in front.
func (c Config) Errorf(format string, args ...any) error {
	return fmt.Errorf("snapshot location %q: "+format, append([]any{c.Location}, args...)...)
}
