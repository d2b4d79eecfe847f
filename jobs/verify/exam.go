package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/drivers"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/saved"
)

// askedAtOnce is how many snapshots are asked for at a time.
const askedAtOnce = 20

// exam looks at the volumes of one backup.
type exam struct {
	Config
	location *velerov1.BackupStorageLocation

	// drivers is nil where driversErr says why nobody can be asked; missing are
	// drivers that aren't in this cluster.
	drivers    Drivers
	driversErr error
	missing    []string
	// locations are the snapshot locations, by name.
	locations map[string]opened

	mu    sync.Mutex // guards what follows
	tell  func(report.VolumeCheck)
	total int
	end   report.VolumesEnd
}

// opened is a snapshot location, or why it can't be asked.
type opened struct {
	snapshotter snapshot.Snapshotter
	err         error
}

func newExam(cfg Config, location *velerov1.BackupStorageLocation) *exam {
	return &exam{Config: cfg, location: location, drivers: cfg.Drivers, locations: map[string]opened{}}
}

// progress says how far it is.
func (e *exam) progress() report.VolumeProgress {
	e.mu.Lock()
	defer e.mu.Unlock()
	return report.VolumeProgress{Done: e.end.Checked, Total: e.total}
}

// run looks at every volume and tells what it finds, one after the other.
func (e *exam) run(ctx context.Context, tell func(report.VolumeCheck)) report.VolumesEnd {
	e.tell = tell
	err := e.look(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		e.end.Reason = "interrupted"
	case err != nil:
		e.end.Reason = err.Error()
	}
	e.Log.Info("volumes looked at", "checked", e.end.Checked, "missing", e.end.Missing, "failed", e.end.Failed, "unknown", e.end.Unknown, "reason", e.end.Reason)
	return e.end
}

func (e *exam) look(ctx context.Context) error {
	data, err := e.read(ctx)
	if err != nil {
		return fmt.Errorf("storage location %q: %w", e.location.Name, err)
	}
	e.note(&data)
	if len(data.CSI) > 0 {
		e.openDrivers(ctx, data.Drivers())
	}
	for _, name := range data.Locations() {
		e.locations[name] = e.openLocation(ctx, name)
	}
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	for _, s := range data.CSI {
		group.Go(func() error {
			e.add(ctx, e.driverHas(ctx, s))
			return nil
		})
	}
	for _, s := range data.Native {
		group.Go(func() error {
			e.add(ctx, e.cloudHas(ctx, s))
			return nil
		})
	}
	return group.Wait()
}

// read reads what the backup says of its data; the backup must exist.
func (e *exam) read(ctx context.Context) (saved.Data, error) {
	bucket, err := e.OpenStore(ctx, e.location)
	if err != nil {
		return saved.Data{}, err
	}
	c := catalog.New(bucket)
	exists, err := c.Exists(ctx, e.Backup)
	if err != nil {
		return saved.Data{}, err
	}
	if !exists {
		return saved.Data{}, fmt.Errorf("backup %q was never completed, or is being deleted: %w", e.Backup, store.ErrNotExist)
	}
	return saved.Read(ctx, c, e.Backup)
}

// note tells of what nobody can be asked about.
func (e *exam) note(data *saved.Data) {
	var checks []report.VolumeCheck
	for _, lost := range data.Lost {
		checks = append(checks, report.VolumeCheck{PV: lost.PV, PVC: lost.PVC, Status: report.VolumeFailed, Text: lost.Why})
	}
	for _, kind := range []struct {
		n      int
		method volume.Method
		how    string
	}{{data.Files, volume.PodVolumeBackup, "saved file by file"}, {data.Moved, volume.CSISnapshot, "moved to the storage location"}} {
		if kind.n > 0 {
			checks = append(checks, report.VolumeCheck{
				Method: string(kind.method), Status: report.VolumeUnknown,
				Text: fmt.Sprintf("this version can't look at data that was %s (%d of the backup's volumes)", kind.how, kind.n),
			})
		}
	}
	e.mu.Lock()
	e.total = data.Snapshots() + len(checks)
	e.mu.Unlock()
	for _, c := range checks {
		e.count(c)
	}
}

// add tells of a volume, unless all is stopped: then what went wrong says nothing.
func (e *exam) add(ctx context.Context, c report.VolumeCheck) {
	if ctx.Err() == nil {
		e.count(c)
	}
}

func (e *exam) count(c report.VolumeCheck) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end.Add(c.Status)
	e.tell(c)
}

func (e *exam) openDrivers(ctx context.Context, names []string) {
	if e.drivers == nil {
		client, err := drivers.Open(ctx, e.Env)
		switch {
		case err != nil:
			e.driversErr = err
			return
		case client == nil:
			e.driversErr = errNotServed
			return
		}
		e.drivers = client
	}
	e.missing, e.driversErr = drivers.Missing(ctx, e.Env, names)
}

// driverHas asks the driver of a snapshot.
func (e *exam) driverHas(ctx context.Context, s saved.CSI) report.VolumeCheck {
	c := report.VolumeCheck{
		PV: s.PV, PVC: s.PVC, Method: string(volume.CSISnapshot), Keeper: s.Handle.Driver, Handle: s.Handle.Snapshot, Status: report.VolumeUnknown,
	}
	switch {
	case e.driversErr != nil:
		c.Text = e.driversErr.Error()
		return c
	case slices.Contains(e.missing, s.Handle.Driver):
		c.Text = fmt.Sprintf("driver %q isn't in this cluster; hint: ask in a cluster that has it", s.Handle.Driver)
		return c
	}
	exists, err := e.drivers.Exists(ctx, s.Handle, e.Timeout)
	switch {
	case err != nil:
		c.Text = err.Error()
	case exists:
		c.Status = report.VolumeOK
	default:
		c.Status, c.Text = report.VolumeMissing, "the driver doesn't have it"
	}
	return c
}

func (e *exam) openLocation(ctx context.Context, name string) opened {
	location, err := e.Client.VolumeSnapshotLocations(e.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return opened{err: fmt.Errorf("snapshot location %q doesn't exist; hint: create it again", name)}
	}
	if err != nil {
		return opened{err: fmt.Errorf("read VolumeSnapshotLocation %q: %w", name, err)}
	}
	snapshotter, err := e.OpenSnapshotter(ctx, location)
	return opened{snapshotter, err}
}

// cloudHas asks the cloud that has a disk snapshot.
func (e *exam) cloudHas(ctx context.Context, s saved.Native) report.VolumeCheck {
	c := report.VolumeCheck{
		PV: s.PV, PVC: s.PVC, Method: string(volume.NativeSnapshot), Keeper: s.Location, Handle: s.Snapshot, Status: report.VolumeUnknown,
	}
	from := e.locations[s.Location]
	if from.err != nil {
		c.Text = from.err.Error()
		return c
	}
	state, err := from.snapshotter.State(ctx, s.Snapshot)
	switch {
	case errors.Is(err, snapshot.ErrNotExist):
		c.Status, c.Text = report.VolumeMissing, "the provider doesn't have it"
	case err != nil:
		c.Text = err.Error()
	case state.Failure != "":
		c.Status, c.Text = report.VolumeFailed, state.Failure
	case state.Ready:
		c.Status = report.VolumeOK
	default:
		c.Status, c.Text = report.VolumeOK, fmt.Sprintf("it is still being copied (%d %%)", state.Progress)
	}
	return c
}
