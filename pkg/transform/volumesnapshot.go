package transform

import (
	"cmp"
	"errors"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

const (
	snapshotKind = "VolumeSnapshot"
	// contentPolicy is, on a VolumeSnapshot, the deletion policy of its content.
	contentPolicy = "velero.io/csi-vsc-deletion-policy"
	// retain keeps the data when the objects go: it belongs to the backup.
	retain = "Retain"
)

// snapshotAnnotations and snapshotFinalizers are the work of the controllers of the
// former cluster; those of this one put theirs.
var (
	snapshotAnnotations = []string{
		"snapshot.storage.kubernetes.io/volumesnapshot-being-created",
		"snapshot.storage.kubernetes.io/volumesnapshot-being-deleted",
		"groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle",
	}
	snapshotFinalizers = []string{
		"snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection",
		"snapshot.storage.kubernetes.io/volumesnapshot-bound-protection",
		"snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection",
	}
)

// notRestored is why snapshots don't come back when volumes aren't made from them.
const notRestored = "no volume is restored from a snapshot, as was asked for"

// errNoHandle is about a snapshot of the backup that can't be found in the storage.
var errNoHandle = errors.New("the backup doesn't say how the storage calls this snapshot: it failed then")

// volumeSnapshot makes a snapshot one that stands for what the storage has, under a
// name of this restore, so that it meets no other of its name.
func volumeSnapshot(o *Options, obj *Object) (Decision, error) {
	if !o.RestoreVolumes {
		return Decision{Skip: notRestored}, nil
	}
	content, err := obj.text("status", "boundVolumeSnapshotContentName")
	if err != nil {
		return Decision{}, err
	}
	if content == "" {
		return unusable(o, obj)
	}
	spec, err := obj.Edit("spec")
	if spec == nil {
		return Decision{}, cmp.Or(err, errNoHandle)
	}
	name := o.snapshotName(obj.Namespace(), obj.Name())
	delete(spec, "volumeSnapshotClassName")
	spec["source"] = map[string]any{"volumeSnapshotContentName": name}
	obj.SetAnnotation(contentPolicy, retain)
	obj.SetName(name)
	return Decision{}, ownSnapshot(obj)
}

// volumeSnapshotContent is volumeSnapshot for its content.
func volumeSnapshotContent(o *Options, obj *Object) (Decision, error) {
	if !o.RestoreVolumes {
		return Decision{Skip: notRestored}, nil
	}
	var ref struct{ Namespace, Name string }
	var spec struct {
		Driver                  string
		VolumeSnapshotClassName string
		VolumeSnapshotRef       *struct{ Namespace, Name string }
		Source                  struct{ SnapshotHandle string }
	}
	var status struct{ SnapshotHandle string }
	if err := errors.Join(obj.Read("spec", &spec), obj.Read("status", &status)); err != nil {
		return Decision{}, err
	}
	if spec.VolumeSnapshotRef != nil {
		ref = *spec.VolumeSnapshotRef
	}
	handle := cmp.Or(status.SnapshotHandle, spec.Source.SnapshotHandle)
	switch {
	case ref.Name == "" || ref.Namespace == "":
		return Decision{Skip: "it belongs to no snapshot"}, nil
	case o.SnapshotSelected != nil && !o.SnapshotSelected(Place{VolumeSnapshots, ref.Namespace, ref.Name}):
		return Decision{Skip: "its snapshot isn't part of this restore"}, nil
	case handle == "":
		return unusable(o, obj)
	}
	name := o.snapshotName(ref.Namespace, ref.Name)
	changed, err := obj.Edit("spec")
	if err != nil {
		return Decision{}, err
	}
	changed["deletionPolicy"] = retain
	changed["source"] = map[string]any{"snapshotHandle": handle}
	changed["volumeSnapshotRef"] = map[string]any{
		"apiVersion": obj.apiVersion, "kind": snapshotKind, "namespace": o.target(ref.Namespace), "name": name,
	}
	delete(changed, "volumeSnapshotClassName")
	if o.SnapshotClass != nil {
		if class := o.SnapshotClass(spec.Driver, spec.VolumeSnapshotClassName); class != "" {
			changed["volumeSnapshotClassName"] = class
		}
	}
	obj.SetName(name)
	return Decision{}, ownSnapshot(obj)
}

// unusable is about a snapshot, or its content, that nothing can be made from: one
// that the backup took is missed, one that somebody else had begun isn't.
func unusable(o *Options, obj *Object) (Decision, error) {
	if obj.Label(velerov1.BackupNameLabel) == velerov1.ValidName(o.BackupName) {
		return Decision{}, errNoHandle
	}
	return Decision{
		Skip:     "it was never cut",
		Warnings: []error{errors.New("it is not restored: it was never cut, or the backup doesn't say how the storage calls it")},
	}, nil
}

// ownSnapshot takes off what would make others believe that the object is theirs: a
// controller, or a backup that looks for what it left.
func ownSnapshot(obj *Object) error {
	obj.RemoveAnnotations(snapshotAnnotations...)
	obj.removeLabels(velerov1.BackupUIDLabel)
	return obj.removeFinalizers(snapshotFinalizers...)
}

// snapshotName is what a snapshot of the backup is called in this restore, and its
// content too.
func (o *Options) snapshotName(namespace, name string) string {
	if o.SnapshotName == nil {
		return name
	}
	return o.SnapshotName(namespace, name)
}

// groupSnapshot leaves out the snapshots of groups: as plain objects they would take
// new snapshots, or claim those of the former cluster. Their members come back one
// by one.
func groupSnapshot(_ *Options, _ *Object) (Decision, error) {
	return Decision{Skip: "its snapshots come back one by one"}, nil
}
