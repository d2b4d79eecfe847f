package restore

import (
	"context"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// csiSnapshots is the side file with the VolumeSnapshots of a backup that Velero
// wrote up to 1.16.
const csiSnapshots catalog.BackupFileKind = "csi-volumesnapshots.json.gz"

// saved is what a backup says of the data of its volumes. It is not changed any more
// once it was read.
type saved struct {
	// infos are what it says of volumes that were to be saved, by the names of the
	// PersistentVolumes and by their claims; empty for backups of Velero before 1.13.
	infos  map[string]*volume.Info
	claims map[transform.Place]*volume.Info
	// disks are the disk snapshots, by the names of the PersistentVolumes.
	disks map[string]volume.Snapshot
	// data and byClaim are the same in short.
	data    map[string]transform.VolumeData
	byClaim map[transform.Place]transform.VolumeData
}

// readVolumes reads what the backup says of its volumes.
func (s *source) readVolumes(ctx context.Context) error {
	s.saved = saved{
		infos: map[string]*volume.Info{}, claims: map[transform.Place]*volume.Info{}, disks: map[string]volume.Snapshot{},
		data: map[string]transform.VolumeData{}, byClaim: map[transform.Place]transform.VolumeData{},
	}
	var infos []volume.Info
	if err := s.read(ctx, catalog.VolumeInfo, &infos); err != nil {
		return err
	}
	var disks []volume.Snapshot
	if err := s.read(ctx, catalog.VolumeSnapshots, &disks); err != nil {
		return err
	}
	for _, disk := range disks {
		s.saved.disks[disk.Spec.PersistentVolumeName] = disk
	}
	if infos == nil {
		return s.inferVolumes(ctx)
	}
	for i := range infos {
		s.saved.add(&infos[i])
	}
	return nil
}

func (s *saved) add(info *volume.Info) {
	if info.Skipped || info.PVName == "" {
		return
	}
	s.infos[info.PVName] = info
	if info.PVCName != "" {
		s.claims[claimPlace(info.PVCNamespace, info.PVCName)] = info
	}
	data := transform.VolumeData{Method: transform.VolumeMethod(info.Method), Moved: info.SnapshotDataMoved, Failed: info.Result == volume.Failed}
	if info.Method == volume.NativeSnapshot {
		// One that was still being copied may be whole by now.
		data.Failed = s.disks[info.PVName].Status.ProviderSnapshotID == ""
	}
	s.data[info.PVName] = data
}

// inferVolumes finds out what backups of Velero before 1.13 don't say.
func (s *source) inferVolumes(ctx context.Context) error {
	var files []velerov1.PodVolumeBackup
	if err := s.read(ctx, catalog.PodVolumeBackups, &files); err != nil {
		return err
	}
	var snapshots []struct {
		Metadata struct{ Namespace string }
		Spec     struct {
			Source struct{ PersistentVolumeClaimName string }
		}
	}
	if err := s.read(ctx, csiSnapshots, &snapshots); err != nil {
		return err
	}
	for _, snapshot := range snapshots {
		s.saved.byClaim[claimPlace(snapshot.Metadata.Namespace, snapshot.Spec.Source.PersistentVolumeClaimName)] =
			transform.VolumeData{Method: transform.VolumeCSISnapshot}
	}
	for _, file := range files {
		if claim := file.Annotations[velerov1.PVCNameAnnotation]; claim != "" && file.Status.SnapshotID != "" {
			s.saved.byClaim[claimPlace(file.Spec.Pod.Namespace, claim)] = transform.VolumeData{Method: transform.VolumePodVolumeBackup}
		}
	}
	for name, disk := range s.saved.disks {
		if disk.Status.ProviderSnapshotID != "" {
			s.saved.data[name] = transform.VolumeData{Method: transform.VolumeNativeSnapshot}
		}
	}
	return nil
}

// anyCSI reports whether the data of a volume is in a CSI snapshot.
func (s *saved) anyCSI() bool {
	inSnapshot := func(d transform.VolumeData) bool {
		return d.Method == transform.VolumeCSISnapshot && !d.Moved && !d.Failed
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(s.data)), inSnapshot) ||
		slices.ContainsFunc(slices.Collect(maps.Values(s.byClaim)), inSnapshot)
}

func claimPlace(namespace, name string) transform.Place {
	return transform.Place{Resource: transform.Claims, Namespace: namespace, Name: name}
}

// restoresData reports whether volumes are restored from snapshots.
func (o *operation) restoresData() bool {
	return o.restore.Spec.RestorePVs == nil || *o.restore.Spec.RestorePVs
}

var snapshotClassKind = schema.GroupResource{Group: transform.VolumeSnapshots.Group, Resource: "volumesnapshotclasses"}
