package backup

import (
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// snapshotAction is Velero's action whose operations are those of CSI snapshots.
const snapshotAction = "velero.io/csi-volumesnapshot-backupper"

// itemOperations is the content of the itemoperations object: what went on after a
// claim was stored.
func (o *operation) itemOperations() []volume.Operation {
	operations := []volume.Operation{}
	for _, s := range o.volumes.sorted() {
		if s.csi != nil && s.csi.Name != "" {
			operations = append(operations, o.snapshotOperation(s))
		}
	}
	return operations
}

func (o *operation) snapshotOperation(s *savedVolume) volume.Operation {
	object := volume.Identifier{Group: snapshotGroup, Resource: snapshotResource.Resource, Namespace: s.csi.Namespace, Name: s.csi.Name}
	op := volume.Operation{
		Spec: volume.OperationSpec{
			BackupName: o.backup.Name, BackupUID: string(o.backup.UID), BackupItemAction: snapshotAction,
			ResourceIdentifier: object, OperationID: s.csi.OperationID(), PostOperationItems: []volume.Identifier{object},
		},
		Status: volume.OperationStatus{
			Phase: volume.OperationCompleted, Created: s.info.StartTimestamp, Started: s.info.StartTimestamp, Updated: s.info.CompletionTimestamp,
		},
	}
	if s.csi.Content != "" {
		op.Spec.PostOperationItems = append(op.Spec.PostOperationItems,
			volume.Identifier{Group: snapshotGroup, Resource: snapshotContentResource.Resource, Name: s.csi.Content})
	}
	if s.err != nil {
		op.Status.Phase, op.Status.Error = volume.OperationFailed, s.err.Error()
	}
	return op
}
