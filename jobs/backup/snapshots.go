package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// snapshots is who takes the snapshots of a backup; nil stands for one that takes
// none.
type snapshots struct {
	state volume.CSIState
	// client and taker are nil unless CSI drivers can be asked.
	client *csi.Client
	taker  *csi.Taker
	// refused is why the classes can't be read; it concerns CSI volumes only.
	refused   error
	locations []*snapshotLocation
}

// snapshotLocation takes the snapshots of one provider's disks.
type snapshotLocation struct {
	snapshot.Snapshotter
	name string
	// used says that a snapshot was asked for.
	used bool
}

// wantsSnapshots reports whether any volume may be snapshotted. Where none may,
// nobody is asked anything about snapshots.
func (o *operation) wantsSnapshots() bool {
	want := o.backup.Spec.SnapshotVolumes
	return want == nil || *want || o.request.policies.AsksFor(policy.Snapshot)
}

// prepareSnapshots finds out who can take snapshots, and notes the locations in the
// spec. It returns what is wrong with the request.
func (o *operation) prepareSnapshots(ctx context.Context) ([]string, error) {
	if !o.wantsSnapshots() {
		return nil, nil
	}
	s := &snapshots{}
	problems, err := o.openLocations(ctx, s)
	if err != nil || len(problems) > 0 {
		return problems, err
	}
	if err := o.connectCSI(ctx, s); err != nil {
		return nil, fmt.Errorf("get ready for CSI snapshots: %w", err)
	}
	o.snapshots = s
	return nil, nil
}

// openLocations opens the snapshot locations that the backup uses.
func (o *operation) openLocations(ctx context.Context, s *snapshots) ([]string, error) {
	spec := &o.backup.Spec
	named := spec.VolumeSnapshotLocations
	chosen, problems := volume.ChooseLocations(named, o.snapshotLocations)
	if len(problems) > 0 {
		return problems, nil
	}
	spec.VolumeSnapshotLocations = nil
	for i := range chosen {
		location := &chosen[i]
		if !slices.Contains(named, location.Name) && !knownProvider(location.Spec.Provider) {
			// It was made for another program; its volumes are told one by one.
			o.report.Add(report.Warning, ref.Object{}, fmt.Errorf("snapshot location %q isn't used: this version takes no snapshots of provider %s", location.Name, location.Spec.Provider))
			continue
		}
		opened, err := o.OpenSnapshotter(ctx, location)
		var refused *run.Refusal
		switch {
		case err != nil && (slices.Contains(named, location.Name) || errors.As(err, &refused)):
			return nil, err
		case err != nil:
			// The backup may have no volume of it, and what else it has is to be saved.
			o.report.Add(report.Error, ref.Object{}, fmt.Errorf("no snapshots are taken at %w; hint: correct it, delete it with kubectl, or use --snapshot-volumes=false", err))
			continue
		}
		s.locations = append(s.locations, &snapshotLocation{Snapshotter: opened, name: location.Name})
		spec.VolumeSnapshotLocations = append(spec.VolumeSnapshotLocations, location.Name)
	}
	return nil, nil
}

func knownProvider(name string) bool {
	return slices.Contains([]string{settings.ProviderAWS, settings.ProviderAzure, settings.ProviderGCP}, settings.SnapshotProvider(name))
}

// connectCSI gets ready to ask CSI drivers, where that is wanted and possible.
func (o *operation) connectCSI(ctx context.Context, s *snapshots) error {
	if !o.HasFeature(run.FeatureCSI) {
		return nil
	}
	client, err := csi.NewClient(o.REST, o.Log)
	if err != nil {
		return err
	}
	served, err := client.Served(ctx)
	if err != nil {
		return err
	}
	if !served {
		s.state = volume.CSIUnserved
		return nil
	}
	s.state, s.client = volume.CSIServed, client
	s.taker, err = client.NewTaker(ctx, o.backup, csi.Options{Cut: o.backup.Spec.CSISnapshotTimeout.Duration})
	if apierrors.IsForbidden(err) {
		s.refused = fmt.Errorf("%w; hint: grant \"list volumesnapshotclasses.snapshot.storage.k8s.io\" to the executor's service account", err)
		return nil
	}
	return err
}

// endTime is what a backup needs of its Job's time to store what it knows after its
// snapshots weren't ready in time.
const endTime = 10 * time.Minute

// readyTime is how long snapshots may take from now on until they can be used: as long
// as the spec says, and the Job lives.
func (o *operation) readyTime(ctx context.Context) time.Duration {
	limit := o.backup.Spec.ItemOperationTimeout.Duration
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, max(time.Until(deadline)-endTime, time.Minute))
	}
	return limit
}

// takeAny reports whether there is anybody who takes snapshots, or would if allowed.
func (s *snapshots) takeAny() bool {
	return s != nil && (s.taker != nil || s.refused != nil || len(s.locations) > 0)
}

// native finds the location whose provider has the volume's disk, and the disk's id
// there; nil when there is none.
func (s *snapshots) native(pv *corev1.PersistentVolume) (location *snapshotLocation, id string, err error) {
	if s == nil {
		return nil, "", nil
	}
	for _, l := range s.locations {
		id, failure := l.VolumeID(pv)
		switch {
		case id != "" && failure == nil:
			return l, id, nil
		case err == nil:
			err = failure
		}
	}
	return nil, "", err
}

// concerns reports whether a snapshot of the volume could be taken, or should be and
// can't.
func (s *snapshots) concerns(pv *corev1.PersistentVolume) bool {
	if s == nil {
		return false
	}
	if pv.Spec.CSI != nil && s.state == volume.CSIServed {
		return true
	}
	location, _, err := s.native(pv)
	return location != nil || err != nil
}

// class says why no snapshot class fits a claim; nil when one does.
func (s *snapshots) class(claim csi.Claim) error {
	switch {
	case s.refused != nil:
		return s.refused
	case s.taker == nil:
		return nil // nobody asks
	}
	return s.taker.CanTake(claim)
}

// owner is what disk snapshots of this backup are found by.
func (o *operation) owner() snapshot.Owner {
	return snapshot.Owner{Backup: o.backup.Name, UID: string(o.backup.UID)}
}

// The tags of Velero's disk snapshots.
const (
	backupTag = "velero.io/backup"
	volumeTag = "velero.io/pv"
)

// tags are kept on a disk's snapshot: the labels of the backup and two of Velero's.
func (o *operation) tags(pv string) map[string]string {
	tags := map[string]string{}
	for key, value := range o.backup.Labels {
		tags[key] = value
	}
	tags[backupTag], tags[volumeTag] = o.backup.Name, pv
	return tags
}

// cleanTime is how long removing snapshots may take once the backup was stopped: it
// has to end before the pod is killed.
const cleanTime = time.Minute
