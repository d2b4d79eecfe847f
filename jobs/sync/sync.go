// Package sync brings the Backup objects of a cluster into line with what the
// storage locations hold: backups that others wrote there, or that the cluster
// has forgotten, appear; those whose files are gone disappear. It never touches a
// backup that is being made or deleted, and no file. The bucket is not trusted: of
// what a commit marker says, only what makes sense in this cluster is taken over.
package sync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

var locations = velerov1.SchemeGroupVersion.WithResource("backupstoragelocations")

// Config says what to bring into line.
type Config struct {
	*run.Env
	// Locations are the names of the storage locations; empty means all.
	Locations []string
	// Force also removes Backup objects when most of a location's backups are gone
	// at once, which more often is a wrong bucket than the truth.
	Force bool
}

// Run syncs the locations one after the other, the default one first, also after
// one of them failed. It is Completed when the cluster shows what the locations
// hold, PartiallyFailed when something could not be brought into line, Failed when
// it was the only location and could not be read, and Usage when a location
// doesn't exist. Items is the number of Backup objects that were
// created or removed. The error is always nil.
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	r := report.New().LogTo(cfg.Log)
	changed, err := cfg.syncAll(ctx, r)
	if err != nil {
		r.Add(report.Error, ref.Object{}, err)
	}
	s := cfg.Summarize(ctx, r, err)
	s.Items = changed
	return s, nil
}

func (cfg Config) syncAll(ctx context.Context, r *report.Report) (changed int, err error) {
	chosen, err := cfg.choose(ctx)
	if err != nil {
		return 0, err
	}
	for i := range chosen {
		n, err := cfg.syncOne(ctx, r, &chosen[i])
		changed += n
		if ctx.Err() != nil {
			return changed, ctx.Err()
		}
		if err != nil && len(chosen) == 1 {
			return changed, err // nothing else was asked for
		}
		if err != nil {
			r.Add(report.Error, object(&chosen[i]), err)
		}
	}
	return changed, nil
}

// syncOne opens one location and syncs it.
func (cfg Config) syncOne(ctx context.Context, r *report.Report, location *velerov1.BackupStorageLocation) (int, error) {
	bucket, err := cfg.OpenStore(ctx, location)
	if err != nil {
		return 0, fmt.Errorf("storage location %q: %w", location.Name, err)
	}
	outcome, err := Location(ctx, cfg.Env, location, catalog.New(bucket), cfg.Force)
	cfg.NoteLocation(ctx, location, err)
	for _, warning := range outcome.Warnings {
		r.Add(report.Warning, object(location), warning)
	}
	if outcome.Withheld != nil {
		r.Add(report.Error, object(location), outcome.Withheld)
	}
	if err != nil {
		err = fmt.Errorf("storage location %q: %w", location.Name, err)
	}
	return len(outcome.Created) + len(outcome.Removed), err
}

// choose reads the locations to sync, the default one first.
func (cfg Config) choose(ctx context.Context) ([]velerov1.BackupStorageLocation, error) {
	var chosen []velerov1.BackupStorageLocation
	for _, name := range cfg.Locations {
		location, err := cfg.Client.BackupStorageLocations(cfg.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, &run.Refusal{Problems: []string{fmt.Sprintf("storage location %q doesn't exist; hint: see backup-location get", name)}}
		}
		if err != nil {
			return nil, fmt.Errorf("read BackupStorageLocation %q: %w", name, err)
		}
		chosen = append(chosen, *location)
	}
	if len(cfg.Locations) == 0 {
		list, err := cfg.Client.BackupStorageLocations(cfg.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list BackupStorageLocations: %w", err)
		}
		chosen = list.Items
	}
	slices.SortStableFunc(chosen, DefaultFirst)
	return chosen, nil
}

// DefaultFirst orders locations: the default one, which wins where two hold
// backups of one name, comes first, the others follow by name.
func DefaultFirst(a, b velerov1.BackupStorageLocation) int {
	if a.Spec.Default != b.Spec.Default {
		if a.Spec.Default {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.Name, b.Name)
}

func object(location *velerov1.BackupStorageLocation) ref.Object {
	return ref.Object{Resource: locations, Kind: "BackupStorageLocation", Namespace: location.Namespace, Name: location.Name}
}

// some lists the first few names.
func some(names []string) string {
	const most = 5
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
