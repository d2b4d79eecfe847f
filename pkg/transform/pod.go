package transform

import (
	"errors"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// restoreHookPrefixes begin the annotations that ask for hooks after a restore.
var restoreHookPrefixes = []string{"init.hook.restore.velero.io/", "post.hook.restore.velero.io/"}

var jobs = schema.GroupResource{Group: "batch", Resource: "jobs"}

// pod lets a pod be scheduled anew. Pods that have ended, that a kubelet made
// from a file and that a Job makes anew don't come back.
func pod(o *Options, obj *Object) (Decision, error) {
	if reason, err := podSkipped(o, obj); reason != "" || err != nil {
		return Decision{Skip: reason}, err
	}
	spec, err := obj.Edit("spec")
	if err != nil {
		return Decision{}, err
	}
	delete(spec, "nodeName")
	// The admission controller computes it from priorityClassName, and refuses
	// a value that differs.
	delete(spec, "priority")
	// They can be added to running pods only.
	delete(spec, "ephemeralContainers")
	removeTokenVolumes(spec)
	return podHooks(obj), nil
}

func podSkipped(o *Options, obj *Object) (string, error) {
	var status struct{ Phase corev1.PodPhase }
	if err := obj.Read("status", &status); err != nil {
		return "", err
	}
	if status.Phase == corev1.PodSucceeded || status.Phase == corev1.PodFailed {
		return "the pod has ended (phase " + string(status.Phase) + ")", nil
	}
	if obj.Annotation(corev1.MirrorPodAnnotationKey) != "" {
		return "a kubelet makes mirror pods from files of its node", nil
	}
	// A Job finds its pods by its own UID, which changes: the restored pod would
	// run beside the one that the restored Job starts.
	owner, ok := obj.Controller()
	if ok && owner.Kind == "Job" && strings.HasPrefix(owner.APIVersion, jobs.Group+"/") && o.selected(jobs) {
		return "its Job starts a new pod", nil
	}
	return "", nil
}

// removeTokenVolumes removes the volume of the service account's token as
// Kubernetes before 1.21 added it, since its Secret doesn't come back.
func removeTokenVolumes(spec map[string]any) {
	account := text(spec, "serviceAccountName")
	if account == "" {
		account = text(spec, "serviceAccount")
	}
	if account == "" {
		return
	}
	keep := func(m map[string]any) bool { return !strings.HasPrefix(text(m, "name"), account+"-token-") }
	filter(spec, "volumes", keep)
	for _, containers := range []string{"containers", "initContainers"} {
		for _, container := range mapsAt(spec, containers) {
			filter(container, "volumeMounts", keep)
		}
	}
}

// podHooks says so when the pod asks for hooks, which this version doesn't run.
func podHooks(obj *Object) Decision {
	for _, key := range slices.Sorted(maps.Keys(obj.Annotations())) {
		for _, prefix := range restoreHookPrefixes {
			if strings.HasPrefix(key, prefix) {
				return Decision{Warnings: []error{errors.New("its restore hooks aren't run: this version has none (annotation " + key + ")")}}
			}
		}
	}
	return Decision{}
}
