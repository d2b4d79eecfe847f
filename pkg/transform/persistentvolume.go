package transform

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Annotations by which Kubernetes records how a claim and a volume found each other.
const (
	bindCompleted     = "pv.kubernetes.io/bind-completed"
	boundByController = "pv.kubernetes.io/bound-by-controller"
)

// persistentVolume lets a volume that stands for itself come back, ready to be
// bound by the claim it had. One whose data goes with it does not come back:
// its claim gets a new volume.
func persistentVolume(o *Options, obj *Object) (Decision, error) {
	spec, err := obj.Edit("spec")
	if err != nil {
		return Decision{}, err
	}
	if method := o.Volumes.Method(obj.Name()); method != VolumeSkipped && (o.RestoreVolumes || method != VolumeNativeSnapshot) {
		return withoutData(o, method), nil
	}
	if o.Volumes.Method(obj.Name()) == VolumeSkipped &&
		text(spec, "persistentVolumeReclaimPolicy") == string(corev1.PersistentVolumeReclaimDelete) {
		return Decision{
			Reprovision: true,
			Skip:        "its claim gets a new volume (reclaim policy Delete)",
			Warnings:    []error{errors.New("its data isn't in the backup: the claim gets a new, empty volume (reclaim policy Delete)")},
		}, nil
	}
	claim := child(spec, "claimRef")
	delete(claim, "uid")
	delete(claim, "resourceVersion")
	if namespace := text(claim, "namespace"); namespace != "" {
		claim["namespace"] = o.target(namespace)
	}
	obj.RemoveAnnotations(bindCompleted, boundByController)
	return Decision{}, nil
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
