package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// trial is how a restore is tried: a Job makes the requests that the restore would
// make, with its rights, and none of them changes anything.
type trial struct {
	restore *velerov1.Restore
	// diff asks for the objects, as they are and as they would be.
	diff bool
	// start is how long the Job may take to start, 0 for ever, and silence how long
	// it may then say nothing.
	start, silence time.Duration
	// tell is called with each object.
	tell func(report.PreviewItem) error
}

// tryPermissions are those of a trial beyond a restore's: it takes away what it
// made.
var tryPermissions = []permission{
	{verb: "list", resource: "pods"},
	{verb: "create", resource: "pods/portforward"},
	{verb: "delete", group: "batch", resource: "jobs"},
	{verb: "delete", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings", clusterScoped: true},
}

// try tries the restore. Nothing remains in the cluster, also when ctx ends. An
// error means that it is not known what the restore would do.
func (o *restoreFlags) try(ctx context.Context, s *session, t trial) (report.PreviewEnd, error) {
	end, err := o.runTrial(ctx, s, t)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return end, &outcomeError{outcome: report.Cancelled, text: "interrupted; the cluster is as it was"}
	}
	return end, err
}

func (o *restoreFlags) runTrial(ctx context.Context, s *session, t trial) (report.PreviewEnd, error) {
	in, err := o.ready(ctx, s, t.restore, tryPermissions...)
	if err != nil {
		return report.PreviewEnd{}, err
	}
	progress := s.newTryProgress(ctx, "Trying to restore "+t.restore.Spec.BackupName)
	p, err := s.openPreview(ctx, t.start, reader.PreviewConfig{
		Cluster: s.cluster(in.template), Restore: t.restore, Rights: o.rights(s), Location: in.location, SnapshotLocations: in.snapshots,
	})
	if err != nil {
		progress.end()
		return report.PreviewEnd{}, err
	}
	defer func() {
		progress.end()
		if err := p.Close(ctx); err != nil {
			s.warn("%v", err)
		}
	}()
	ctx, moved, stop := untilStalled(ctx, t.silence)
	defer stop()
	end, err := p.Run(ctx, t.diff, func(e report.PreviewEvent) error {
		moved()
		switch {
		case e.Progress != nil:
			progress.show(*e.Progress)
		case e.Item != nil:
			return t.tell(*e.Item)
		}
		return nil
	})
	if stalled := (*stalledError)(nil); errors.As(context.Cause(ctx), &stalled) {
		return end, fmt.Errorf("try the restore: %w", stalled)
	}
	if err != nil {
		return end, err
	}
	if end.Reason != "" {
		return end, fmt.Errorf("try the restore: %s", end.Reason)
	}
	return end, nil
}

// openPreview bounds the start of the Job.
func (s *session) openPreview(ctx context.Context, start time.Duration, cfg reader.PreviewConfig) (*reader.Preview, error) {
	if start <= 0 {
		return reader.OpenPreview(ctx, cfg)
	}
	ctx, cancel := context.WithTimeout(ctx, start)
	defer cancel()
	return reader.OpenPreview(ctx, cfg)
}
