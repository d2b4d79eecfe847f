package sync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// Outcome is what became of one location.
type Outcome struct {
	// Created and Removed are the names of the Backup objects.
	Created, Removed []string
	// Warnings say which backups the cluster doesn't show, and why.
	Warnings []error
	// Withheld says why Backup objects whose files are gone are still there; nil
	// when nothing was withheld.
	Withheld error
}

// syncing is the sync of one location.
type syncing struct {
	*run.Env
	location *velerov1.BackupStorageLocation
	catalog  *catalog.Catalog
	force    bool
	// known are the Backup objects before the bucket was listed, by name: a
	// completed one had its marker then, so one without was not overtaken by its
	// own commit, and one that is deleted meanwhile is not created again.
	known map[string]*velerov1.Backup
	own   catalog.Ours

	mu      sync.Mutex // guards what follows
	outcome Outcome
	// foreign counts the created ones by the cluster that made them.
	foreign map[string]int
}

// Location brings the Backup objects of one location into line with its bucket,
// and notes when. What it did is in the outcome, also beside an error; the error is
// what kept it from looking at everything.
func Location(ctx context.Context, env *run.Env, location *velerov1.BackupStorageLocation, cat *catalog.Catalog, force bool) (Outcome, error) {
	s := &syncing{Env: env, location: location, catalog: cat, force: force, known: map[string]*velerov1.Backup{}, foreign: map[string]int{}}
	s.Log = env.Log.With("storageLocation", location.Name)
	err := s.sync(ctx)
	s.tell(ctx)
	if err != nil {
		return s.outcome, err
	}
	return s.outcome, s.noteTime(ctx)
}

func (s *syncing) sync(ctx context.Context) error {
	id, err := s.ClusterID(ctx)
	if err != nil {
		return err
	}
	s.own = catalog.OursIn(s.location, id)
	list, err := s.Client.Backups(s.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Backups: %w", err)
	}
	for i := range list.Items {
		s.known[list.Items[i].Name] = &list.Items[i]
	}
	stored, err := s.catalog.Backups(ctx)
	if err != nil {
		return err
	}
	if err := s.create(ctx, stored); err != nil {
		return err
	}
	return s.remove(ctx, stored)
}

// parallel is how many backups are read at once.
const parallel = 8

// create makes the Backup objects that are missing.
func (s *syncing) create(ctx context.Context, stored []string) error {
	elsewhere := map[string][]string{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, name := range stored {
		known := s.known[name]
		switch {
		case known == nil:
			group.Go(func() error { return s.add(ctx, name) })
		case s.in(known):
			group.Go(func() error { return s.checkSame(ctx, known) })
		case known.Spec.StorageLocation != "":
			elsewhere[known.Spec.StorageLocation] = append(elsewhere[known.Spec.StorageLocation], name)
		}
	}
	err := group.Wait()
	slices.Sort(s.outcome.Created)
	if err != nil {
		return err
	}
	for _, other := range slices.Sorted(maps.Keys(elsewhere)) {
		names := elsewhere[other]
		s.warn(fmt.Errorf("storage location %q has %d backups of the same names as storage location %q (%s): the cluster shows the latter's; "+
			"hint: to see the others, use an installation in another namespace", s.location.Name, len(names), other, some(names)))
	}
	return nil
}

// in reports whether a Backup object is of this location.
func (s *syncing) in(backup *velerov1.Backup) bool {
	return backup.Spec.StorageLocation == s.location.Name
}

// checkSame tells of a backup in the bucket that is hidden by a Backup object of
// its name that failed, most often because the name was taken.
func (s *syncing) checkSame(ctx context.Context, known *velerov1.Backup) error {
	phase := known.Status.Phase
	if phase != velerov1.BackupPhaseFailed && phase != velerov1.BackupPhaseFailedValidation {
		return nil
	}
	marker, err := s.read(ctx, known.Name)
	if err != nil || marker == nil || marker.UID == known.UID || marker.Status.Phase == phase {
		return err
	}
	s.warn(fmt.Errorf("backup %q in storage location %q isn't shown: another Backup of this name is in the cluster, in phase %s; "+
		"hint: delete that one (kubectl velero backup delete %[1]s removes only the record), then sync again", known.Name, s.location.Name, phase))
	return nil
}

// read reads a commit marker; nil when it is gone meanwhile or isn't one, which is
// told and keeps no other backup from being shown.
func (s *syncing) read(ctx context.Context, name string) (*velerov1.Backup, error) {
	marker, err := s.catalog.ReadBackup(ctx, name)
	switch {
	case err == nil:
		return marker, nil
	case ctx.Err() != nil, unreachable(err):
		return nil, err
	case !errors.Is(err, store.ErrNotExist):
		s.warn(err)
	}
	return nil, nil
}

// unreachable reports whether an error is about the bucket, so that reading the
// next backup would fail the same way.
func unreachable(err error) bool { return store.Temporary(err) || errors.Is(err, store.ErrNoBucket) }

// add makes the Backup object of a backup in the bucket.
func (s *syncing) add(ctx context.Context, name string) error {
	marker, err := s.read(ctx, name)
	if err != nil || marker == nil {
		return err
	}
	backup := backupOf(marker, s.location, time.Now())
	if backup == nil {
		s.Log.Info("not shown: it hasn't ended", "backup", name, "phase", marker.Status.Phase)
		return nil
	}
	backup.Namespace = s.Namespace
	created, err := s.Client.Backups(s.Namespace).Create(ctx, backup, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil // somebody was faster
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		s.warn(fmt.Errorf("backup %q isn't shown: the API server doesn't take what its commit marker says: %w", name, err))
		return nil
	case err != nil:
		return fmt.Errorf("create Backup %q: %w", name, err)
	}
	s.Log.Info("created", "backup", name, "phase", backup.Status.Phase)
	if err := s.countMaker(ctx, marker); err != nil {
		return err
	}
	return s.addVolumeBackups(ctx, created)
}

// countMaker notes a backup that is new here, and which cluster made it.
func (s *syncing) countMaker(ctx context.Context, marker *velerov1.Backup) error {
	id := marker.Annotations[velerov1.ClusterIDAnnotation]
	var err error
	if id == "" {
		var claim catalog.Claim
		claim, err = s.catalog.ReadClaim(ctx, marker.Name)
		id = claim.ClusterID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome.Created = append(s.outcome.Created, marker.Name)
	if !s.own.Has(id) {
		s.foreign[id]++
	}
	if err != nil && (unreachable(err) || ctx.Err() != nil) {
		return err
	}
	return nil // without a claim, or with a torn one, nobody knows
}

// warn notes which backup isn't shown, and why.
func (s *syncing) warn(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome.Warnings = append(s.outcome.Warnings, err)
}
