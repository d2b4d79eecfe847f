package reader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// PreviewConfig says what would be restored, with which rights.
type PreviewConfig struct {
	Cluster
	// Restore is what would be created; it isn't.
	Restore *velerov1.Restore
	// Rights are those that the restore would have.
	Rights launch.Rights
	// Location is the backup's; nil means that the installation's credentials do.
	Location *velerov1.BackupStorageLocation
	// SnapshotLocations are those that the backup was made with.
	SnapshotLocations []velerov1.VolumeSnapshotLocation
}

// Preview is an open connection to a Job that tells what a restore would do. It is
// not safe for concurrent use.
type Preview struct {
	*server
	cfg PreviewConfig
	uid types.UID
}

// OpenPreview gives the Job its rights, starts it and connects to it. The context
// bounds the start, and must live as long as the Preview. Close must be called.
func OpenPreview(ctx context.Context, cfg PreviewConfig) (*Preview, error) {
	cfg.Rights.Operation = velerov1.OperationPreview
	s, err := newServer(cfg.Cluster, velerov1.OperationPreview, "try the restore")
	if err != nil {
		return nil, err
	}
	p := &Preview{server: s, cfg: cfg, uid: uuid.NewUUID()}
	if p.job, err = p.build(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	if err := p.connect(ctx); err != nil {
		return nil, errors.Join(err, p.Close(ctx))
	}
	return p, nil
}

func (p *Preview) build() (*batchv1.Job, error) {
	restore, err := json.Marshal(p.cfg.Restore)
	if err != nil {
		return nil, fmt.Errorf("encode the restore: %w", err)
	}
	return launch.Job(p.cfg.Template, launch.Operation{
		Kind: velerov1.OperationPreview, Namespace: p.cfg.Namespace, Name: p.cfg.Restore.Spec.BackupName, UID: p.uid,
		ServiceAccount: launch.RestoreServiceAccount,
		Args:           []string{"preview"},
		Env:            []corev1.EnvVar{p.tokenHash()},
		Location:       p.cfg.Location, SnapshotLocations: p.cfg.SnapshotLocations,
		Deadline:    jobDeadline,
		Annotations: map[string]string{velerov1.RestoreSpecAnnotation: string(restore)},
	}), nil
}

// beginPatience is how long binding the rights and creating the Job may take.
const beginPatience = 30 * time.Second

// begin makes what must not be left behind. A request that is cut may have been
// carried out all the same, so ctrl-C waits for these two.
func (p *Preview) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), beginPatience)
	defer cancel()
	if err := p.cfg.Rights.Bind(ctx, p.cfg.Restore.Spec.BackupName, p.uid); err != nil {
		_ = p.unbind(ctx) // there is nothing to take away but after a lost answer
		return err
	}
	job, err := launch.Start(ctx, p.cfg.Kube, p.job)
	if err != nil {
		return errors.Join(err, p.Close(ctx))
	}
	p.job = job
	return nil
}

// Run has the Job try the restore, and hands what it tells to tell, whose error
// ends it. With diff, items have the objects. It can be run once. An error means
// that the preview didn't come to its end.
func (p *Preview) Run(ctx context.Context, diff bool, tell func(report.PreviewEvent) error) (report.PreviewEnd, error) {
	return tale(ctx, p.server, call{
		method: http.MethodGet, path: "preview", query: url.Values{"diff": {strconv.FormatBool(diff)}},
	}, func(e report.PreviewEvent) *report.PreviewEnd { return e.End }, tell)
}

// Close ends the server, deletes its Job and takes its rights away, also after ctx
// ended.
func (p *Preview) Close(ctx context.Context) error {
	return errors.Join(p.stop(ctx), p.unbind(ctx))
}

func (p *Preview) unbind(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingPatience)
	defer cancel()
	return launch.Unbind(ctx, p.cfg.Kube, p.uid)
}
