package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// rights are what the restore runs with.
func (o *restoreFlags) rights(s *session) launch.Rights {
	return launch.Rights{Kube: s.kube, Namespace: s.namespace, Role: o.role}
}

// ready checks all that the cluster knows about the restore, and names its backup
// where the flags name a schedule. It creates nothing.
func (o *restoreFlags) ready(ctx context.Context, s *session, restore *velerov1.Restore, needed ...permission) (installed, error) {
	if err := s.mustBeAllowed(ctx, append(needed, o.permissions()...)...); err != nil {
		return installed{}, err
	}
	if err := s.mustHaveNoServer(ctx); err != nil {
		return installed{}, err
	}
	in, err := o.installed(ctx, s, restore)
	if err != nil {
		return installed{}, err
	}
	if err := s.checkModifier(ctx, restore.Spec.ResourceModifier); err != nil {
		return installed{}, err
	}
	if err := s.checkRestoredKinds(ctx, restore); err != nil {
		return installed{}, err
	}
	return in, o.rights(s).Check(ctx)
}

// permissions are those that every restore needs of whoever starts it.
func (o *restoreFlags) permissions() []permission {
	all := []permission{
		{verb: "get", group: "velero.io", resource: "backups"},
		{verb: "create", group: "batch", resource: "jobs"},
		{verb: "get", resource: "podtemplates"},
		{verb: "list", group: "velero.io", resource: "backupstoragelocations"},
		{verb: "list", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings", clusterScoped: true},
		{verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings", clusterScoped: true},
	}
	if o.fromSchedule != "" {
		all = append(all, permission{verb: "list", group: "velero.io", resource: "backups"})
	}
	if o.modifier != "" {
		all = append(all, permission{verb: "get", resource: "configmaps"})
	}
	return all
}

// installed finds what the restore's Job is made of, and its backup on the way.
func (o *restoreFlags) installed(ctx context.Context, s *session, restore *velerov1.Restore) (installed, error) {
	template, err := s.template(ctx)
	if err != nil {
		return installed{}, err
	}
	if err := o.resolve(ctx, s, restore); err != nil {
		return installed{}, err
	}
	backup, err := s.restorable(ctx, restore.Spec.BackupName)
	if err != nil {
		return installed{}, err
	}
	if err := mustHold(backup, restore.Spec); err != nil {
		return installed{}, err
	}
	location, err := s.takenTo(ctx, backup.Spec.StorageLocation)
	if err != nil {
		return installed{}, fmt.Errorf("backup %q: %w", backup.Name, err)
	}
	if err := launch.CheckClaim(ctx, s.kube, s.namespace, location); err != nil {
		return installed{}, s.explain(fmt.Sprintf("storage location %q", location.Name), err)
	}
	snapshots, err := s.snapshotLocationsOf(ctx, backup)
	if err != nil {
		return installed{}, fmt.Errorf("backup %q: %w", backup.Name, err)
	}
	return installed{template: template, location: location, snapshots: snapshots}, nil
}

// restorable finds the backup and refuses one that holds nothing.
func (s *session) restorable(ctx context.Context, name string) (*velerov1.Backup, error) {
	backup, err := s.velero.Backups(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, s.notFound(backupNoun, name, err)
	}
	switch backup.Status.Phase {
	case velerov1.BackupPhaseCompleted, velerov1.BackupPhasePartiallyFailed:
		return backup, nil
	case velerov1.BackupPhaseInProgress:
		return nil, fmt.Errorf("backup %q has not ended yet; hint: `%s backup describe %s` shows how it fares", name, s.name, name)
	}
	return nil, fmt.Errorf("backup %q can't be restored: its phase is %s; hint: `%s backup describe %s` says why", name, cmp.Or(backup.Status.Phase, velerov1.BackupPhaseNew), s.name, name)
}

// mustHold refuses namespaces that the backup can't have in it, as far as its
// own list of namespaces tells.
func mustHold(backup *velerov1.Backup, spec velerov1.RestoreSpec) error {
	held := backup.Spec.IncludedNamespaces
	if len(held) == 0 || slices.ContainsFunc(held, filter.IsPattern) {
		return nil
	}
	// A mapping of what isn't there would leave what is there under its own name.
	for _, name := range append(slices.Clone(spec.IncludedNamespaces), slices.Sorted(maps.Keys(spec.NamespaceMapping))...) {
		if !filter.IsPattern(name) && !slices.Contains(held, name) {
			return fmt.Errorf("namespace %q is not in backup %q; hint: it holds %s", name, backup.Name, strings.Join(held, ", "))
		}
	}
	return nil
}

func (s *session) restoreNameIsFree(ctx context.Context, name string) error {
	taken, err := s.velero.Restores(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !notInstalled(err) {
		return nil
	}
	if err != nil {
		return s.explain(fmt.Sprintf("look whether restore %q exists", name), err)
	}
	return restoreNameTaken(name, string(taken.Status.Phase))
}

func restoreNameTaken(name, phase string) error {
	state := ""
	if phase != "" {
		state = fmt.Sprintf(" (%s)", phase)
	}
	return fmt.Errorf("restore %q exists already%s; hint: choose another name, or none: it is then named after backup and time", name, state)
}

// createRestore creates the record, InProgress from the first moment.
func (s *session) createRestore(ctx context.Context, restore *velerov1.Restore) (*velerov1.Restore, error) {
	restore = restore.DeepCopy()
	restore.Annotations = with(restore.Annotations, velerov1.AttemptAnnotation, "0")
	restore.Status.Phase = velerov1.RestorePhaseInProgress
	created, err := s.velero.Restores(s.namespace).Create(ctx, restore, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return nil, restoreNameTaken(restore.Name, "")
	}
	if err != nil {
		return nil, s.explain(fmt.Sprintf("create restore %q", restore.Name), err)
	}
	return created, nil
}
