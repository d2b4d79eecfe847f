package backup

import (
	"context"
	"slices"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// commit makes the backup exist: everything else is in the bucket, then the
// marker follows, once and last, with the final status in it.
func (o *operation) commit(ctx context.Context) error {
	if err := o.keepSnapshots(ctx); err != nil {
		return err
	}
	if err := o.putSideFiles(ctx); err != nil {
		return err
	}
	o.Log.Info("committing", "items", o.report.Items(), "warnings", o.report.Warnings(), "errors", o.report.Errors())
	if err := o.putLog(ctx); err != nil {
		return err
	}
	sum, err := o.catalog.PutChecksums(ctx, o.backup.Name)
	if err != nil {
		return err
	}
	setMap(&o.backup.Annotations, velerov1.ChecksumsAnnotation, sum)
	// Said before it is done: whoever finds this process dead without this
	// word knows that there is no marker, without asking the bucket.
	if err := o.record.Annotate(ctx, map[string]string{velerov1.CommittingAnnotation: "true"}); err != nil {
		return err
	}
	o.finalize()
	o.committing = true
	return o.catalog.Commit(ctx, o.marker())
}

// finalize puts the end into the status in memory.
func (o *operation) finalize() {
	status := &o.backup.Status
	items := o.report.Items()
	status.Phase = velerov1.BackupPhaseCompleted
	if o.report.Errors() > 0 {
		status.Phase = velerov1.BackupPhasePartiallyFailed
	}
	status.CompletionTimestamp = now()
	status.Progress = &velerov1.BackupProgress{TotalItems: items, ItemsBackedUp: items}
	status.Warnings, status.Errors = o.report.Warnings(), o.report.Errors()
	status.HookStatus = o.hookStatus()
	o.volumes.status(status)
}

// marker is the Backup as the bucket keeps it: without what only means something
// to the cluster that wrote it, and with the namespaces that were left out
// because of their label, as Velero notes them.
func (o *operation) marker() *velerov1.Backup {
	marker := o.backup.DeepCopy()
	for _, private := range []string{
		velerov1.HeartbeatAnnotation, velerov1.CommittingAnnotation,
		velerov1.JobNameAnnotation, velerov1.JobUIDAnnotation, velerov1.AttemptAnnotation, velerov1.DisksCopiedAnnotation,
	} {
		delete(marker.Annotations, private)
	}
	marker.ManagedFields = nil
	for _, name := range o.planned.labelledOutNamespaces() {
		if !slices.Contains(marker.Spec.ExcludedNamespaces, name) {
			marker.Spec.ExcludedNamespaces = append(marker.Spec.ExcludedNamespaces, name)
		}
	}
	return marker
}
