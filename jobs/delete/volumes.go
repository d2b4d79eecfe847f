package delete

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/saved"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// Drivers deletes the snapshots of CSI drivers; *csi.Client does.
type Drivers interface {
	// Delete returns when the snapshot is gone; one that isn't there is fine.
	Delete(ctx context.Context, h csi.Handle, timeout time.Duration) error
	// Leftovers deletes what stands in the cluster for a backup's snapshots, with
	// its data.
	Leftovers(ctx context.Context, backup, uid string) (int, error)
}

// snapshots is what a deletion does about the data of volumes. It is decided before
// anything is changed.
type snapshots struct {
	csi    []saved.CSI
	native []saved.Native
	// drivers is nil where the cluster doesn't serve the snapshot API.
	drivers Drivers
	// locations are the opened snapshot locations, by name: those of native, and for
	// a backup that never got to its end all that it may have used.
	locations map[string]snapshot.Snapshotter
	// owner is the backup as the snapshots know it.
	owner snapshot.Owner
}

// leaving is the way out that there always is.
const leaving = "use --force to leave it behind"

// orLeave refuses a deletion that would not delete everything. With force what
// stays behind is noted.
func (o *operation) orLeave(reason, hint string) error {
	if o.Force {
		o.warn(errors.New(reason + "; it stays behind"))
		return nil
	}
	if before, told, ok := strings.Cut(reason, "; hint: "); ok {
		reason, hint = before, told
	}
	return refuse(reason, hint+", or "+leaving)
}

// planSnapshots finds out which snapshots are to be deleted, and refuses when some
// can't be.
func (o *operation) planSnapshots(ctx context.Context, e *evidence) error {
	whole, err := o.catalog.Exists(ctx, o.Backup)
	if err != nil {
		return fmt.Errorf("storage location %q: %w", o.location.Name, err)
	}
	data, err := saved.Read(ctx, o.catalog, o.Backup)
	if err := o.unreadable(ctx, whole, err); err != nil {
		return err
	}
	if err := o.checkVolumes(&data, whole); err != nil {
		return err
	}
	o.snapshots = &snapshots{
		csi: data.CSI, native: data.Native, locations: map[string]snapshot.Snapshotter{},
		owner: snapshot.Owner{Backup: o.Backup, UID: e.madeBy()},
	}
	if err := o.openLocations(ctx, &data); err != nil {
		return err
	}
	if !whole && !data.Listed {
		if err := o.openSearched(ctx); err != nil {
			return err
		}
	}
	if err := o.openDrivers(ctx, &data); err != nil {
		return err
	}
	return o.checkDown()
}

// unreadable decides about lists that could not be read. Of a backup that isn't whole
// any more, or never was, they may be torn.
func (o *operation) unreadable(ctx context.Context, whole bool, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("storage location %q: %w", o.location.Name, err)
	if ctx.Err() != nil || fromStore(err) {
		return err
	}
	if whole && !o.Force {
		return fmt.Errorf("which snapshots backup %q has can't be told: %w; hint: --force deletes those that are known, and leaves behind what isn't", o.Backup, err)
	}
	o.warn(err)
	return nil
}

// madeBy is the UID of the Backup that the data was saved for, which is another one
// where a sync brought the object here.
func (e *evidence) madeBy() string {
	switch {
	case e.claim != nil:
		return e.claim.BackupUID
	case e.marker != nil:
		return string(e.marker.UID)
	case e.backup != nil:
		return string(e.backup.UID)
	}
	return ""
}

