package reader

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// checkDeadline is how long the Job of a check may take.
const checkDeadline = 20 * time.Minute

// CheckConfig says which location is checked.
type CheckConfig struct {
	Cluster
	// Location is the one to check.
	Location *velerov1.BackupStorageLocation
	// Size is how many bytes are uploaded and downloaded to measure; 0 leaves that
	// out.
	Size int64
}

// Check is an open connection to a Job that checks a storage location. It is not
// safe for concurrent use.
type Check struct{ *server }

// OpenCheck starts the Job and connects to it. The context bounds the start, and
// must live as long as the Check. Close must be called.
func OpenCheck(ctx context.Context, cfg CheckConfig) (*Check, error) {
	s, err := newServer(cfg.Cluster, velerov1.OperationCheck, "check the storage location")
	if err != nil {
		return nil, err
	}
	c := &Check{server: s}
	if c.job, err = launch.Start(ctx, cfg.Kube, c.build(cfg)); err != nil {
		return nil, err
	}
	if err := c.connect(ctx); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	return c, nil
}

func (c *Check) build(cfg CheckConfig) *batchv1.Job {
	return launch.Job(cfg.Template, launch.Operation{
		Kind: velerov1.OperationCheck, Namespace: cfg.Namespace, Name: cfg.Location.Name, UID: uuid.NewUUID(),
		Args:     []string{"check", "--location", cfg.Location.Name, "--size", strconv.FormatInt(cfg.Size, 10)},
		Env:      []corev1.EnvVar{c.tokenHash()},
		Location: cfg.Location,
		TTL:      launch.ShortTTL,
		Deadline: checkDeadline,
	})
}

// Run has the Job check the location, and hands what it tells to tell, whose error
// ends it. It can be run once. An error means that the check didn't come to its
// end.
func (c *Check) Run(ctx context.Context, tell func(report.CheckEvent) error) (report.LocationCheck, error) {
	return tale(ctx, c.server, call{method: http.MethodGet, path: "check"},
		func(e report.CheckEvent) *report.LocationCheck { return e.End }, tell)
}

// Close ends the server and deletes its Job, also after ctx ended.
func (c *Check) Close(ctx context.Context) error { return c.stop(ctx) }
