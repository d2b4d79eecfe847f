package delete

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// mark sets phase Deleting, unless the Backup changed since it was read: then
// what was found out about it may no longer hold. One that is deleted without files
// keeps its phase, since only a backup that is known to have failed may go so: a
// deletion that breaks off must find it again as it was.
func (o *operation) mark(ctx context.Context, files bool) error {
	if o.backup == nil {
		return nil
	}
	phase := o.backup.Status.Phase
	if files {
		phase = velerov1.BackupPhaseDeleting
	}
	if !files || o.backup.Status.Phase != phase {
		err := o.record.Patch(ctx, map[string]any{
			"metadata": map[string]any{"resourceVersion": o.backup.ResourceVersion},
			"status":   map[string]any{"phase": phase},
		})
		if err != nil {
			return err
		}
	}
	o.marked = files
	return nil
}

// unmarkWhole takes phase Deleting back from a backup that the store refuses to
// delete and that is still whole: it can be restored as before. The error that it
// returns is err, with what to expect.
func (o *operation) unmarkWhole(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		err = fmt.Errorf("%w; hint: delete it again when it is no longer locked; maintenance does so by itself for backups that have expired", err)
	case !errors.Is(err, store.ErrDenied):
		return err
	}
	if o.backup == nil || o.backup.Status.Phase == velerov1.BackupPhaseDeleting {
		return err
	}
	whole, existsErr := o.catalog.Exists(ctx, o.Backup)
	if existsErr != nil || !whole && !neverSucceeded(o.backup) {
		return errors.Join(err, existsErr)
	}
	if patchErr := o.record.Patch(ctx, map[string]any{"status": map[string]any{"phase": o.backup.Status.Phase}}); patchErr != nil {
		return errors.Join(err, patchErr)
	}
	o.marked = false
	return err
}

// deleteMarker takes the commit marker away, if nothing of the backup is locked.
func (o *operation) deleteMarker(ctx context.Context) error {
	if err := o.catalog.DeleteMarker(ctx, o.Backup); err != nil {
		return fmt.Errorf("storage location %q: %w", o.location.Name, err)
	}
	return nil
}

// deleteFiles deletes everything under the backup's name in the bucket.
func (o *operation) deleteFiles(ctx context.Context) error {
	o.Log.Info("deleting the backup's files", "storageLocation", o.location.Name, "backup", o.Backup)
	if err := o.catalog.DeleteBackup(ctx, o.Backup); err != nil {
		return fmt.Errorf("storage location %q: %w", o.location.Name, err)
	}
	return nil
}

// deleteRestores deletes the Restores made from the backup; what can't be
// deleted doesn't keep the others.
func (o *operation) deleteRestores(ctx context.Context) error {
	var first error
	failed := 0
	for i := range o.restores {
		err := o.deleteRestore(ctx, &o.restores[i])
		if err == nil {
			continue
		}
		o.Log.Error("restore not deleted", "restore", o.restores[i].Name, "error", err)
		failed++
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return fmt.Errorf("%d of %d Restores made from the backup could not be deleted, the first: %w", failed, len(o.restores), first)
	}
	return nil
}

func (o *operation) deleteRestore(ctx context.Context, restore *velerov1.Restore) error {
	o.Log.Info("deleting a restore of the backup", "restore", restore.Name)
	if o.catalog != nil {
		if err := o.catalog.DeleteRestore(ctx, restore.Name); err != nil {
			return fmt.Errorf("storage location %q: %w", o.location.Name, err)
		}
	}
	if slices.Contains(restore.Finalizers, velerov1.RestoreFinalizer) {
		if err := o.dropFinalizer(ctx, restore); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return o.deleteObject(ctx, restores, "Restore", restore)
}

// dropFinalizer takes off the finalizer of a Velero server, whose duty (the
// restore's files) is done.
func (o *operation) dropFinalizer(ctx context.Context, restore *velerov1.Restore) error {
	left := slices.DeleteFunc(slices.Clone(restore.Finalizers), func(f string) bool { return f == velerov1.RestoreFinalizer })
	return record.Open(o.Dynamic, restores, "Restore", restore, o.Log).Patch(ctx, map[string]any{
		"metadata": map[string]any{"finalizers": left, "resourceVersion": restore.ResourceVersion},
	})
}

// deleteRecord deletes the Backup; its Job goes with it.
func (o *operation) deleteRecord(ctx context.Context) error {
	if o.backup == nil {
		return nil
	}
	return o.deleteObject(ctx, backups, "Backup", o.backup)
}

// deleteObject deletes exactly obj, not one that has taken its name since.
func (o *operation) deleteObject(ctx context.Context, resource schema.GroupVersionResource, kind string, obj metav1.Object) error {
	err := o.Dynamic.Resource(resource).Namespace(o.Namespace).Delete(ctx, obj.GetName(), metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: ptr.To(obj.GetUID())},
		PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s %q: %w", kind, obj.GetName(), err)
	}
	return nil
}
