package launch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// CheckClaim says why a Job could not mount the claim that holds the location's
// backups: it is missing, being deleted, has lost its volume, or another pod keeps it
// on one node. A location without a claim is fine, and so is what the caller may not
// look at.
func CheckClaim(ctx context.Context, kube kubernetes.Interface, namespace string, location *velerov1.BackupStorageLocation) error {
	return checkClaim(ctx, kube, namespace, MountsOf(location).Claim)
}

func checkClaim(ctx context.Context, kube kubernetes.Interface, namespace, name string) error {
	if name == "" {
		return nil
	}
	claim, err := kube.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("claim %q, which is to hold the backups, does not exist in namespace %q; hint: create a PersistentVolumeClaim of that name, or name another in the location's config key \"persistentVolumeClaim\"", name, namespace)
	case apierrors.IsForbidden(err):
		return nil
	case err != nil:
		return fmt.Errorf("read claim %q: %w", name, err)
	case claim.DeletionTimestamp != nil:
		return fmt.Errorf("claim %q, which holds the backups, is being deleted", name)
	case claim.Status.Phase == corev1.ClaimLost:
		return fmt.Errorf("claim %q, which holds the backups, has lost its volume %q; hint: bring that PersistentVolume back, or make another claim for the disk it stood for", name, claim.Spec.VolumeName)
	}
	return checkHolder(ctx, kube, claim)
}

// checkHolder refuses a claim that somebody else's pod keeps on its node. Our own
// Jobs are drawn to one node, and end.
func checkHolder(ctx context.Context, kube kubernetes.Interface, claim *corev1.PersistentVolumeClaim) error {
	holder := holderOf(ctx, kube, claim)
	if holder == nil {
		return nil
	}
	if slices.Contains(claim.Spec.AccessModes, corev1.ReadWriteOncePod) {
		return fmt.Errorf("claim %q, which holds the backups, is in use by pod %q, and its access mode ReadWriteOncePod allows no other; hint: stop that pod, or use a claim with access mode ReadWriteMany",
			claim.Name, holder.Name)
	}
	volume, err := volumeOf(ctx, kube, claim)
	if err != nil {
		return nil // the caller may not look, and the scheduler will
	}
	if manyNodes(volume.Spec.AccessModes) || !isAttached(ctx, kube, volume) || isOnlyNode(ctx, kube) {
		return nil
	}
	return fmt.Errorf("claim %q, which holds the backups, is in use by pod %q on node %q, and a volume with access mode ReadWriteOnce can be on one node only; hint: stop that pod, or use a claim with access mode ReadWriteMany, such as one on NFS",
		claim.Name, holder.Name, holder.Spec.NodeName)
}

// holderOf is a running pod, not of ours, that has the claim mounted; nil if none is
// known.
func holderOf(ctx context.Context, kube kubernetes.Interface, claim *corev1.PersistentVolumeClaim) *corev1.Pod {
	pods, err := kube.CoreV1().Pods(claim.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "!" + claimLabel})
	if err != nil {
		return nil
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if !ended && pod.Spec.NodeName != "" && slices.Contains(claimsOf(&pod.Spec), claim.Name) {
			return pod
		}
	}
	return nil
}

func claimsOf(spec *corev1.PodSpec) []string {
	var claims []string
	for _, volume := range spec.Volumes {
		if c := volume.PersistentVolumeClaim; c != nil {
			claims = append(claims, c.ClaimName)
		}
	}
	return claims
}

func volumeOf(ctx context.Context, kube kubernetes.Interface, claim *corev1.PersistentVolumeClaim) (*corev1.PersistentVolume, error) {
	volume, err := kube.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read volume %q of claim %q: %w", claim.Spec.VolumeName, claim.Name, err)
	}
	return volume, nil
}

func manyNodes(modes []corev1.PersistentVolumeAccessMode) bool {
	return slices.Contains(modes, corev1.ReadWriteMany) || slices.Contains(modes, corev1.ReadOnlyMany)
}

// isAttached reports whether a volume is attached to a node before it is mounted
// there: what is a folder of the node or of a server isn't.
func isAttached(ctx context.Context, kube kubernetes.Interface, volume *corev1.PersistentVolume) bool {
	source := volume.Spec.PersistentVolumeSource
	switch {
	case source.NFS != nil, source.HostPath != nil, source.Local != nil, source.CephFS != nil, source.AzureFile != nil, source.Glusterfs != nil:
		return false
	case source.CSI == nil:
		return true
	}
	driver, err := kube.StorageV1().CSIDrivers().Get(ctx, source.CSI.Driver, metav1.GetOptions{})
	return err != nil || driver.Spec.AttachRequired == nil || *driver.Spec.AttachRequired
}

func isOnlyNode(ctx context.Context, kube kubernetes.Interface) bool {
	nodes, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 2})
	return err == nil && len(nodes.Items) == 1
}

// KeepVolume makes the volume that holds the location's backups outlive its claim, as
// a namespace's deletion would take it along: its reclaim policy becomes Retain. A
// location without a claim, and a claim without a volume yet, need nothing.
func KeepVolume(ctx context.Context, kube kubernetes.Interface, namespace string, location *velerov1.BackupStorageLocation) error {
	name := MountsOf(location).Claim
	if name == "" {
		return nil
	}
	claim, err := kube.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read claim %q: %w", name, err)
	}
	if claim.Spec.VolumeName == "" {
		return nil
	}
	volume, err := volumeOf(ctx, kube, claim)
	if err != nil || volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain {
		return err
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{
		"persistentVolumeReclaimPolicy": corev1.PersistentVolumeReclaimRetain,
	}})
	if err != nil {
		return fmt.Errorf("keep volume %q: %w", volume.Name, err)
	}
	_, err = kube.CoreV1().PersistentVolumes().Patch(ctx, volume.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("keep volume %q, which holds backups, when its claim %q is deleted: %w", volume.Name, name, err)
	}
	return nil
}

// volumeHint is the way out of what the scheduler and the kubelet say of volumes that
// can't be where the pod is; empty for anything else.
func volumeHint(message string) string {
	contains := func(s string) bool { return strings.Contains(message, s) }
	switch {
	case contains("Multi-Attach error"):
		return "; hint: a volume with access mode ReadWriteOnce can be on one node only: this goes on when the pod that has it ends; a claim with access mode ReadWriteMany, such as one on NFS, can be on several"
	case contains("ReadWriteOncePod access mode already in-use"):
		return "; hint: this goes on when the pod that has the claim ends; a claim with access mode ReadWriteMany can be used by several"
	case contains("PersistentVolume's node affinity"), contains("volume node affinity conflict"), contains("no available volume zone"):
		return "; hint: the volume exists on other nodes only: make room there, or use a claim that every node can mount, such as one on NFS"
	case contains("unbound immediate PersistentVolumeClaims"), contains("didn't find available persistent volumes to bind"):
		return "; hint: its claim has no volume: `kubectl describe pvc` tells why; without a default storage class, a claim must name one"
	}
	return ""
}
