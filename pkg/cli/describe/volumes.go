package describe

import (
	"cmp"
	"fmt"
	"slices"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

const noneIncluded = "<none included>"

// volumes writes what became of the data of volumes: numbers, and with the records of
// the bucket each volume.
func (b Backup) volumes(l *layout) {
	status := b.Backup.Status
	l.head("Backup Volumes")
	in := l.inner()
	in.snapshots("Velero-Native Snapshots", b.nativeCount(), b.savedBy(volume.NativeSnapshot), nativeSnapshot)
	l.blank()
	in.snapshots("CSI Snapshots", b.count(status.CSIVolumeSnapshotsCompleted, status.CSIVolumeSnapshotsAttempted), b.savedBy(volume.CSISnapshot), csiSnapshot)
	l.blank()
	in.snapshots("Pod Volume Backups", b.count(0, 0), b.savedBy(volume.PodVolumeBackup), podVolumeBackup)
	if err := b.Volumes.Err; err != nil {
		l.blank()
		in.note("Volumes", "not read: "+err.Error())
	}
	in.notSaved(b.savedBy(volume.Skipped))
}

// savedBy returns the volumes that a method saved, in the order of their names.
func (b Backup) savedBy(method volume.Method) []volume.Info {
	if b.Volumes.Value == nil {
		return nil
	}
	var found []volume.Info
	for _, v := range *b.Volumes.Value {
		if v.Method == method {
			found = append(found, v)
		}
	}
	slices.SortStableFunc(found, func(a, b volume.Info) int { return cmp.Compare(volumeName(a), volumeName(b)) })
	return found
}

// volumeName is the claim's, and for a volume without one its own.
func volumeName(v volume.Info) string {
	switch {
	case v.PVCName != "":
		return v.PVCNamespace + "/" + v.PVCName
	case v.PVB != nil:
		return v.PVB.PodNamespace + "/" + v.PVB.PodName + "/" + v.PVB.VolumeName
	}
	return v.PVName
}

// snapshotCount is how many snapshots there are, and whether the bucket knows more.
type snapshotCount struct {
	text string
	more bool
}

// count says how many snapshots were made, as far as the backup is.
func (b Backup) count(completed, attempted int) snapshotCount {
	switch {
	case attempted == 0:
		return snapshotCount{text: noneIncluded}
	case b.Backup.Status.Phase == velerov1.BackupPhaseInProgress:
		return snapshotCount{text: fmt.Sprintf("%d of %d completed so far", completed, attempted)}
	}
	return snapshotCount{text: fmt.Sprintf("%d of %d completed successfully", completed, attempted), more: true}
}

// nativeCount is count for disk snapshots, and how much of them is copied.
func (b Backup) nativeCount() snapshotCount {
	status := b.Backup.Status
	count := b.count(status.VolumeSnapshotsCompleted, status.VolumeSnapshotsAttempted)
	copied := b.Backup.Annotations[velerov1.DisksCopiedAnnotation]
	if status.Phase == velerov1.BackupPhaseInProgress && status.VolumeSnapshotsAttempted > 0 && copied != "" {
		count.text += ", " + copied + " copied"
	}
	return count
}

// snapshots writes one of the methods.
func (l *layout) snapshots(heading string, count snapshotCount, volumes []volume.Info, each func(*layout, volume.Info)) {
	if len(volumes) == 0 {
		if count.more {
			count.text += " (specify --details for more information)"
		}
		l.note(heading, count.text)
		return
	}
	l.head(heading)
	for _, v := range volumes {
		in := l.inner()
		in.head(volumeName(v))
		each(in.inner(), v)
	}
}

func nativeSnapshot(l *layout, v volume.Info) {
	if n := v.Native; n != nil {
		l.line("Snapshot ID", orNone(n.SnapshotHandle))
		l.line("Type", n.VolumeType)
		l.line("Availability Zone", orNone(n.VolumeAZ))
		l.line("IOPS", n.IOPS)
	}
	l.outcome(v)
}

func csiSnapshot(l *layout, v volume.Info) {
	if v.SnapshotDataMoved {
		l.head("Data Movement")
		in := l.inner()
		if d := v.DataMovement; d != nil {
			in.line("Operation ID", d.OperationID)
			in.line("Data Mover", orElse(d.DataMover, "velero"))
			in.line("Uploader Type", d.UploaderType)
			in.line("Moved data Size (bytes)", d.Size)
			in.line("Incremental data Size (bytes)", d.IncrementalSize)
		}
		in.outcome(v)
		return
	}
	l.head("Snapshot")
	in := l.inner()
	if c := v.CSI; c != nil {
		in.line("Operation ID", orNone(c.OperationID))
		in.line("Snapshot Content Name", orNone(c.ContentName))
		in.line("Storage Snapshot ID", orNone(c.SnapshotHandle))
		in.line("Snapshot Size (bytes)", c.Size)
		in.line("CSI Driver", c.Driver)
	}
	in.outcome(v)
}

func podVolumeBackup(l *layout, v volume.Info) {
	if p := v.PVB; p != nil {
		l.line("Volume", p.PodNamespace+"/"+p.PodName+": "+p.VolumeName)
		l.line("Uploader Type", p.UploaderType)
		l.line("Size (bytes)", p.Size)
	}
	l.outcome(v)
}

// outcome ends the description of a saved volume.
func (l *layout) outcome(v volume.Info) {
	l.line("Result", orElse(string(v.Result), "<unknown>"))
	if v.Decision != "" {
		l.line("Why", v.Decision)
	}
}

// notSaved writes the volumes of which only the objects are in the backup.
func (l *layout) notSaved(volumes []volume.Info) {
	if len(volumes) == 0 {
		return
	}
	l.blank()
	l.head("Volumes without data")
	for _, v := range volumes {
		l.inner().line(volumeName(v), why(v))
	}
}

func why(v volume.Info) string {
	return cmp.Or(v.Decision, v.SkippedReason, "<not recorded>")
}

// volumesJSON is what volumes writes, with the keys of Velero's.
func (b Backup) volumesJSON() object {
	status := b.Backup.Status
	out := object{
		"nativeSnapshots":  snapshotsJSON(b.nativeCount(), b.savedBy(volume.NativeSnapshot), nativeJSON),
		"csiSnapshots":     snapshotsJSON(b.count(status.CSIVolumeSnapshotsCompleted, status.CSIVolumeSnapshotsAttempted), b.savedBy(volume.CSISnapshot), csiJSON),
		"podVolumeBackups": snapshotsJSON(b.count(0, 0), b.savedBy(volume.PodVolumeBackup), podVolumeJSON),
	}
	if err := b.Volumes.Err; err != nil {
		out["errorGettingVolumes"] = err.Error()
	}
	if skipped := b.savedBy(volume.Skipped); len(skipped) > 0 {
		without := object{}
		for _, v := range skipped {
			without[volumeName(v)] = why(v)
		}
		out["withoutData"] = without
	}
	return out
}

func snapshotsJSON(count snapshotCount, volumes []volume.Info, each func(volume.Info) object) any {
	if len(volumes) == 0 {
		return count.text
	}
	out := object{}
	for _, v := range volumes {
		one := each(v)
		if v.Decision != "" {
			one["why"] = v.Decision
		}
		out[volumeName(v)] = one
	}
	return out
}

func nativeJSON(v volume.Info) object {
	n := cmp.Or(v.Native, &volume.NativeInfo{})
	return object{"snapshotID": n.SnapshotHandle, "type": n.VolumeType, "availabilityZone": n.VolumeAZ, "IOPS": n.IOPS, "result": v.Result}
}

func csiJSON(v volume.Info) object {
	if v.SnapshotDataMoved {
		d := cmp.Or(v.DataMovement, &volume.MovementInfo{})
		return object{"dataMovement": object{
			"operationID": d.OperationID, "dataMover": orElse(d.DataMover, "velero"), "uploaderType": d.UploaderType,
			"size": d.Size, "incrementalSize": d.IncrementalSize, "result": v.Result,
		}}
	}
	c := cmp.Or(v.CSI, &volume.CSIInfo{})
	return object{"snapshot": object{
		"operationID": c.OperationID, "snapshotContentName": c.ContentName, "storageSnapshotID": c.SnapshotHandle,
		"snapshotSize(bytes)": c.Size, "csiDriver": c.Driver, "result": v.Result,
	}}
}

func podVolumeJSON(v volume.Info) object {
	p := cmp.Or(v.PVB, &volume.PVBInfo{})
	return object{"uploaderType": p.UploaderType, "volume": p.VolumeName, "size": p.Size, "result": v.Result}
}
