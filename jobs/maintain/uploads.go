package maintain

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// adoptedAge is how old the claim of an adopted cluster must be before its uploads
// count as dead: whether that cluster still runs can't be seen from here.
const adoptedAge = 24 * time.Hour

// abortUploads removes what writers that were killed left in the bucket, invisible
// and paid for. A backup that may be running, here or elsewhere, is left alone.
func (m *maintenance) abortUploads(ctx context.Context, o *opened) error {
	if o.location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly {
		return nil
	}
	names, err := o.catalog.Names(ctx)
	if err != nil {
		return fmt.Errorf("storage location %q: %w", o.location.Name, err)
	}
	skip, err := m.noDeadWriters(ctx, o.location.Name)
	if err != nil {
		return err
	}
	for _, name := range names {
		if skip[name] {
			continue
		}
		if err := m.abortUploadsOf(ctx, o, name); err != nil {
			if errors.Is(err, store.ErrDenied) {
				m.Log.Info("unfinished uploads can't be looked for", "storageLocation", o.location.Name, "reason", err.Error())
				return nil
			}
			err = fmt.Errorf("storage location %q: %w", o.location.Name, err)
			if ctx.Err() != nil || store.Temporary(err) || errors.Is(err, store.ErrNoBucket) {
				return err
			}
			m.warn(m.object(o.location), err) // a torn claim must not keep the other chores
		}
	}
	return nil
}

// noDeadWriters are the backups of a location that run, or whose last writer got
// to the end: there is no need to ask the bucket about them.
func (m *maintenance) noDeadWriters(ctx context.Context, location string) (map[string]bool, error) {
	list, err := m.Client.Backups(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Backups: %w", err)
	}
	names := map[string]bool{}
	for i := range list.Items {
		b := &list.Items[i]
		failed := b.Status.Phase == velerov1.BackupPhaseFailed || b.Status.Phase == velerov1.BackupPhaseFailedValidation
		names[b.Name] = b.Spec.StorageLocation == location && !failed
	}
	return names, nil
}

func (m *maintenance) abortUploadsOf(ctx context.Context, o *opened, name string) error {
	dead, err := m.deadWriter(ctx, o, name)
	if err != nil || !dead {
		return err
	}
	n, err := o.catalog.AbortUploads(ctx, name)
	if n > 0 {
		m.did("aborted", m.object(o.location), fmt.Sprintf("%d unfinished uploads of backup %q", n, name))
	}
	return err
}

// deadWriter reports whether a backup has no commit marker, and whoever claimed
// its name doesn't write any more.
func (m *maintenance) deadWriter(ctx context.Context, o *opened, name string) (bool, error) {
	exists, err := o.catalog.Exists(ctx, name)
	if err != nil || exists {
		return false, err
	}
	claim, err := o.catalog.ReadClaim(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotExist):
		return false, nil // a Velero server's, or one that is being deleted
	case err != nil:
		return false, err
	case claim.ClusterID != m.clusterID || m.clusterID == "":
		adopted := catalog.OursIn(o.location, m.clusterID).Has(claim.ClusterID)
		return adopted && time.Since(claim.Created.Time) > adoptedAge, nil
	}
	// Backups of all namespaces: another installation may use the same bucket. Read
	// after the claim, so that the Backup of whoever claimed is among them.
	list, err := m.Client.Backups(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, fmt.Errorf("list Backups of all namespaces: %w", err)
	}
	for i := range list.Items {
		if string(list.Items[i].UID) == claim.BackupUID {
			return list.Items[i].Status.Phase.Terminal(), nil
		}
	}
	return true, nil
}
