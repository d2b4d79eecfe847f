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
