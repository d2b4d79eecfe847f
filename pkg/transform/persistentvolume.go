package transform

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Annotations by which Kubernetes records how a claim and a volume found each other.
const (
	bindCompleted     = "pv.kubernetes.io/bind-completed"
	boundByController = "pv.kubernetes.io/bound-by-controller"
)

// volumeData decides by what became of a volume's data in the backup: one with a
// disk snapshot comes back with a disk made from it; that of a claim whose data
// comes from elsewhere doesn't, since the claim gets a new one; one that stands for
// itself comes back as it was.
func volumeData(o *Options, obj *Object) (Decision, error) {
	var spec struct {
		PersistentVolumeReclaimPolicy corev1.PersistentVolumeReclaimPolicy
		ClaimRef                      struct{ Namespace, Name string }
	}
	if err := obj.Read("spec", &spec); err != nil {
		return Decision{}, err
	}
	data := o.Volumes.Data(obj.Name(), spec.ClaimRef.Namespace, spec.ClaimRef.Name)
	deleted := spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
	switch {
	case data.Failed && o.RestoreVolumes:
		return failedData(data, deleted), nil
	case data.Method == VolumeNativeSnapshot:
		return besideOriginal(o, obj, spec.ClaimRef.Namespace)
	case data.Method == VolumeCSISnapshot && !data.Moved && o.RestoreVolumes:
		return Decision{Reprovision: true, Skip: "its claim gets a volume made from its CSI snapshot"}, nil
	case data.Method != VolumeSkipped:
		return withoutData(o, data), nil
	case !deleted:
		return Decision{}, nil
	}
	return Decision{
		Reprovision: true,
		Skip:        "its claim gets a new volume (reclaim policy Delete)",
		Warnings:    []error{errors.New("its data isn't in the backup: the claim gets a new, empty volume (reclaim policy Delete)")},
	}, nil
}

// failedData is about a volume whose data could not be backed up. Its claim stays
// without a volume rather than with an empty one; but a volume that outlives its claim
// may still have the data.
func failedData(data VolumeData, deleted bool) Decision {
	const lost = "its data isn't in the backup: its snapshot failed then"
	if data.Method == VolumeNativeSnapshot && !deleted {
		return Decision{Errors: []error{errors.New(lost + "; it comes back with the disk that it had, whatever is on that now")}}
	}
	return Decision{
		Skip:   "its snapshot failed when the backup was made",
		Errors: []error{errors.New(lost + "; its claim stays without a volume; hint: delete that and make it anew for an empty one")},
	}
}

// withoutData is about a volume whose data is in the backup in a form that this
// restore doesn't bring back.
func withoutData(o *Options, data VolumeData) Decision {
	form := string(data.Method)
	if data.Moved {
		form += " whose data was moved"
	}
	d := Decision{Reprovision: true, Skip: fmt.Sprintf("its claim gets a new volume (backed up by %s)", form)}
	if !o.RestoreVolumes {
		d.Warnings = []error{fmt.Errorf("its data isn't restored, as was asked for (backed up by %s); the claim gets an empty volume", form)}
		return d
	}
	d.Errors = []error{fmt.Errorf("its data isn't restored: this version restores no %s; the claim gets an empty volume", form)}
	return d
}

// besideOriginal gives a volume with a disk snapshot another name when its claim
// moves to another namespace and the cluster still has the volume: claim and
// original stay together, and the moved claim gets the copy.
func besideOriginal(o *Options, obj *Object, namespace string) (Decision, error) {
	original, clone := obj.Name(), cloneName(o, obj.Name())
	_, moves := o.Volumes.Renamed(original) // when it is tried again
	if !moves && o.target(namespace) != namespace && o.VolumeMoves != nil {
		var err error
		if moves, err = o.VolumeMoves(original, clone); err != nil {
			o.Volumes.Decide(original, err)
			return Decision{}, err
		}
	}
	if moves {
		obj.SetAnnotation(velerov1.OriginalPVNameAnnotation, original)
		obj.SetName(clone)
		o.Volumes.Rename(original, clone)
	}
	o.Volumes.Decide(original, nil) // after its name: its claim asks at any time
	if o.RestoreVolumes {
		return Decision{Disk: true}, nil
	}
	return withOldDisk(obj)
}

// withOldDisk is about a volume that comes back without a disk of its own: another
// volume, in this cluster or another, may be on the same disk. It must not take that
// along when it goes.
func withOldDisk(obj *Object) (Decision, error) {
	spec, err := obj.Edit("spec")
	if err != nil || spec == nil {
		return Decision{}, err
	}
	const policy = "persistentVolumeReclaimPolicy"
	if spec[policy] == string(corev1.PersistentVolumeReclaimRetain) {
		return Decision{}, nil
	}
	spec[policy] = string(corev1.PersistentVolumeReclaimRetain)
	return Decision{Warnings: []error{fmt.Errorf(
		"it comes back as %q on the disk that it had, whatever is on that now, and with reclaim policy Retain: others may use the disk", obj.Name())}}, nil
}

// cloneName is the same whenever a restore is tried again.
func cloneName(o *Options, volume string) string {
	return "velero-clone-" + uuid.NewSHA1(uuid.NameSpaceURL, []byte(o.BackupName+"/"+o.RestoreName+"/"+volume)).String()
}

// persistentVolume makes a volume ready to be bound by the claim it had.
func persistentVolume(_ *Options, obj *Object) (Decision, error) {
	obj.RemoveAnnotations(bindCompleted, boundByController)
	spec, err := obj.Edit("spec")
	if err != nil {
		return Decision{}, err
	}
	claim := child(spec, "claimRef")
	delete(claim, "uid")
	delete(claim, "resourceVersion")
	return Decision{}, nil
}
