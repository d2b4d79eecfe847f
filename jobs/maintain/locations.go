package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/sync"
)

var locations = velerov1.SchemeGroupVersion.WithResource("backupstoragelocations")

// errOwnJob means that a location is left to a Job of its own.
var errOwnJob = errors.New("its credentials, certificates or volume are not in this Job")

// opened is a location's catalog, or why there is none.
type opened struct {
	location *velerov1.BackupStorageLocation
	catalog  *catalog.Catalog
	err      error
}

// open opens a location once for all chores. The error is errOwnJob for a location
// that only another Job can open.
func (m *maintenance) open(ctx context.Context, name string) *opened {
	if o := m.opened[name]; o != nil {
		return o
	}
	location, err := m.Client.BackupStorageLocations(m.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		m.opened[name] = &opened{err: fmt.Errorf("read BackupStorageLocation %q: %w", name, err)}
		return m.opened[name]
	}
	return m.openLocation(ctx, location)
}

func (m *maintenance) openLocation(ctx context.Context, location *velerov1.BackupStorageLocation) *opened {
	if o := m.opened[location.Name]; o != nil {
		return o
	}
	o := &opened{location: location}
	m.opened[location.Name] = o
	if m.needsOwnJob(location) {
		o.err = errOwnJob
		return o
	}
	bucket, err := m.OpenStore(ctx, location)
	if err != nil {
		o.err = fmt.Errorf("storage location %q: %w", location.Name, err)
		return o
	}
	o.catalog = catalog.New(bucket)
	return o
}

// needsOwnJob reports whether this process, which does the chores of all
// locations, lacks what the location needs. Outside of a Job it has what its user
// gave it.
func (m *maintenance) needsOwnJob(location *velerov1.BackupStorageLocation) bool {
	return m.Location == "" && m.JobName != "" && !launch.MountsOf(location).Empty()
}

// lookAfterAll does the chores of every location, also after one of them failed.
func (m *maintenance) lookAfterAll(ctx context.Context) error {
	list, err := m.Client.BackupStorageLocations(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list BackupStorageLocations: %w", err)
	}
	if m.clusterID, err = m.ClusterID(ctx); err != nil {
		return err
	}
	slices.SortStableFunc(list.Items, sync.DefaultFirst)
	for i := range list.Items {
		if m.lookAfter(ctx, &list.Items[i]); ctx.Err() != nil {
			return nil
		}
	}
	return m.labelHomeless(ctx, list.Items)
}

// lookAfterOne does the chores of m.Location.
func (m *maintenance) lookAfterOne(ctx context.Context) error {
	location, err := m.Client.BackupStorageLocations(m.Namespace).Get(ctx, m.Location, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read BackupStorageLocation %q: %w", m.Location, err)
	}
	if m.clusterID, err = m.ClusterID(ctx); err != nil {
		return err
	}
	m.lookAfter(ctx, location)
	return nil
}

// lookAfter does the chores of one location.
func (m *maintenance) lookAfter(ctx context.Context, location *velerov1.BackupStorageLocation) {
	o := m.openLocation(ctx, location)
	checked, err := false, o.err
	switch {
	case errors.Is(err, errOwnJob):
		err = m.startOwnJob(ctx, location)
	case err == nil:
		checked, err = m.choresOf(ctx, o)
	}
	if ctx.Err() != nil {
		return
	}
	if checked || err != nil {
		m.NoteLocation(ctx, location, err)
	}
	if err == nil {
		return
	}
	m.problem(m.object(location), err)
	if o.err != nil || errors.Is(err, store.ErrDenied) || errors.Is(err, store.ErrNoBucket) {
		if err := m.labelExpired(ctx, location, gcCannotGet); err != nil {
			m.problem(m.object(location), err)
		}
	}
}

// choresOf does the chores of an opened location and reports whether it was
// validated. The first that fails ends them, since the others need the same bucket.
func (m *maintenance) choresOf(ctx context.Context, o *opened) (validated bool, err error) {
	if validated, err = m.validate(ctx, o); err != nil {
		return validated, err
	}
	if err := m.sync(ctx, o); err != nil {
		return validated, err
	}
	if err := m.abortUploads(ctx, o); err != nil {
		return validated, err
	}
	return validated, m.expire(ctx, o)
}

// validate looks whether the location can be read, if that is due: always the
// first time.
func (m *maintenance) validate(ctx context.Context, o *opened) (bool, error) {
	last := o.location.Status.LastValidationTime
	if last != nil && !due(o.location.Spec.ValidationFrequency, last, time.Now()) {
		return false, nil
	}
	foreign, err := o.catalog.ForeignFolders(ctx)
	if err != nil {
		return true, fmt.Errorf("storage location %q: %w", o.location.Name, err)
	}
	if len(foreign) > 0 {
		m.warn(m.object(o.location), fmt.Errorf("storage location %q has folders that aren't Velero's (%s): a Velero server would call it unavailable; "+
			"hint: give the location a prefix of its own", o.location.Name, strings.Join(foreign, ", ")))
	}
	return true, nil
}

// sync shows what is in the location.
func (m *maintenance) sync(ctx context.Context, o *opened) error {
	if !due(o.location.Spec.BackupSyncPeriod, o.location.Status.LastSyncedTime, time.Now()) {
		return nil
	}
	outcome, err := sync.Location(ctx, m.Env, o.location, o.catalog, false)
	m.done += len(outcome.Created) + len(outcome.Removed)
	for _, warning := range outcome.Warnings {
		m.warn(m.object(o.location), warning)
	}
	if outcome.Withheld != nil {
		m.warn(m.object(o.location), outcome.Withheld)
	}
	if err != nil {
		return fmt.Errorf("show the backups in storage location %q: %w", o.location.Name, err)
	}
	return nil
}

// slack lets what is due once an hour be done every hour, although maintenance
// doesn't start on the second.
const slack = 5 * time.Minute

// due reports whether something is to be done again. Without a period, and with a
// negative one, it is due at every maintenance; with zero never.
func due(period *metav1.Duration, last *metav1.Time, now time.Time) bool {
	switch {
	case period == nil || period.Duration < 0:
		return true
	case period.Duration == 0:
		return false
	}
	return last == nil || now.Sub(last.Time) >= period.Duration-slack
}

func (m *maintenance) object(location *velerov1.BackupStorageLocation) ref.Object {
	return ref.Object{Resource: locations, Kind: "BackupStorageLocation", Namespace: m.Namespace, Name: location.Name}
}
