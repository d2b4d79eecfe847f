// Package saved reads which data of volumes a backup keeps outside of its folder in
// the bucket: what has to be deleted with it, and what its restore needs to be
// there. It reads the lists of all versions of Velero since 1.4, and asks nobody
// else.
package saved

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// Volume names the volume that data is of, as far as the backup says.
type Volume struct {
	// PV is the name of the PersistentVolume, PVC the "namespace/name" of its claim.
	PV, PVC string
}

// CSI is a snapshot in the storage of a CSI driver.
type CSI struct {
	Volume
	Handle csi.Handle
	// Content is the name that the VolumeSnapshotContent had; may be empty.
	Content string
}

// Native is a disk snapshot that a cloud's own API took.
type Native struct {
	Volume
	// Location is the name of the VolumeSnapshotLocation, Snapshot the id there.
	Location, Snapshot string
}

// Lost is data of which the backup doesn't say where it is.
type Lost struct {
	Volume
	// Why says what is missing.
	Why string
}

// Data is all that was found, in a fixed order.
type Data struct {
	CSI    []CSI
	Native []Native
	Lost   []Lost
	// Files and Moved count the volumes that were saved file by file, and those
	// whose snapshot was moved to the storage location.
	Files, Moved int
	// Listed says that there is a list of disk snapshots, also an empty one. A backup
	// that never got to its end has none.
	Listed bool
}

// Snapshots is how many snapshots there are.
func (d *Data) Snapshots() int { return len(d.CSI) + len(d.Native) }

// Read reads the lists of a backup. A list that isn't there is an empty one. With an
// error the Data is what the others tell.
func Read(ctx context.Context, c *catalog.Catalog, backup string) (Data, error) {
	r := &reader{catalog: c, backup: backup, csi: map[[2]string]*CSI{}}
	var errs []error
	for _, read := range []func(context.Context) error{r.readInfos, r.readNative, r.readFiles, r.readContentsFile, r.readArchive} {
		if err := read(ctx); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return Data{}, ctx.Err()
		}
	}
	return r.data(), errors.Join(errs...)
}

// reader collects what the lists of one backup say.
type reader struct {
	catalog *catalog.Catalog
	backup  string

	infos  []volume.Info
	native []volume.Snapshot
	files  int
	listed bool
	// csi is by driver and handle.
	csi map[[2]string]*CSI
	// missing are the names of contents whose archive is gone.
	missing []string
}

// decode decodes a list; false means that there is none.
func (r *reader) decode(ctx context.Context, kind catalog.BackupFileKind, into any) (bool, error) {
	err := r.catalog.GetJSON(ctx, catalog.BackupFile(r.backup, kind), into)
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for volume data: %w", err)
	}
	return true, nil
}

// unknownHandle is what Velero writes where a snapshot's data was moved.
const unknownHandle = "unknown"

func (r *reader) readInfos(ctx context.Context) error {
	if _, err := r.decode(ctx, catalog.VolumeInfo, &r.infos); err != nil {
		return err
	}
	for _, info := range r.infos {
		if s := info.CSI; s != nil && !info.SnapshotDataMoved && s.SnapshotHandle != "" && s.SnapshotHandle != unknownHandle {
			r.add(CSI{Volume: volumeOf(info), Handle: csi.Handle{Driver: s.Driver, Snapshot: s.SnapshotHandle, Group: s.GroupHandle}, Content: s.ContentName})
		}
	}
	return nil
}

// volumeOf names the volume of a record.
func volumeOf(info volume.Info) Volume {
	v := Volume{PV: info.PVName}
	if info.PVCName != "" {
		v.PVC = info.PVCNamespace + "/" + info.PVCName
	}
	return v
}

// add notes a snapshot. What is read later knows more of its handle.
func (r *reader) add(s CSI) {
	key := [2]string{s.Handle.Driver, s.Handle.Snapshot}
	if known := r.csi[key]; known != nil {
		s.Volume = known.Volume
	}
	r.csi[key] = &s
}

func (r *reader) readNative(ctx context.Context) (err error) {
	r.listed, err = r.decode(ctx, catalog.VolumeSnapshots, &r.native)
	return err
}

