package reader

import (
	"context"
	"errors"
	"net/http"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// volumesDeadline is how long the Job may take that looks for the data of volumes.
const volumesDeadline = 30 * time.Minute

// VolumesConfig says whose volumes are looked for.
type VolumesConfig struct {
	Cluster
	// Backup is the name of the backup.
	Backup string
	// Location is the backup's, SnapshotLocations those that it was made with.
	Location          *velerov1.BackupStorageLocation
	SnapshotLocations []velerov1.VolumeSnapshotLocation
	// Trust replaces what Location says about the storage's certificate.
	Trust settings.Trust
}

// Volumes is an open connection to a Job that looks whether the saved data of a
// backup's volumes still exists. It is not safe for concurrent use.
type Volumes struct{ *server }

// OpenVolumes starts the Job and connects to it. The context bounds the start, and
// must live as long as the Volumes. Close must be called.
func OpenVolumes(ctx context.Context, cfg VolumesConfig) (*Volumes, error) {
	s, err := newServer(cfg.Cluster, velerov1.OperationVerify, "look for the volumes' data")
	if err != nil {
		return nil, err
	}
	v := &Volumes{server: s}
	job, err := v.build(cfg)
	if err != nil {
		return nil, err
	}
	if v.job, err = launch.Start(ctx, cfg.Kube, job); err != nil {
		return nil, err
	}
	if err := v.connect(ctx); err != nil {
		return nil, errors.Join(err, v.Close(ctx))
	}
	return v, nil
}

// build makes the Job. It mounts what the location needs as it will be opened, which
// the executor checks.
func (v *Volumes) build(cfg VolumesConfig) (*batchv1.Job, error) {
	location, err := cfg.Trust.Of(cfg.Location)
	if err == nil {
		err = mustFit(cfg.Trust.CACert)
	}
	if err != nil {
		return nil, err
	}
	return launch.Job(cfg.Template, launch.Operation{
		Kind: velerov1.OperationVerify, Namespace: cfg.Namespace, Name: cfg.Backup, UID: uuid.NewUUID(),
		Args:     []string{"verify-volumes", "--backup", cfg.Backup},
		Env:      []corev1.EnvVar{v.tokenHash(), {Name: "STORAGE_TRUST", Value: cfg.Trust.Encode()}},
		Location: location, SnapshotLocations: cfg.SnapshotLocations,
		TTL:      launch.ShortTTL,
		Deadline: volumesDeadline,
	}), nil
}

// Run has the Job look, and hands what it tells to tell, whose error ends it. It can
// be run once. An error means that looking didn't come to its end.
func (v *Volumes) Run(ctx context.Context, tell func(report.VolumeEvent) error) (report.VolumesEnd, error) {
	return tale(ctx, v.server, call{method: http.MethodGet, path: "volumes"},
		func(e report.VolumeEvent) *report.VolumesEnd { return e.End }, tell)
}

// Close ends the server and deletes its Job, also after ctx ended.
func (v *Volumes) Close(ctx context.Context) error { return v.stop(ctx) }
