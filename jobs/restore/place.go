package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// volumeState is what a volume that is to be restored meets under its name.
type volumeState int

const (
	volumeAbsent volumeState = iota
	// volumeOurs was made by this restore, in an earlier attempt.
	volumeOurs
	// volumeGoes is on its way out.
	volumeGoes
	// volumeStays is in use, or kept by its reclaim policy.
	volumeStays
)

// awaitPlace waits until it is clear whether a volume's place is free: one that is
// on its way out is waited for.
func (o *operation) awaitPlace(ctx context.Context, place ref.Object) (volumeState, error) {
	deadline := time.Now().Add(o.TerminatingTimeout)
	for delay := 100 * time.Millisecond; ; delay = min(delay*2, 5*time.Second) {
		state, err := o.stateOf(ctx, place)
		if err != nil || state != volumeGoes {
			return state, err
		}
		if time.Now().After(deadline) {
			return state, fmt.Errorf("timed out waiting for volume %s of the cluster, which is on its way out, to disappear; hint: see its finalizers, and its claim's", place.Name)
		}
		if err := sleep(ctx, delay); err != nil {
			return state, err
		}
	}
}

func (o *operation) stateOf(ctx context.Context, place ref.Object) (volumeState, error) {
	raw, err := o.writer.Get(ctx, place)
	if apierrors.IsNotFound(err) {
		return volumeAbsent, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at volume %q of the cluster: %w", place.Name, err)
	}
	live, err := transform.Parse(raw)
	if err != nil {
		return 0, err
	}
	pv := &corev1.PersistentVolume{}
	if err := json.Unmarshal(raw, pv); err != nil {
		return 0, fmt.Errorf("decode volume %q of the cluster: %w", place.Name, err)
	}
	switch {
	case o.madeByUs(live):
		return volumeOurs, nil
	case pv.DeletionTimestamp != nil:
		return volumeGoes, nil
	case pv.Status.Phase == corev1.VolumeReleased:
		return o.released(pv), nil
	case pv.Spec.ClaimRef == nil || pv.Status.Phase != corev1.VolumeBound: // it waits for a claim, perhaps for this one
		return volumeStays, nil
	}
	gone, err := o.claimGone(ctx, pv.Spec.ClaimRef)
	if err != nil || !gone {
		return volumeStays, err
	}
	return o.released(pv), nil
}

// released is about a volume whose claim is gone: it follows, unless its policy
// keeps it.
func (o *operation) released(pv *corev1.PersistentVolume) volumeState {
	if pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
		return volumeGoes
	}
	return volumeStays
}

// claimGone reports whether a claim is gone or going, by itself or with its
// namespace.
func (o *operation) claimGone(ctx context.Context, claim *corev1.ObjectReference) (bool, error) {
	namespace, err := o.Kube.CoreV1().Namespaces().Get(ctx, claim.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get namespace %q: %w", claim.Namespace, err)
	}
	live, err := o.Kube.CoreV1().PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return namespace.DeletionTimestamp != nil || live.DeletionTimestamp != nil || claim.UID != "" && live.UID != claim.UID, nil
}