// readFiles counts what was saved file by file.
func (r *reader) readFiles(ctx context.Context) error {
	var backups []velerov1.PodVolumeBackup
	if _, err := r.decode(ctx, catalog.PodVolumeBackups, &backups); err != nil {
		return err
	}
	for i := range backups {
		if backups[i].Status.SnapshotID != "" {
			r.files++
		}
	}
	return nil
}

// data puts together what was read.
func (r *reader) data() Data {
	d := Data{Files: r.files, Listed: r.listed}
	groups := map[[2]string][]string{}
	for _, s := range r.csi {
		group := [2]string{s.Handle.Driver, s.Handle.Group}
		groups[group] = append(groups[group], s.Handle.Snapshot)
	}
	for _, s := range r.csi {
		if members := s.Handle.GroupMembers; s.Handle.Group != "" && len(members) == 0 {
			// Whatever the backup has of the group, as far as nobody says more.
			s.Handle.GroupMembers = slices.Sorted(slices.Values(groups[[2]string{s.Handle.Driver, s.Handle.Group}]))
		}
		d.CSI = append(d.CSI, *s)
	}
	slices.SortFunc(d.CSI, func(a, b CSI) int {
		return cmp.Or(cmp.Compare(a.PVC, b.PVC), cmp.Compare(a.Handle.Driver, b.Handle.Driver), cmp.Compare(a.Handle.Snapshot, b.Handle.Snapshot))
	})
	r.addNative(&d)
	inFiles := 0
	for _, info := range r.infos {
		switch {
		case info.Skipped || info.Result == volume.Failed:
		case info.PVB != nil && info.PVB.SnapshotHandle != "":
			inFiles++
		case info.SnapshotDataMoved:
			d.Moved++
		}
	}
	d.Files = max(d.Files, inFiles)
	d.Lost = r.lost()
	return d
}

func (r *reader) addNative(d *Data) {
	claims := map[string]string{}
	for _, info := range r.infos {
		claims[info.PVName] = volumeOf(info).PVC
	}
	for _, s := range r.native {
		if s.Status.ProviderSnapshotID == "" {
			continue
		}
		pv := s.Spec.PersistentVolumeName
		d.Native = append(d.Native, Native{Volume: Volume{PV: pv, PVC: claims[pv]}, Location: s.Spec.Location, Snapshot: s.Status.ProviderSnapshotID})
	}
}

// lost finds the snapshots of which no list says where they are.
func (r *reader) lost() []Lost {
	contents, disks := map[string]bool{}, map[string]bool{}
	for _, s := range r.csi {
		contents[s.Content] = true
	}
	for _, s := range r.native {
		disks[s.Status.ProviderSnapshotID] = true
	}
	var lost []Lost
	for _, info := range r.infos {
		if why := lostInfo(info, contents, disks); why != "" {
			lost = append(lost, Lost{Volume: volumeOf(info), Why: why})
		}
	}
	for _, name := range r.missing {
		if !contents[name] {
			lost = append(lost, Lost{Why: fmt.Sprintf("the archive is gone, which has the handle of VolumeSnapshotContent %q", name)})
		}
	}
	return lost
}

// lostInfo says why a volume's record doesn't lead to its snapshot; empty when it
// does, or when there is none.
func lostInfo(info volume.Info, contents, disks map[string]bool) string {
	if info.Skipped || info.Result == volume.Failed || info.SnapshotDataMoved {
		return ""
	}
	switch info.Method {
	case volume.CSISnapshot:
		s := info.CSI
		if s != nil && (s.SnapshotHandle != "" && s.SnapshotHandle != unknownHandle || contents[s.ContentName] && s.ContentName != "") {
			return ""
		}
		return "the handle of its CSI snapshot isn't recorded"
	case volume.NativeSnapshot:
		if info.Native != nil && disks[info.Native.SnapshotHandle] && info.Native.SnapshotHandle != "" {
			return ""
		}
		return "the list of disk snapshots has none of it"
	}
	return ""
}

// Locations are the names of the snapshot locations of the disk snapshots, sorted.
func (d *Data) Locations() []string {
	names := map[string]bool{}
	for _, s := range d.Native {
		names[s.Location] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// Drivers are the names of the CSI drivers of the snapshots, sorted.
func (d *Data) Drivers() []string {
	names := map[string]bool{}
	for _, s := range d.CSI {
		names[s.Handle.Driver] = true
	}
	return slices.Sorted(maps.Keys(names))
}
