package transform

import (
	"errors"
	"fmt"
	"regexp"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// dataUpload is, on a claim of a backup, where the data of its snapshot was moved
// to the storage location by.
const dataUpload = "velero.io/data-upload-name"

// claimAnnotations say how the claim got its volume in its former life, and how its
// data got into the backup.
var claimAnnotations = []string{
	bindCompleted, boundByController,
	"volume.kubernetes.io/storage-provisioner",
	"volume.beta.kubernetes.io/storage-provisioner",
	"volume.kubernetes.io/selected-node",
	velerov1.VolumeSnapshotNameLabel,
	dataUpload,
	"backup.velero.io/must-include-additional-items",
}

// claimData has the volume of a claim made from the snapshot of the backup.
func claimData(o *Options, obj *Object) (Decision, error) {
	snapshot := obj.Annotation(velerov1.VolumeSnapshotNameLabel)
	moved := obj.Annotation(dataUpload) != ""
	if err := forgetRestoredFrom(obj); err != nil || snapshot == "" && !moved {
		return Decision{}, err
	}
	volume, err := obj.text("spec", "volumeName")
	if err != nil {
		return Decision{}, err
	}
	data := o.Volumes.Data(volume, obj.Namespace(), obj.Name())
	if moved && data.Failed && o.RestoreVolumes {
		return Decision{Errors: []error{errors.New(
			"its data isn't in the backup: moving it failed then; it stays without a volume; hint: delete it and make it anew for an empty one")}}, nil
	}
	if err := obj.removeFrom("spec", "volumeName"); err != nil {
		return Decision{}, err
	}
	if moved || !o.RestoreVolumes {
		return emptied(o, o.Volumes.Reprovisioned(volume) && (data.Moved || !moved)), nil
	}
	spec, err := obj.Edit("spec")
	if spec == nil {
		return Decision{}, err
	}
	delete(spec, "dataSourceRef")
	spec["dataSource"] = map[string]any{
		"apiGroup": snapshots, "kind": snapshotKind, "name": o.snapshotName(obj.Namespace(), snapshot),
	}
	return Decision{FromSnapshot: snapshot}, nil
}

// emptied is about a claim that gets an empty volume, unless that was said with the
// volume that it had.
func emptied(o *Options, said bool) Decision {
	switch {
	case said:
		return Decision{}
	case !o.RestoreVolumes:
		return Decision{Warnings: []error{errors.New("its data isn't restored, as was asked for; it gets an empty volume")}}
	}
	return Decision{Errors: []error{errors.New(
		"its data isn't restored: this version restores no CSISnapshot whose data was moved; it gets an empty volume")}}
}

// restoredSnapshot is what a restore, ours or Velero's, calls a snapshot.
var restoredSnapshot = regexp.MustCompile(`^[0-9a-f]{64}$`)

// forgetRestoredFrom takes out of a claim that an earlier restore made from which
// snapshot it did: a new volume would wait for it for ever.
func forgetRestoredFrom(obj *Object) error {
	for _, field := range []string{"dataSource", "dataSourceRef"} {
		raw, err := obj.find("spec", field)
		if raw == nil || err != nil || raw[0] != '{' {
			continue
		}
		kind, err := obj.text("spec", field, "kind")
		if err != nil {
			return err
		}
		name, err := obj.text("spec", field, "name")
		if err != nil {
			return err
		}
		if kind == snapshotKind && restoredSnapshot.MatchString(name) {
			if err := obj.removeFrom("spec", field); err != nil {
				return err
			}
		}
	}
	return nil
}

// beingSnapshotted is the finalizer of a claim that is just being snapshotted. Nobody
// would take it off a restored one.
const beingSnapshotted = "snapshot.storage.kubernetes.io/pvc-as-source-protection"

// claimLabels are put on a claim by a backup.
var claimLabels = []string{velerov1.VolumeSnapshotNameLabel, velerov1.BackupUIDLabel}

// persistentVolumeClaim lets a claim be bound anew: to the volume it had, which
// was restored before it, perhaps under another name, or to a new one.
func persistentVolumeClaim(o *Options, obj *Object) (Decision, error) {
	obj.RemoveAnnotations(claimAnnotations...)
	obj.removeLabels(claimLabels...)
	if err := obj.removeFinalizers(beingSnapshotted); err != nil {
		return Decision{}, err
	}
	volume, err := obj.text("spec", "volumeName")
	if volume == "" || err != nil {
		return Decision{}, err
	}
	if err := o.Volumes.Undecided(volume); err != nil { // the name may be that of another's volume
		return Decision{}, fmt.Errorf("it isn't known under which name its volume comes back: %w", err)
	}
	if o.Volumes.Reprovisioned(volume) {
		return Decision{}, obj.removeFrom("spec", "volumeName")
	}
	if renamed, ok := o.Volumes.Renamed(volume); ok {
		spec, err := obj.Edit("spec")
		if err != nil {
			return Decision{}, err
		}
		spec["volumeName"] = renamed
	}
	return Decision{}, nil
}
