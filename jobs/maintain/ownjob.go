package maintain

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/uuid"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// ownJobDeadline bounds the Job of one location, so that one that can't start
// doesn't keep the place of those to come for long.
const ownJobDeadline = 50 * time.Minute

// startOwnJob starts the Job that does the chores of a location which this one
// can't open, or whose backups have snapshots that it can't delete. Nothing is started beside one that hasn't ended, nor where the pod
// could not start because what it mounts isn't there.
func (m *maintenance) startOwnJob(ctx context.Context, location *velerov1.BackupStorageLocation) error {
	runs, err := m.ownJobRuns(ctx, location.Name)
	if err != nil || runs {
		return err
	}
	if err := m.checkMounts(ctx, location); err != nil {
		return fmt.Errorf("storage location %q: %w", location.Name, err)
	}
	template, err := launch.Template(ctx, m.Kube, m.Namespace)
	if err != nil {
		return err
	}
	disks, err := m.mountable(ctx)
	if err != nil {
		return err
	}
	args := []string{"maintain", "--location", location.Name}
	if m.StartTimeout != DefaultStartTimeout {
		args = append(args, "--start-timeout", m.StartTimeout.String())
	}
	job, err := launch.Start(ctx, m.Kube, launch.Job(template, launch.Operation{
		Kind: velerov1.OperationMaintain, Namespace: m.Namespace, Name: location.Name, UID: uuid.NewUUID(),
		Owner:    launch.Owner("BackupStorageLocation", location.Name, location.UID),
		Args:     args,
		Location: location, SnapshotLocations: disks,
		TTL: launch.ShortTTL, Deadline: ownJobDeadline,
	}))
	if err != nil {
		return err
	}
	m.did("started", m.object(location), fmt.Sprintf("Job %q does its chores, with credentials that are not in this one", job.Name))
	return nil
}

// ownJobRuns reports whether a Job for the location's chores hasn't ended.
func (m *maintenance) ownJobRuns(ctx context.Context, location string) (bool, error) {
	selector := labels.Set{velerov1.OperationLabel: velerov1.OperationMaintain, velerov1.NameLabel: velerov1.ValidName(location)}
	list, err := m.Kube.BatchV1().Jobs(m.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return false, fmt.Errorf("list Jobs: %w", err)
	}
	for i := range list.Items {
		job := &list.Items[i]
		if job.Name != m.JobName && !launch.Finished(job) {
			m.Log.Info("its chores are being done", "storageLocation", location, "job", job.Name)
			return true, nil
		}
	}
	return false, nil
}

// checkMounts looks whether what a location mounts is there.
func (m *maintenance) checkMounts(ctx context.Context, location *velerov1.BackupStorageLocation) error {
	mounts := launch.MountsOf(location)
	err := errors.Join(
		m.checkSecret(ctx, "credential", mounts.Credential),
		m.checkSecret(ctx, "config customerKeyEncryptionSecret", mounts.EncryptionKey),
		m.checkSecret(ctx, "caCertRef", mounts.CACert),
		launch.CheckClaim(ctx, m.Kube, m.Namespace, location),
	)
	if err != nil {
		return &mountError{err}
	}
	return nil
}

// mountError is a location that no pod can mount. For who asks about the storage
// that is the same as being refused: it stays so until somebody changes something.
type mountError struct{ error }

func (e *mountError) Is(target error) bool { return target == store.ErrDenied }

func (e *mountError) Unwrap() error { return e.error }

// checkSecret looks whether a Secret that a field names is there, with its key.
func (m *maintenance) checkSecret(ctx context.Context, field string, from *corev1.SecretKeySelector) error {
	if from == nil {
		return nil
	}
	secret, err := m.Kube.CoreV1().Secrets(m.Namespace).Get(ctx, from.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("its %s names Secret %q, which doesn't exist; hint: create it, or point the location elsewhere with backup-location set", field, from.Name)
	case err != nil:
		return fmt.Errorf("read the Secret of its %s: %w", field, err)
	}
	if _, ok := secret.Data[from.Key]; !ok {
		return fmt.Errorf("its %s names key %q of Secret %q, which has no such key; hint: add it, or point the location elsewhere with backup-location set", field, from.Key, from.Name)
	}
	return nil
}
