package transform

import velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"

// claimAnnotations say how the claim got its volume in its former life.
var claimAnnotations = []string{
	bindCompleted, boundByController,
	"volume.kubernetes.io/storage-provisioner",
	"volume.beta.kubernetes.io/storage-provisioner",
	"volume.kubernetes.io/selected-node",
	velerov1.VolumeSnapshotNameLabel,
	"velero.io/data-upload-name",
}

// persistentVolumeClaim lets a claim be bound anew: to the volume it had, which
// was restored before it, perhaps under another name, or to a new one.
func persistentVolumeClaim(o *Options, obj *Object) (Decision, error) {
	obj.RemoveAnnotations(claimAnnotations...)
	volume, err := obj.text("spec", "volumeName")
	if volume == "" || err != nil {
		return Decision{}, err
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
