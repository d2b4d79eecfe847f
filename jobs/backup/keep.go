package backup

import (
	"context"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// keepVolume makes the volume that the backup lies in, where it lies in one, outlive
// its claim. A backup without that is better than none.
func (o *operation) keepVolume(ctx context.Context, location *velerov1.BackupStorageLocation) {
	if err := launch.KeepVolume(ctx, o.Kube, location.Namespace, location); err != nil {
		o.Log.Warn("the volume may be deleted with its claim, and the backups with it", "storageLocation", location.Name, "error", err.Error())
	}
}
