package restore

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

// podsPage is how many pods are asked for at once.
const podsPage = 500

// usedClaims are, of claims that wait for a pod, those that a pod mounts: it may yet be
// scheduled. Where pods can't be listed, none are taken to be used.
func (o *operation) usedClaims(ctx context.Context, claims map[ref.Object]*corev1.PersistentVolumeClaim, late map[string]bool) map[ref.Object]bool {
	used, listed := map[ref.Object]bool{}, map[string]bool{}
	for place, pvc := range claims {
		if listed[place.Namespace] || pvc.Status.Phase != corev1.ClaimPending || !waitsForPod(pvc, late) {
			continue
		}
		listed[place.Namespace] = true
		if err := o.noteMounts(ctx, place.Namespace, used); err != nil {
			o.Log.Warn("pods can't be listed", "namespace", place.Namespace, "error", err)
		}
	}
	return used
}

// noteMounts notes the claims that pods of a namespace mount.
func (o *operation) noteMounts(ctx context.Context, namespace string, used map[ref.Object]bool) error {
	options := metav1.ListOptions{Limit: podsPage}
	for more := true; more; more = options.Continue != "" {
		list, err := o.Kube.CoreV1().Pods(namespace).List(ctx, options)
		if err != nil {
			return err
		}
		for i := range list.Items {
			for _, name := range mounts(&list.Items[i]) {
				used[ref.Object{Resource: claimsV1, Kind: "PersistentVolumeClaim", Namespace: namespace, Name: name}] = true
			}
		}
		options.Continue = list.Continue
	}
	return nil
}

// mounts are the claims that a pod mounts; none when it has ended.
func mounts(pod *corev1.Pod) []string {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	var names []string
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil:
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			names = append(names, pod.Name+"-"+v.Name)
		}
	}
	return names
}
