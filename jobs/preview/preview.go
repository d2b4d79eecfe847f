// Package preview is the Job that tells what a restore would do, and does none of
// it: one answer to the plugin, streamed by package read's server, with the rights
// that the restore would have, which it gives up at its end. What a restore would
// do is package restore's to find out. The answer:
//
//	GET /preview[?diff=true]  one JSON report.PreviewEvent per line; the last has
//	                          an end, else the answer is torn
package preview

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/answer"
	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// Path is where the answer is served.
const Path = "/preview"

const (
	// stopGrace is what the answer gets to say that it was stopped.
	stopGrace = 5 * time.Second
	// unbindTimeout bounds giving up the rights.
	unbindTimeout = 10 * time.Second
)

// Func finds out what a restore would do. It calls emit for each object and
// progress, now and then, with how many it has looked at; both may be called by
// several goroutines. An error of emit means that nobody listens any more. With
// diff, items have the object as it is and as it would be.
type Func func(ctx context.Context, restore *velerov1.Restore, diff bool, emit func(report.PreviewItem) error, progress func(done int)) report.PreviewEnd

// Config says with what a preview is made.
type Config struct {
	// Env is that of this process, which must run in a Job.
	*run.Env
	// Make finds out what is to be told.
	Make Func
	// TokenSHA256 is the hexadecimal SHA-256 of the token that requests must carry.
	TokenSHA256 string
	// Idle is how long a client may take to ask; 0 means two minutes.
	Idle time.Duration
	// Listener, when set, is served instead of read.Address. Run closes it.
	Listener net.Listener
}

// Run makes one preview of the Restore in the annotation of its own Job for the
// first client that asks, and ends. It is Completed when the client was answered
// or nobody asked, also when the answer is that no preview could be made; and
// Cancelled when ctx ended or the client went away. An error comes with the
// outcome Usage (what the Job says is wrong) or Failed.
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	job, err := cfg.Kube.BatchV1().Jobs(cfg.Namespace).Get(ctx, cfg.JobName, metav1.GetOptions{})
	if err != nil {
		return failed(report.Failed, fmt.Errorf("read this process's Job %q: %w", cfg.JobName, err))
	}
	defer dropRights(ctx, cfg, job)
	restore, err := wanted(job)
	if err != nil {
		return failed(report.Usage, err)
	}
	done := atomic.Int64{} // objects that were looked at
	return answer.Run(ctx, answer.Config[report.PreviewEvent]{
		Path: Path, Noun: "preview",
		Make: func(ctx context.Context, query url.Values, send func(report.PreviewEvent) error) report.PreviewEvent {
			end := cfg.Make(ctx, restore, query.Get("diff") == "true",
				func(item report.PreviewItem) error { return send(report.PreviewEvent{Item: &item}) },
				func(n int) { done.Store(int64(n)) })
			cfg.Log.Info("preview ends", "reason", end.Reason, "counts", end.Counts, "warnings", len(end.Warnings), "errors", len(end.Errors))
			return report.PreviewEvent{End: &end}
		},
		Beat:   func() report.PreviewEvent { return report.PreviewEvent{Progress: ptr.To(int(done.Load()))} },
		Server: read.Config{TokenSHA256: cfg.TokenSHA256, Idle: cfg.Idle, Grace: stopGrace, Listener: cfg.Listener, Log: cfg.Log},
	})
}

// wanted is the Restore that the Job's annotation holds.
func wanted(job *batchv1.Job) (*velerov1.Restore, error) {
	restore := &velerov1.Restore{}
	if err := json.Unmarshal([]byte(job.Annotations[velerov1.RestoreSpecAnnotation]), restore); err != nil {
		return nil, fmt.Errorf("decode annotation %s of Job %q: %w", velerov1.RestoreSpecAnnotation, job.Name, err)
	}
	restore.Namespace = job.Namespace
	return restore, nil
}

// dropRights deletes the binding that gave this process its rights. The plugin,
// or else maintenance, does it when this can't.
func dropRights(ctx context.Context, cfg Config, job *batchv1.Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unbindTimeout)
	defer cancel()
	if err := launch.Unbind(ctx, cfg.Kube, types.UID(job.Labels[velerov1.OperationUIDLabel])); err != nil {
		cfg.Log.Warn("rights of the preview not given up; the plugin or maintenance does it", "error", err)
	}
}

func failed(outcome report.Outcome, err error) (report.Summary, error) {
	return report.Summary{Outcome: outcome, Reason: err.Error(), Errors: 1}, err
}
