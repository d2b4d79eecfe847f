package sync

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// remove deletes the Backup objects whose files are gone.
func (s *syncing) remove(ctx context.Context, stored []string) error {
	ended, gone, err := s.gone(ctx, stored)
	if err != nil || len(gone) == 0 {
		return err
	}
	if !s.force && (len(stored) == 0 || 2*len(gone) > ended) {
		s.withhold(stored, gone, ended)
		return nil
	}
	for _, backup := range gone {
		err := s.Client.Backups(s.Namespace).Delete(ctx, backup.Name, metav1.DeleteOptions{
			// Unchanged since before the bucket was listed: nobody deletes it or ends it anew.
			Preconditions:     &metav1.Preconditions{UID: &backup.UID, ResourceVersion: &backup.ResourceVersion},
			PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
		})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("delete Backup %q, whose files are gone: %w", backup.Name, err)
		}
		s.outcome.Removed = append(s.outcome.Removed, backup.Name)
		s.Log.Info("removed: its files are gone", "backup", backup.Name)
	}
	return nil
}

// gone finds the Backup objects of this location that have no marker any more,
// among those that had one: the number of the latter is ended.
func (s *syncing) gone(ctx context.Context, stored []string) (ended int, gone []*velerov1.Backup, err error) {
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		backup := s.known[name]
		if !s.in(backup) || backup.DeletionTimestamp != nil || !complete(backup.Status.Phase) {
			continue
		}
		ended++
		if _, listed := slices.BinarySearch(stored, name); listed {
			continue
		}
		// Some servers' lists lag behind; a look at the object itself doesn't.
		exists, err := s.catalog.Exists(ctx, name)
		if err != nil {
			return 0, nil, err
		}
		if !exists {
			gone = append(gone, backup)
		}
	}
	return ended, gone, nil
}

// complete reports whether a backup in this phase has a commit marker.
func complete(phase velerov1.BackupPhase) bool {
	return phase == velerov1.BackupPhaseCompleted || phase == velerov1.BackupPhasePartiallyFailed
}

func (s *syncing) withhold(stored []string, gone []*velerov1.Backup, ended int) {
	names := make([]string, len(gone))
	for i, backup := range gone {
		names[i] = backup.Name
	}
	what := fmt.Sprintf("%d of the %d", len(gone), ended)
	if len(stored) == 0 {
		what = fmt.Sprintf("all %d", ended)
	}
	s.outcome.Withheld = fmt.Errorf("the files of %s backups that the cluster shows for storage location %q are gone (%s): no Backup is removed; "+
		"hint: check bucket and prefix of the location; if they are right, sync with --force: kubectl velero backup-location sync %[2]s --force",
		what, s.location.Name, some(names))
}
