package transform

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var jobs = schema.GroupResource{Group: "batch", Resource: "jobs"}

// jobFinalizer keeps a pod until its Job has counted it.
const jobFinalizer = batchv1.JobTrackingFinalizer

// endedPod leaves out pods that have ended, that a kubelet made from a file and
// that a Job makes anew.
func endedPod(o *Options, obj *Object) (Decision, error) {
	phase, err := obj.text("status", "phase")
	if err != nil {
		return Decision{}, err
	}
	switch phase := corev1.PodPhase(phase); phase {
	case corev1.PodSucceeded, corev1.PodFailed:
		return Decision{Skip: "the pod has ended (phase " + string(phase) + ")"}, nil
	}
	if obj.Annotation(corev1.MirrorPodAnnotationKey) != "" {
		return Decision{Skip: "a kubelet makes mirror pods from files of its node"}, nil
	}
	// A Job finds its pods by its own UID, which changes: the restored pod would
	// run beside the one that the restored Job starts.
	owner, ok := obj.Controller()
	if ok && owner.Kind == "Job" && strings.HasPrefix(owner.APIVersion, jobs.Group+"/") && o.selected(jobs) {
		return Decision{Skip: "its Job starts a new pod"}, nil
	}
	return Decision{}, nil
}

// computedInPods are the fields of a pod's spec that the cluster fills in: the
// scheduler one, the admission controllers for priority and runtime class, which
// refuse values that differ from theirs, three. Ephemeral containers can be
// added to running pods only.
var computedInPods = []string{"nodeName", "priority", "preemptionPolicy", "overhead", "ephemeralContainers"}

// pod lets a pod be scheduled anew. Without its owner it is adopted by the
// restored controller whose selector it matches.
func pod(_ *Options, obj *Object) (Decision, error) {
	if err := obj.removeFinalizers(jobFinalizer); err != nil { // its Job isn't restored
		return Decision{}, err
	}
	if err := obj.removeFrom("spec", computedInPods...); err != nil {
		return Decision{}, err
	}
	if err := removeTokenVolumes(obj); err != nil {
		return Decision{}, err
	}
	return Decision{}, removeWaiters(obj)
}

// waiters are the init containers with which an earlier restore of Velero made a
// pod wait for the data of its volumes. Nobody would tell a copy of them that the
// data is there, and it would wait for ever.
var waiters = []string{"restore-wait", "restic-wait"}

func removeWaiters(obj *Object) error {
	if !slices.ContainsFunc(waiters, func(name string) bool { return bytes.Contains(obj.top.raw("spec"), []byte(name)) }) {
		return nil // nearly all pods: they needn't be opened
	}
	spec, err := obj.Edit("spec")
	if err != nil {
		return err
	}
	filter(spec, "initContainers", func(m map[string]any) bool { return !slices.Contains(waiters, text(m, "name")) })
	return nil
}

// removeTokenVolumes removes the volume of the service account's token as
// Kubernetes before 1.21 added it, since its Secret doesn't come back.
func removeTokenVolumes(obj *Object) error {
	const infix = "-token-"
	if !bytes.Contains(obj.top.raw("spec"), []byte(infix)) {
		return nil // nearly all pods: they needn't be opened
	}
	spec, err := obj.Edit("spec")
	if err != nil {
		return err
	}
	account := cmp.Or(text(spec, "serviceAccountName"), text(spec, "serviceAccount"))
	if account == "" {
		return nil
	}
	keep := func(m map[string]any) bool { return !strings.HasPrefix(text(m, "name"), account+infix) }
	filter(spec, "volumes", keep)
	for _, containers := range []string{"containers", "initContainers"} {
		for _, container := range mapsAt(spec, containers) {
			filter(container, "volumeMounts", keep)
		}
	}
	return nil
}
