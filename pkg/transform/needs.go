package transform

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Place names an object of an archive.
type Place struct {
	Resource        schema.GroupResource
	Namespace, Name string
}

// The kinds that others need.
var (
	Claims                 = schema.GroupResource{Resource: "persistentvolumeclaims"}
	Pods                   = schema.GroupResource{Resource: "pods"}
	PriorityClasses        = schema.GroupResource{Group: "scheduling.k8s.io", Resource: "priorityclasses"}
	PersistentVolumes      = schema.GroupResource{Resource: "persistentvolumes"}
	VolumeSnapshots        = schema.GroupResource{Group: snapshots, Resource: "volumesnapshots"}
	VolumeSnapshotContents = schema.GroupResource{Group: snapshots, Resource: "volumesnapshotcontents"}
)

// Needs returns the objects that an object of an archive can't do without, by
// the names they have in the archive: they are restored with it although a
// filter by labels or namespaces leaves them out.
func Needs(resource schema.GroupResource, obj *Object) ([]Place, error) {
	switch resource {
	case Pods:
		return podNeeds(obj)
	case Claims:
		return claimNeeds(obj)
	case VolumeSnapshots:
		return snapshotNeeds(obj)
	}
	return nil, nil
}

func podNeeds(obj *Object) ([]Place, error) {
	var spec struct {
		PriorityClassName string
		Volumes           []struct {
			PersistentVolumeClaim *struct{ ClaimName string }
		}
	}
	if err := obj.Read("spec", &spec); err != nil {
		return nil, err
	}
	var needs []Place
	for _, volume := range spec.Volumes {
		if claim := volume.PersistentVolumeClaim; claim != nil {
			needs = append(needs, Place{Claims, obj.Namespace(), claim.ClaimName})
		}
	}
	if spec.PriorityClassName != "" {
		needs = append(needs, Place{Resource: PriorityClasses, Name: spec.PriorityClassName})
	}
	return needs, nil
}

func claimNeeds(obj *Object) ([]Place, error) {
	var spec struct{ VolumeName string }
	var status struct{ Phase string }
	for field, into := range map[string]any{"spec": &spec, "status": &status} {
		if err := obj.Read(field, into); err != nil {
			return nil, err
		}
	}
	var needs []Place
	if status.Phase == "Bound" && spec.VolumeName != "" {
		needs = append(needs, Place{Resource: PersistentVolumes, Name: spec.VolumeName})
	}
	if snapshot := obj.Annotation(velerov1.VolumeSnapshotNameLabel); snapshot != "" && obj.Annotation(dataUpload) == "" {
		needs = append(needs, Place{VolumeSnapshots, obj.Namespace(), snapshot})
	}
	return needs, nil
}

func snapshotNeeds(obj *Object) ([]Place, error) {
	content, err := obj.text("status", "boundVolumeSnapshotContentName")
	if content == "" || err != nil {
		return nil, err
	}
	return []Place{{Resource: VolumeSnapshotContents, Name: content}}, nil
}
