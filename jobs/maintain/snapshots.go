package maintain

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/drivers"
)

// Drivers removes what snapshots left in the cluster; *csi.Sweep does. One that isn't
// done in time is an error with csi.OnlyMarked.
type Drivers interface {
	deletejob.Drivers
	// Owners are the backups that snapshot objects in the cluster belong to.
	Owners(ctx context.Context) ([]csi.Owner, error)
	// Forget removes a backup's objects, and keeps the data.
	Forget(ctx context.Context, backup, uid string) (int, error)
	// Silent are the drivers that didn't do it in time, and won't be waited for again.
	Silent() []csi.Silence
}

// sweepSnapshots removes what executors that died left of snapshots: with their data
// if the backup was never committed; only the objects if it was, since the snapshots
// then are the backup's.
func (m *maintenance) sweepSnapshots(ctx context.Context) error {
	err := m.sweepCSI(ctx)
	return errors.Join(err, m.sweepDisks(ctx))
}

// sweepCSI looks after what bears the labels of backups in the cluster.
func (m *maintenance) sweepCSI(ctx context.Context) error {
	found, err := m.openDrivers(ctx)
	if err != nil || found == nil {
		return err
	}
	// The snapshots are read before the Backups: each Backup is older than its own.
	owners, err := found.Owners(ctx)
	if err != nil || len(owners) == 0 {
		return err
	}
	list, err := m.Client.Backups(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Backups of all namespaces: %w", err)
	}
	known := map[types.UID]*velerov1.Backup{}
	for i := range list.Items {
		known[list.Items[i].UID] = &list.Items[i]
	}
	for _, owner := range owners {
		backup := known[types.UID(owner.UID)]
		if err := m.sweepOwner(ctx, found, owner, backup); err != nil {
			m.problem(ownerObject(m.Namespace, owner), err)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	for _, silence := range found.Silent() {
		m.problem(ref.Object{}, fmt.Errorf("remove the snapshots of backups that died: %w", silence.Err))
	}
	return nil
}

func ownerObject(namespace string, owner csi.Owner) ref.Object {
	return ref.Object{Resource: backups, Kind: "Backup", Namespace: namespace, Name: owner.Backup}
}

// openDrivers connects to the snapshot API, once for all chores; nil where the cluster
// doesn't serve it.
func (m *maintenance) openDrivers(ctx context.Context) (Drivers, error) {
	if m.Drivers != nil {
		return m.Drivers, nil
	}
	client, err := drivers.Open(ctx, m.Env)
	if client == nil {
		return nil, err
	}
	m.Drivers = client.NewSweep(m.SnapshotTimeout)
	return m.Drivers, nil
}

// fate is what becomes of snapshot objects.
type fate int

const (
	// unknown is that of a backup which nobody here knows.
	unknown fate = iota
	// leave leaves all to others, or to a later run.
	leave
	// forget removes the objects and keeps the data.
	forget
	// remove removes the data too.
	remove
)

// sweepOwner looks after the snapshot objects of one backup.
func (m *maintenance) sweepOwner(ctx context.Context, found Drivers, owner csi.Owner, backup *velerov1.Backup) error {
	decide := func() (fate, error) { return m.fateOf(ctx, backup) }
	if backup == nil {
		decide = func() (fate, error) { return m.fateOfOrphan(ctx, owner) }
	}
	what, err := decide()
	if err != nil || what != forget && what != remove {
		return err
	}
	do, done := found.Forget, "the objects of %d snapshots, which the backup keeps"
	if what == remove {
		do, done = found.Leftovers, "%d snapshots of a backup that died"
	}
	n, err := do(ctx, owner.Backup, owner.UID)
	if csi.OnlyMarked(err) {
		return nil // told once for each driver
	}
	if n > 0 {
		m.did("removed", ownerObject(m.Namespace, owner), fmt.Sprintf(done, n))
	}
	return err
}

// fateOf decides about the snapshots of a Backup that exists.
func (m *maintenance) fateOf(ctx context.Context, backup *velerov1.Backup) (fate, error) {
	phase := backup.Status.Phase
	switch {
	case backup.Namespace != m.Namespace, !launch.BackupCR(backup).Ours:
		return leave, nil // another installation's, or a Velero server's
	case !phase.Terminal(), phase == velerov1.BackupPhaseDeleting, !quiet(backup, time.Now()):
		return leave, nil
	case m.Location != "" && backup.Spec.StorageLocation != m.Location:
		return leave, nil
	}
	marker, err := m.marker(ctx, backup)
	switch {
	case errors.Is(err, errOwnJob):
		return leave, nil
	case err != nil:
		return leave, fmt.Errorf("its snapshots stay, since whether the backup is complete is not known: %w", err)
	case marker != nil:
		return forget, nil
	case phase == velerov1.BackupPhaseFailed, phase == velerov1.BackupPhaseFailedValidation:
		return remove, nil
	}
	return leave, nil // complete, and its files are gone: that is for the sync to judge
}

// quietTime is how long the executor of a backup that has ended must have been
// silent: one that was given up too early may still be writing.
const quietTime = 5 * time.Minute

func quiet(backup *velerov1.Backup, now time.Time) bool {
	beat, err := time.Parse(time.RFC3339, backup.Annotations[velerov1.HeartbeatAnnotation])
	return err != nil || now.Sub(beat) > quietTime
}

// fateOfOrphan decides about the snapshots of a Backup that is gone, or that a sync
// made anew with another UID: the claim in the bucket says whose they are.
func (m *maintenance) fateOfOrphan(ctx context.Context, owner csi.Owner) (fate, error) {
	names, err := m.locationNames(ctx)
	if err != nil {
		return leave, err
	}
	unasked := false
	for _, name := range names {
		o := m.open(ctx, name)
		if o.err != nil {
			unasked = true
			continue
		}
		what, err := m.fateInBucket(ctx, o, owner)
		if err != nil {
			return leave, fmt.Errorf("storage location %q: %w", name, err)
		}
		if what != unknown {
			return what, nil
		}
	}
	if !unasked && m.Location == "" {
		m.warn(ownerObject(m.Namespace, owner), fmt.Errorf("snapshots in the cluster belong to a backup that neither the cluster nor a bucket knows; "+
			"hint: if you don't know it either: kubectl get volumesnapshots,volumesnapshotcontents -A -l %s=%s", velerov1.BackupUIDLabel, owner.UID))
	}
	return unknown, nil
}

func (m *maintenance) locationNames(ctx context.Context) ([]string, error) {
	if m.Location != "" {
		return []string{m.Location}, nil
	}
	list, err := m.Client.BackupStorageLocations(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list BackupStorageLocations: %w", err)
	}
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, nil
}

// fateInBucket decides by what one bucket has.
func (m *maintenance) fateInBucket(ctx context.Context, o *opened, owner csi.Owner) (fate, error) {
	marker, err := o.catalog.ReadBackup(ctx, owner.Backup)
	switch {
	case err == nil && string(marker.UID) == owner.UID:
		return forget, nil
	case err != nil && !errors.Is(err, store.ErrNotExist):
		return unknown, err
	}
	claim, err := o.catalog.ReadClaim(ctx, owner.Backup)
	switch {
	case errors.Is(err, store.ErrNotExist):
		return unknown, nil
	case err != nil || claim.BackupUID != owner.UID:
		return unknown, err
	}
	// Its snapshots are in this cluster, so the Backup was here, and its Job.
	runs, err := m.jobRuns(ctx, owner.UID)
	if err != nil || runs || time.Since(claim.Created.Time) < quietTime {
		return leave, err
	}
	return remove, nil
}

// jobRuns reports whether a Job of the operation with this UID hasn't ended.
func (m *maintenance) jobRuns(ctx context.Context, uid string) (bool, error) {
	list, err := m.Kube.BatchV1().Jobs(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: velerov1.OperationUIDLabel + "=" + uid})
	if err != nil {
		return false, fmt.Errorf("list Jobs: %w", err)
	}
	for i := range list.Items {
		if !launch.Finished(&list.Items[i]) {
			return true, nil
		}
	}
	return false, nil
}
