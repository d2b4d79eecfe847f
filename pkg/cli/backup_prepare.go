package cli

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// installed is what the Job of a backup needs of the installation.
type installed struct {
	template *corev1.PodTemplate
	location *velerov1.BackupStorageLocation
	// snapshots are the snapshot locations that it may use.
	snapshots []velerov1.VolumeSnapshotLocation
}

// readyForBackups checks what backups and schedules need alike, and fills in
// the storage location. It creates nothing.
func (s *session) readyForBackups(ctx context.Context, annotations map[string]string, spec *velerov1.BackupSpec, needed ...permission) (installed, error) {
	needed = append(needed, permission{verb: "get", resource: "podtemplates"},
		permission{verb: "list", group: "velero.io", resource: "backupstoragelocations"})
	if spec.ResourcePolicy != nil {
		needed = append(needed, permission{verb: "get", resource: "configmaps"})
	}
	if takesSnapshots(spec) {
		needed = append(needed, mayListSnapshotLocations)
	}
	if err := s.mustBeAllowed(ctx, needed...); err != nil {
		return installed{}, err
	}
	template, err := s.template(ctx)
	if err != nil {
		return installed{}, err
	}
	if err := s.mustHaveNoServer(ctx); err != nil {
		return installed{}, err
	}
	location, err := s.location(ctx, spec.StorageLocation)
	if err != nil {
		return installed{}, err
	}
	if location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly {
		return installed{}, fmt.Errorf("storage location %q is read-only; hint: choose another with --storage-location, or run `%s backup-location set %s --access-mode ReadWrite`", location.Name, s.name, location.Name)
	}
	if err := launch.CheckClaim(ctx, s.kube, s.namespace, location); err != nil {
		return installed{}, s.explain(fmt.Sprintf("storage location %q", location.Name), err)
	}
	snapshots, err := s.chooseSnapshotLocations(ctx, spec)
	if err != nil {
		return installed{}, err
	}
	spec.StorageLocation = location.Name
	return installed{template: template, location: location, snapshots: snapshots}, s.checkSelection(ctx, annotations, spec)
}

// nameIsFree refuses a name that another Backup has.
func (s *session) nameIsFree(ctx context.Context, name string) error {
	taken, err := s.velero.Backups(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !notInstalled(err) {
		return nil
	}
	if err != nil {
		return s.explain(fmt.Sprintf("look whether backup %q exists", name), err)
	}
	return s.nameTaken(name, string(taken.Status.Phase))
}

func (s *session) nameTaken(name, phase string) error {
	state := ""
	if phase != "" {
		state = fmt.Sprintf(" (%s)", phase)
	}
	return fmt.Errorf("backup %q exists already%s; hint: choose another name, or delete it: %s backup delete %s", name, state, s.name, name)
}

// createBackup creates the record. Its phase is InProgress from the first
// moment, since a Velero server that comes back runs those without one.
func (s *session) createBackup(ctx context.Context, backup *velerov1.Backup) (*velerov1.Backup, error) {
	backup = backup.DeepCopy()
	backup.Annotations = with(backup.Annotations, velerov1.AttemptAnnotation, "0")
	backup.Labels = with(backup.Labels, velerov1.StorageLocationLabel, velerov1.ValidName(backup.Spec.StorageLocation))
	backup.Status.Phase = velerov1.BackupPhaseInProgress
	created, err := s.velero.Backups(s.namespace).Create(ctx, backup, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return nil, s.nameTaken(backup.Name, "")
	}
	if err != nil {
		return nil, s.explain(fmt.Sprintf("create backup %q", backup.Name), err)
	}
	return created, nil
}

// with returns m and one pair more; m is left as it is.
func with(m map[string]string, key, value string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, m)
	out[key] = value
	return out
}

// fieldManager owns the fields that the plugin writes.
const fieldManager = "kubectl-velero"
