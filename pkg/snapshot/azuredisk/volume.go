package azuredisk

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// driver is the CSI driver of managed disks.
const driver = "disk.csi.azure.com"

// VolumeID implements snapshot.Snapshotter. As in Velero's records the id is the
// disk's name; of a disk that isn't in the credentials' group it is the whole path.
func (s *snapshotter) VolumeID(pv *corev1.PersistentVolume) (string, error) {
	path := ""
	switch {
	case pv.Spec.CSI != nil && pv.Spec.CSI.Driver == driver:
		path = pv.Spec.CSI.VolumeHandle
	case pv.Spec.AzureDisk != nil:
		path = pv.Spec.AzureDisk.DataDiskURI
		if isBlob(pv.Spec.AzureDisk) {
			return "", s.location.Errorf("persistent volume %q is on the unmanaged disk %q, which has no snapshots; hint: convert it into a managed disk, or back it up with --default-volumes-to-fs-backup", pv.Name, pv.Spec.AzureDisk.DiskName)
		}
		if path == "" {
			return pv.Spec.AzureDisk.DiskName, nil
		}
	default:
		return "", nil
	}
	disk, err := parseID(path, kindDisk)
	if err != nil {
		return "", s.location.Errorf("disk of persistent volume %q: %w", pv.Name, err)
	}
	if disk.is(s.disks) {
		return disk.name, nil
	}
	return disk.id(kindDisk), nil
}

// isBlob says that the disk is a page blob in a storage account.
func isBlob(disk *corev1.AzureDiskVolumeSource) bool {
	if disk.Kind != nil && *disk.Kind != corev1.AzureManagedDisk {
		return !strings.HasPrefix(disk.DataDiskURI, "/")
	}
	return strings.Contains(disk.DataDiskURI, "://")
}

// SetVolumeID implements snapshot.Snapshotter.
func (s *snapshotter) SetVolumeID(pv *corev1.PersistentVolume, id string) error {
	disk, err := s.diskOf(id)
	if err != nil {
		return err
	}
	switch {
	case pv.Spec.CSI != nil && pv.Spec.CSI.Driver == driver:
		pv.Spec.CSI.VolumeHandle = disk.id(kindDisk)
	case pv.Spec.AzureDisk != nil:
		managed := corev1.AzureManagedDisk
		pv.Spec.AzureDisk.DiskName, pv.Spec.AzureDisk.DataDiskURI, pv.Spec.AzureDisk.Kind = disk.name, disk.id(kindDisk), &managed
	default:
		return s.location.Errorf("put disk %q into persistent volume %q: it is no volume of Azure disks", id, pv.Name)
	}
	return nil
}

// diskOf is the disk of an id that VolumeID or CreateVolume returned.
func (s *snapshotter) diskOf(id string) (resource, error) {
	if !strings.HasPrefix(id, "/") {
		if id == "" || strings.Contains(id, "/") {
			return resource{}, s.location.Errorf("%q is not the name of a disk", id)
		}
		return resource{s.disks, id}, nil
	}
	disk, err := parseID(id, kindDisk)
	if err != nil {
		return disk, s.location.Errorf("%w", err)
	}
	return disk, nil
}

// snapshotOf is the snapshot of an id in a backup: a whole path, or a name.
func (s *snapshotter) snapshotOf(id string) (resource, error) {
	if !strings.HasPrefix(id, "/") {
		if id == "" || strings.Contains(id, "/") {
			return resource{}, s.location.Errorf("%q is not the name of a snapshot", id)
		}
		return resource{s.snapshots, id}, nil
	}
	found, err := parseID(id, kindSnapshot)
	if err != nil {
		return found, s.location.Errorf("%w", err)
	}
	return found, nil
}

// String names a resource for a person.
func (r resource) String() string { return fmt.Sprintf("%q in resource group %q", r.name, r.group) }
