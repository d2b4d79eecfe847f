package restore

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// meetVolume deals with a persistent volume that is there. One whose claim was
// deleted looks like the archived one and can't be bound all the same: it
// remembers the UID of the claim it had. That is said, or mended when existing
// objects are to be updated.
func meetVolume(ctx context.Context, o *operation, obj, live *transform.Object, r result) result {
	if err := ofAnother(obj, live); err != nil {
		return r.failed(err)
	}
	var status corev1.PersistentVolumeStatus
	if err := live.Read("status", &status); err != nil {
		return r.failed(err)
	}
	if status.Phase != corev1.VolumeReleased {
		return o.compare(ctx, obj, live, r)
	}
	if o.restore.Spec.ExistingResourcePolicy == velerov1.PolicyTypeUpdate {
		free := map[string]any{"spec": map[string]any{"claimRef": map[string]any{"uid": nil, "resourceVersion": nil}}}
		return o.patch(ctx, free, r)
	}
	r.action = actionFailed
	r.warnings = append(r.warnings, fmt.Errorf(
		"%w: its claim was deleted and it isn't free for the restored one (phase Released); hint: kubectl patch pv %s --type merge -p '{\"spec\":{\"claimRef\":{\"uid\":null,\"resourceVersion\":null}}}'",
		differs("PersistentVolume", obj.Name()), obj.Name()))
	return r
}

// ofAnother is an error when a volume of the cluster belongs to another claim than the
// one of the backup would: nothing may take it from that, not even an update.
func ofAnother(obj, live *transform.Object) error {
	has, wants := claimOf(live), claimOf(obj)
	if has.Name == "" || has == wants {
		return nil
	}
	err := fmt.Errorf("%w: it belongs to claim %s/%s", differs("PersistentVolume", obj.Name()), has.Namespace, has.Name)
	if wants.Name == "" {
		return err
	}
	return fmt.Errorf("%w; claim %s/%s, which names it, stays without a volume", err, wants.Namespace, wants.Name)
}