// checkVolumes refuses a backup with data that this version can't delete, or can't
// find. A backup that isn't whole any more may lack lists, since its files go when
// their snapshots are gone.
func (o *operation) checkVolumes(data *saved.Data, whole bool) error {
	var kept []string
	if data.Files > 0 {
		kept = append(kept, fmt.Sprintf("file-system backups: %d", data.Files))
	}
	if data.Moved > 0 {
		kept = append(kept, fmt.Sprintf("moved snapshots: %d", data.Moved))
	}
	if len(kept) > 0 {
		err := o.orLeave(fmt.Sprintf("backup %q has data that this version can't delete (%s)", o.Backup, strings.Join(kept, ", ")), "delete it with Velero")
		if err != nil {
			return err
		}
	}
	if len(data.Lost) == 0 {
		return nil
	}
	var lost []string
	for _, l := range data.Lost {
		lost = append(lost, strings.TrimPrefix(nameOf(l.Volume)+": "+l.Why, ": "))
	}
	reason := fmt.Sprintf("backup %q has snapshots that can't be found: %s", o.Backup, strings.Join(lost, "; "))
	if !whole {
		o.warn(errors.New(reason))
		return nil
	}
	return o.orLeave(reason, "find out with `kubectl velero backup verify` what is damaged")
}

// nameOf is a volume for a person.
func nameOf(v saved.Volume) string {
	switch {
	case v.PVC != "":
		return fmt.Sprintf("claim %q", v.PVC)
	case v.PV != "":
		return fmt.Sprintf("volume %q", v.PV)
	}
	return ""
}

// openLocations opens the snapshot locations of the disk snapshots, and asks each
// for one, so that nothing is begun with credentials that don't work.
func (o *operation) openLocations(ctx context.Context, data *saved.Data) error {
	for _, name := range data.Locations() {
		inIt := slices.DeleteFunc(slices.Clone(data.Native), func(s saved.Native) bool { return s.Location != name })
		opened, err := o.openLocation(ctx, name)
		refused := err != nil
		if err == nil {
			_, err = opened.State(ctx, inIt[0].Snapshot)
		}
		if err == nil || errors.Is(err, snapshot.ErrNotExist) {
			o.snapshots.locations[name] = opened
			continue
		}
		err = fmt.Errorf("the disk snapshots of backup %q in snapshot location %q can't be deleted (%s): %w", o.Backup, name, disks(inIt), err)
		if ctx.Err() != nil || run.Temporary(err) || !refused && !o.Force {
			return err
		}
		if err := o.orLeave(err.Error(), "create it again"); err != nil {
			return err
		}
		o.snapshots.native = slices.DeleteFunc(o.snapshots.native, func(s saved.Native) bool { return s.Location == name })
	}
	return nil
}

// disks lists snapshots by their ids, for who has to look after them by hand.
func disks(list []saved.Native) string {
	ids := make([]string, 0, len(list))
	for _, s := range list {
		ids = append(ids, s.Snapshot)
	}
	return strings.Join(ids, ", ")
}

func (o *operation) openLocation(ctx context.Context, name string) (snapshot.Snapshotter, error) {
	location, err := o.Client.VolumeSnapshotLocations(o.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the location %w", errGone)
	}
	if err != nil {
		return nil, fmt.Errorf("read VolumeSnapshotLocation %q: %w", name, err)
	}
	return o.OpenSnapshotter(ctx, location)
}

var errGone = errors.New("doesn't exist")

// openSearched opens the locations in which a backup without lists may have left
// snapshots: those that it names; all of them when there is no object to ask.
func (o *operation) openSearched(ctx context.Context) error {
	names, err := o.searched(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		opened, err := o.openLocation(ctx, name)
		switch {
		case err == nil:
			o.snapshots.locations[name] = opened
		case errors.Is(err, errGone):
			o.warn(fmt.Errorf("snapshot location %q doesn't exist; disk snapshots that backup %q took there before it failed stay", name, o.Backup))
		case ctx.Err() != nil, run.Temporary(err):
			return err
		default:
			reason := fmt.Sprintf("disk snapshots that backup %q took before it failed can't be looked for in snapshot location %q: %v", o.Backup, name, err)
			if err := o.orLeave(reason, "put the location right"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *operation) searched(ctx context.Context) ([]string, error) {
	if o.backup != nil {
		return o.backup.Spec.VolumeSnapshotLocations, nil
	}
	list, err := o.Client.VolumeSnapshotLocations(o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotLocations: %w", err)
	}
	return namesOf(list.Items), nil
}

func namesOf(locations []velerov1.VolumeSnapshotLocation) []string {
	names := make([]string, 0, len(locations))
	for i := range locations {
		names = append(names, locations[i].Name)
	}
	return names
}
