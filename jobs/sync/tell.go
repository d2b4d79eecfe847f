package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/record"
)

// tell leaves an Event on the location when something was found.
func (s *syncing) tell(ctx context.Context) {
	r := record.Open(s.Dynamic, locations, "BackupStorageLocation", s.location, s.Log)
	if s.outcome.Withheld != nil {
		r.Event(ctx, corev1.EventTypeWarning, "BackupsVanished", s.outcome.Withheld.Error())
	}
	created, removed := len(s.outcome.Created), len(s.outcome.Removed)
	if created+removed == 0 {
		return
	}
	text := fmt.Sprintf("%d Backups created, %d removed", created, removed)
	var makers []string
	for _, id := range slices.Sorted(maps.Keys(s.foreign)) {
		name := "cluster " + id
		if id == "" {
			name = "a cluster that they don't name"
		}
		makers = append(makers, fmt.Sprintf("%d by %s", s.foreign[id], name))
	}
	if len(makers) > 0 {
		text += "; made elsewhere: " + strings.Join(makers, ", ") + "; hint: those don't expire here unless this cluster adopts them: backup-location adopt"
	}
	s.Log.Info("synced", "created", created, "removed", removed, "madeElsewhere", strings.Join(makers, ", "))
	r.Event(ctx, corev1.EventTypeNormal, "BackupsSynced", text)
}

// noteTime writes status.lastSyncedTime.
func (s *syncing) noteTime(ctx context.Context) error {
	now := metav1.NewTime(time.Now().UTC().Truncate(time.Second))
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"lastSyncedTime": now}})
	if err != nil {
		return fmt.Errorf("encode BackupStorageLocation %q: %w", s.location.Name, err)
	}
	_, err = s.Client.BackupStorageLocations(s.Namespace).Patch(ctx, s.location.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write BackupStorageLocation %q: %w", s.location.Name, err)
	}
	return nil
}
