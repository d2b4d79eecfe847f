package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// disks makes disks from the snapshots of a backup. Once it is prepared it is safe
// for concurrent use.
type disks struct {
	*operation
	locations map[string]*velerov1.VolumeSnapshotLocation

	mu     sync.Mutex
	opened map[string]func() (snapshot.Snapshotter, error)
}

func newDisks(o *operation) *disks {
	return &disks{operation: o, opened: map[string]func() (snapshot.Snapshotter, error){}}
}

func (o *operation) prepareDisks(ctx context.Context) error { return o.disks.prepare(ctx) }

// prepare finds the snapshot locations of the disks that are to be made, and opens
// them. A backup knows them by their names only: one that isn't there is said
// before anything is changed.
func (d *disks) prepare(ctx context.Context) error {
	d.locations = map[string]*velerov1.VolumeSnapshotLocation{}
	wanted := d.wanted()
	if len(wanted) == 0 {
		return nil
	}
	list, err := d.Client.VolumeSnapshotLocations(d.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list snapshot locations: %w", err)
	}
	for i := range list.Items {
		d.locations[list.Items[i].Name] = &list.Items[i]
	}
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if d.locations[name] == nil {
			problems = append(problems, fmt.Sprintf("the snapshots of %s are in snapshot location %q, which doesn't exist in namespace %q; "+
				"hint: make it with `kubectl velero snapshot-location create`, or restore with --restore-volumes=false", volumesText(wanted[name]), name, d.Namespace))
		}
	}
	if len(problems) > 0 {
		return &run.Refusal{Problems: problems}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, err := d.snapshotter(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// wanted are the volumes that get disks, by the names of their locations.
func (d *disks) wanted() map[string][]string {
	wanted := map[string][]string{}
	if !d.restoresData() {
		return wanted
	}
	for name, record := range d.source.saved.disks {
		data := d.source.saved.data[name]
		if data.Method != transform.VolumeNativeSnapshot || data.Failed {
			continue
		}
		place := transform.Place{Resource: transform.PersistentVolumes, Name: name}
		if d.selection.needed[place] || d.selection.place(place) && !d.selection.HasLabels() {
			wanted[record.Spec.Location] = append(wanted[record.Spec.Location], name)
		}
	}
	return wanted
}

// volumesText names a few volumes.
func volumesText(names []string) string {
	const few = 3
	slices.Sort(names)
	if len(names) <= few {
		return "volumes " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("%d volumes (%s, ...)", len(names), strings.Join(names[:few], ", "))
}

// snapshotter opens a location, once.
func (d *disks) snapshotter(ctx context.Context, name string) (snapshot.Snapshotter, error) {
	location := d.locations[name]
	if location == nil {
		return nil, fmt.Errorf("its snapshot is in snapshot location %q, which doesn't exist; hint: make it with `kubectl velero snapshot-location create`", name)
	}
	d.mu.Lock()
	open := d.opened[name]
	if open == nil {
		open = sync.OnceValues(func() (snapshot.Snapshotter, error) { return d.OpenSnapshotter(ctx, location) })
		d.opened[name] = open
	}
	d.mu.Unlock()
	return open()
}

// record is what the backup says of the snapshot of a volume, by its name there.
func (d *disks) record(name string) (volume.Snapshot, error) {
	record, ok := d.source.saved.disks[name]
	if !ok || record.Status.ProviderSnapshotID == "" {
		return record, errors.New("the backup doesn't say which snapshot has its data")
	}
	return record, nil
}

// create makes the disk of a volume of the backup and puts it into obj, which is the
// volume as it is to be created. It is the same disk however often it is tried.
func (d *disks) create(ctx context.Context, obj *transform.Object, from *diskSource) (string, error) {
	record, err := d.record(from.name)
	if err != nil {
		return "", err
	}
	snapshotter, err := d.snapshotter(ctx, record.Spec.Location)
	if err != nil {
		return "", err
	}
	pv, err := typedVolume(obj)
	if err != nil {
		return "", err
	}
	request := snapshot.VolumeRequest{
		SnapshotID: record.Status.ProviderSnapshotID, Type: record.Spec.VolumeType, Zone: from.zoneFor(record, pv),
		Token: uuid.NewSHA1(uuid.NameSpaceURL, []byte(string(d.restore.UID)+"/"+from.name)).String(),
	}
	// A volume of another provider than the location's needs no disk.
	if err := snapshotter.SetVolumeID(pv.DeepCopy(), "restore-"+request.Token); err != nil {
		return "", err
	}
	if iops := record.Spec.VolumeIOPS; iops != nil && *iops > 0 { // Velero writes 0 for none
		request.IOPS = iops
	}
	d.Log.Info("making a disk", "volume", from.name, "snapshot", request.SnapshotID, "location", record.Spec.Location, "zone", request.Zone)
	id, err := snapshotter.CreateVolume(ctx, request)
	if err != nil {
		return "", diskError(request, err)
	}
	return id, setVolumeID(snapshotter, obj, pv, id)
}

// look asks whether the snapshot of a volume can be used.
func (d *disks) look(ctx context.Context, name string) error {
	record, err := d.record(name)
	if err != nil {
		return err
	}
	snapshotter, err := d.snapshotter(ctx, record.Spec.Location)
	if err != nil {
		return err
	}
	state, err := snapshotter.State(ctx, record.Status.ProviderSnapshotID)
	switch {
	case err != nil:
		return fmt.Errorf("look at snapshot %q: %w", record.Status.ProviderSnapshotID, err)
	case state.Failure != "":
		return fmt.Errorf("its snapshot %q failed: %s", record.Status.ProviderSnapshotID, state.Failure)
	}
	return nil
}

// diskError says what can be done about a disk that could not be made.
func diskError(request snapshot.VolumeRequest, err error) error {
	err = fmt.Errorf("make its disk from snapshot %q: %w", request.SnapshotID, err)
	switch {
	case errors.Is(err, snapshot.ErrNoZone):
		return fmt.Errorf("%w; hint: choose another zone than %q with a resource modifier that changes the volume's node affinity and its zone label", err, request.Zone)
	case errors.Is(err, snapshot.ErrNotExist):
		return fmt.Errorf("%w; hint: kubectl velero backup verify --volumes tells what else is gone", err)
	}
	return err
}

// diskSource is the volume of the backup that a disk is made for.
type diskSource struct {
	name  string          // in the backup
	zone  string          // there, as volume.Zone tells
	claim transform.Place // in the cluster
}

// missed says which claim has no volume for the cause.
func (s *diskSource) missed(cause error) error {
	if s.claim.Name == "" {
		return cause
	}
	return fmt.Errorf("%w (claim %s/%s waits for this volume)", cause, s.claim.Namespace, s.claim.Name)
}

// zoneFor is where the disk is made: where it was, unless the volume was changed on
// its way to be elsewhere.
func (s *diskSource) zoneFor(record volume.Snapshot, pv *corev1.PersistentVolume) string {
	if now := volume.Zone(pv); now != "" && (now != s.zone || record.Spec.VolumeAZ == "") {
		return now
	}
	return record.Spec.VolumeAZ
}

// zoneOf is where a volume of the backup was; empty for other objects and where
// that isn't known.
func zoneOf(resource schema.GroupResource, obj *transform.Object) string {
	if resource != transform.PersistentVolumes {
		return ""
	}
	pv, err := typedVolume(obj)
	if err != nil { // said when the disk is made
		return ""
	}
	return volume.Zone(pv)
}

func typedVolume(obj *transform.Object) (*corev1.PersistentVolume, error) {
	body, err := obj.Encode()
	if err != nil {
		return nil, err
	}
	pv := &corev1.PersistentVolume{}
	if err := json.Unmarshal(body, pv); err != nil {
		return nil, fmt.Errorf("decode the volume: %w", err)
	}
	return pv, nil
}

// setVolumeID changes in obj what the snapshotter changes in the typed volume; what
// the type doesn't know stays.
func setVolumeID(s snapshot.Snapshotter, obj *transform.Object, pv *corev1.PersistentVolume, id string) error {
	before, err := json.Marshal(pv)
	if err != nil {
		return err
	}
	if err := s.SetVolumeID(pv, id); err != nil {
		return err
	}
	after, err := json.Marshal(pv)
	if err != nil {
		return err
	}
	patch, err := jsonpatch.CreateMergePatch(before, after)
	if err != nil {
		return err
	}
	body, err := obj.Encode()
	if err != nil {
		return err
	}
	changed, err := jsonpatch.MergePatch(body, patch)
	if err != nil {
		return err
	}
	return obj.Replace(changed)
}

// restoreDisk creates a volume with a disk made from its snapshot. One that is in
// use keeps its disk.
func (o *operation) restoreDisk(ctx context.Context, obj *transform.Object, r result) result {
	found, err := o.awaitPlace(ctx, r.place)
	switch {
	case err != nil && cluster.MayPass(err):
		r.retry = err
		return r
	case err != nil:
		return r.failed(err)
	case found == volumeOurs:
		return o.noteDisk(o.write(ctx, obj, r))
	case found == volumeStays:
		r.warnings = append(r.warnings, errDiskStays)
		return o.write(ctx, obj, r)
	}
	if err := o.wouldTake(ctx, obj, r); err != nil {
		return o.created(ctx, obj, "", err, r)
	}
	id, err := o.disks.create(ctx, obj, r.disk)
	if err == nil {
		return o.createOnDisk(ctx, obj, id, r)
	}
	if id != "" {
		o.strays.made(r, id)
	}
	if ctx.Err() != nil { // else it is reported
		o.Log.Error("a disk may be left that belongs to nothing", "volume", r.disk.name, "error", err)
	}
	return r.failed(r.disk.missed(err))
}

// createOnDisk creates a volume on the disk that was made for it. It does so too when
// the restore is being cancelled: else nobody would know whose the disk is.
func (o *operation) createOnDisk(ctx context.Context, obj *transform.Object, id string, r result) result {
	ctx, cancel := outlast(ctx, finishTimeout)
	defer cancel()
	o.strays.made(r, id)
	return o.noteDisk(o.create(ctx, obj, r))
}

// noteDisk notes that a volume is on a disk made from its snapshot, if it is there.
func (o *operation) noteDisk(r result) result {
	if r.action == actionCreated {
		o.strays.used(r)
	}
	if r.action == actionCreated && r.retry == nil {
		o.restored.disk(r, o.source.saved)
	}
	return r
}

// outlast returns a context that ends a while after ctx has ended.
func outlast(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

var errDiskStays = errors.New("its data isn't restored from the snapshot: the cluster has the volume; " +
	"hint: delete its claim and the volume first, or restore into another namespace with --namespace-mappings")

// wouldTake asks the API server whether it would take an object, so that no disk is
// made in vain. Where it can't be asked, that is found out later.
func (o *operation) wouldTake(ctx context.Context, obj *transform.Object, r result) error {
	body, err := obj.Encode()
	if err != nil {
		return err
	}
	if _, err = o.writer.DryRun().Create(ctx, r.place, body); err != nil && strings.Contains(err.Error(), noDryRun) {
		return nil
	}
	return err
}
