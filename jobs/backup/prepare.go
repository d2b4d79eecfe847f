package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// Defaults of a Backup's spec, as Velero 1.18 documents them.
const (
	defaultTTL                  = 720 * time.Hour
	defaultCSISnapshotTimeout   = 10 * time.Minute
	defaultItemOperationTimeout = 4 * time.Hour
	resourceTimeout             = 10 * time.Minute
)

func now() *metav1.Time {
	t := metav1.NewTime(time.Now().UTC().Truncate(time.Second))
	return &t
}

// load reads the Backup, or creates that of a schedule.
func (c Config) load(ctx context.Context) (*velerov1.Backup, error) {
	if c.Schedule != "" {
		return c.fromSchedule(ctx)
	}
	backup, err := c.Client.Backups(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Backup %q in namespace %q: %w", c.Name, c.Namespace, err)
	}
	return backup, nil
}

// prepare fills in defaults, checks the spec and writes both to the Backup, with
// the start. It returns the location. It reads all that it needs before it
// writes: after a write the API server lets the next list of any other kind
// wait until its cache is as new.
func (o *operation) prepare(ctx context.Context) (*velerov1.BackupStorageLocation, error) {
	locations, err := o.readLocations(ctx)
	if err != nil {
		return nil, err
	}
	before := o.backup.DeepCopy()
	setDefaults(&o.backup.Spec, locations)
	location, problems := findLocation(o.backup.Spec.StorageLocation, locations)
	parsed, more, err := o.parse(ctx)
	if err != nil {
		return nil, err
	}
	o.request = parsed
	problems = append(problems, more...)
	if more, err = o.prepareSnapshots(ctx); err != nil {
		return nil, err
	}
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, &run.Refusal{Problems: problems}
	}
	version, err := o.Discovery.ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("read the cluster's version: %w", err)
	}
	clusterID, err := o.ClusterID(ctx)
	if err != nil {
		return nil, err
	}
	setMap(&o.backup.Labels, velerov1.StorageLocationLabel, velerov1.ValidName(location.Name))
	for key, value := range map[string]string{
		velerov1.SourceClusterK8sGitVersionAnnotation:   version.GitVersion,
		velerov1.SourceClusterK8sMajorVersionAnnotation: version.Major,
		velerov1.SourceClusterK8sMinorVersionAnnotation: version.Minor,
		velerov1.ResourceTimeoutAnnotation:              resourceTimeout.String(),
		velerov1.ClusterIDAnnotation:                    clusterID,
		velerov1.JobNameAnnotation:                      o.JobName,
		velerov1.JobUIDAnnotation:                       o.JobUID,
		velerov1.AttemptAnnotation:                      strconv.Itoa(o.Attempt),
		velerov1.HeartbeatAnnotation:                    record.Now(),
	} {
		setMap(&o.backup.Annotations, key, value)
	}
	o.start()
	return location, o.save(ctx, before)
}

// start sets the part of the status that the beginning decides; a second
// attempt keeps the time of the first.
func (o *operation) start() {
	status := &o.backup.Status
	status.Phase = velerov1.BackupPhaseInProgress
	status.Version = 1
	status.FormatVersion = archive.FormatVersion
	if status.StartTimestamp == nil {
		status.StartTimestamp = now()
	}
	expiration := metav1.NewTime(status.StartTimestamp.Add(o.backup.Spec.TTL.Duration))
	status.Expiration = &expiration
}

// save writes what changed since before, unless somebody else ended the backup.
func (o *operation) save(ctx context.Context, before *velerov1.Backup) error {
	patch, err := mergePatch(before, o.backup)
	if err != nil {
		return err
	}
	saved, err := o.Client.Backups(o.Namespace).Patch(ctx, o.backup.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("write Backup %q: %w", o.backup.Name, err)
	}
	o.backup = saved
	return nil
}

// mergePatch holds the whole of labels, annotations, spec and status of after,
// bound to the version of before.
func mergePatch(before, after *velerov1.Backup) ([]byte, error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid": before.UID, "resourceVersion": before.ResourceVersion,
			"labels": after.Labels, "annotations": after.Annotations,
		},
		"spec":   after.Spec,
		"status": after.Status,
	})
	if err != nil {
		return nil, fmt.Errorf("encode Backup %q: %w", after.Name, err)
	}
	return patch, nil
}

func setMap(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	if value != "" {
		(*m)[key] = value
	}
}

func setDefaults(spec *velerov1.BackupSpec, locations []velerov1.BackupStorageLocation) {
	no := false
	spec.TTL.Duration = cmp.Or(spec.TTL.Duration, defaultTTL)
	spec.CSISnapshotTimeout.Duration = cmp.Or(spec.CSISnapshotTimeout.Duration, defaultCSISnapshotTimeout)
	spec.ItemOperationTimeout.Duration = cmp.Or(spec.ItemOperationTimeout.Duration, defaultItemOperationTimeout)
	spec.VolumeGroupSnapshotLabelKey = cmp.Or(spec.VolumeGroupSnapshotLabelKey, velerov1.VolumeGroupLabel)
	spec.DefaultVolumesToFsBackup = cmp.Or(spec.DefaultVolumesToFsBackup, spec.DefaultVolumesToRestic, &no)
	spec.SnapshotMoveData = cmp.Or(spec.SnapshotMoveData, &no)
	if spec.StorageLocation == "" {
		spec.StorageLocation = defaultLocation(locations)
	}
	if len(spec.IncludedNamespaces) == 0 {
		spec.IncludedNamespaces = []string{"*"}
	}
}

func defaultLocation(locations []velerov1.BackupStorageLocation) string {
	for _, location := range locations {
		if location.Spec.Default {
			return location.Name
		}
	}
	return velerov1.DefaultName
}

func findLocation(name string, locations []velerov1.BackupStorageLocation) (*velerov1.BackupStorageLocation, []string) {
	var names []string
	for i := range locations {
		if locations[i].Name != name {
			names = append(names, locations[i].Name)
			continue
		}
		if locations[i].Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly {
			return &locations[i], []string{fmt.Sprintf("storageLocation: %q is read-only; choose another or set its accessMode to ReadWrite", name)}
		}
		return &locations[i], nil
	}
	slices.Sort(names)
	return nil, []string{fmt.Sprintf("storageLocation: %q doesn't exist; there are: %s", name, cmp.Or(strings.Join(names, ", "), "none"))}
}

// claim takes the backup's name in the bucket, or finds that an earlier attempt
// of this very backup got as far as the marker.
func (o *operation) claim(ctx context.Context) error {
	err := o.catalog.Claim(ctx, o.backup.Name, catalog.Claim{
		ClusterID: o.backup.Annotations[velerov1.ClusterIDAnnotation],
		BackupUID: string(o.backup.UID), Attempt: o.Attempt, Created: *now(),
	})
	var taken *catalog.TakenError
	if errors.As(err, &taken) {
		return fmt.Errorf("storage location %q: %w", o.backup.Spec.StorageLocation, err)
	}
	return err
}
