package transform

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
)

// Annotations by which Kubernetes records how a claim and a volume found each other.
const (
	bindCompleted     = "pv.kubernetes.io/bind-completed"
	boundByController = "pv.kubernetes.io/bound-by-controller"
)

// originalVolume is, on a volume that came back under another name, its name in
// the backup.
const originalVolume = "velero.io/original-pv-name"

// volumeData leaves out a volume whose data would go with it: its claim gets a
// new volume. One that stands for itself comes back.
func volumeData(o *Options, obj *Object) (Decision, error) {
	method := o.Volumes.Method(obj.Name())
	switch {
	case method == VolumeNativeSnapshot && !o.RestoreVolumes:
		return besideOriginal(o, obj)
	case method != VolumeSkipped:
		return withoutData(o, method), nil
	}
	policy, err := obj.text("spec", "persistentVolumeReclaimPolicy")
	if err != nil || policy != string(corev1.PersistentVolumeReclaimDelete) {
		return Decision{}, err
	}
	return Decision{
		Reprovision: true,
		Skip:        "its claim gets a new volume (reclaim policy Delete)",
		Warnings:    []error{errors.New("its data isn't in the backup: the claim gets a new, empty volume (reclaim policy Delete)")},
	}, nil
}

// withoutData is about a volume whose data is in the backup in a form that this
// version can't bring back.
func withoutData(o *Options, method VolumeMethod) Decision {
	d := Decision{Reprovision: true, Skip: fmt.Sprintf("its claim gets a new volume (backed up by %s)", method)}
	lost := fmt.Errorf("its data isn't restored: this version restores no %s; the claim gets an empty volume", method)
	if o.RestoreVolumes {
		d.Errors = []error{lost}
	} else {
		d.Warnings = []error{lost}
	}
	return d
}

// besideOriginal gives a volume with a snapshot another name when its claim
// moves to another namespace and the cluster still has the volume: claim and
// original stay together, and the moved claim gets the copy. Since the copy
// names the same storage, it must not take the storage along when it goes.
func besideOriginal(o *Options, obj *Object) (Decision, error) {
	namespace, err := obj.text("spec", "claimRef", "namespace")
	if err != nil || o.target(namespace) == namespace || o.VolumeExists == nil || !o.VolumeExists(obj.Name()) {
		return Decision{}, err
	}
	spec, err := obj.Edit("spec")
	if err != nil {
		return Decision{}, err
	}
	spec["persistentVolumeReclaimPolicy"] = string(corev1.PersistentVolumeReclaimRetain)
	original := obj.Name()
	obj.SetAnnotation(originalVolume, original)
	obj.SetName(cloneName(o, original))
	o.Volumes.Rename(original, obj.Name())
	return Decision{Warnings: []error{fmt.Errorf(
		"the cluster has a volume %q: it comes back as %q with the same storage, and with reclaim policy Retain", original, obj.Name())}}, nil
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
