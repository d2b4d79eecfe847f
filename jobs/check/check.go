// Package check is the Job that tries out a storage location: it lists, writes,
// reads, replaces and deletes probes directly below the location's prefix, measures,
// and looks at what lies there and how the server behaves. Everything that fails
// comes with a way out. Nothing but the probes is written, and nothing else
// deleted. Within a Job the results go to the plugin, through package read's
// server; outside of a cluster they are printed. The answer:
//
//	GET /check  one JSON report.CheckEvent per line; the last has an end, else the
//	            answer is torn
package check

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/answer"
	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// Path is where the answer is served.
const Path = "/check"

// stopGrace is what the answer gets to say that it was stopped, after the probes
// have been removed.
const stopGrace = cleanUpTimeout + 5*time.Second

// Config says what is checked, and where the results go.
type Config struct {
	// Env is that of this process.
	*run.Env
	// Location is the name of the storage location.
	Location string
	// Size is that of the large probe in bytes; 0 leaves out the checks that need it.
	Size int64
	// TokenSHA256 is the hexadecimal SHA-256 of the token that requests must carry;
	// empty means that nothing is served, and the results are printed to Out.
	TokenSHA256 string
	Out         io.Writer
	// Idle is how long a client may take to ask; 0 means two minutes.
	Idle time.Duration
	// Listener, when set, is served instead of read.Address. Run closes it.
	Listener net.Listener
}

// Run checks the location and notes in its status whether it can be used. Where
// the results are printed, checks that fail make it Failed. Where they are served,
// it is Completed when the client was answered, whatever the answer, or when
// nobody asked; and Cancelled when ctx ended or the client went away. A location
// that doesn't exist is Usage.
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	location, err := cfg.Client.BackupStorageLocations(cfg.Namespace).Get(ctx, cfg.Location, metav1.GetOptions{})
	if err != nil {
		outcome := report.Failed
		if apierrors.IsNotFound(err) {
			outcome = report.Usage
		}
		return failed(outcome, fmt.Errorf("read storage location %q: %w", cfg.Location, err))
	}
	if cfg.TokenSHA256 == "" {
		return printed(ctx, cfg, location), nil
	}
	return served(ctx, cfg, location)
}

// served checks for the first client that asks, and tells it the results as they come.
func served(ctx context.Context, cfg Config, location *velerov1.BackupStorageLocation) (report.Summary, error) {
	running := atomic.Pointer[string]{} // the check that is being made
	running.Store(ptr.To("connect"))
	return answer.Run(ctx, answer.Config[report.CheckEvent]{
		Path: Path, Noun: "check",
		Make: func(ctx context.Context, _ url.Values, send func(report.CheckEvent) error) report.CheckEvent {
			end := examine(ctx, cfg, location,
				func(c report.Check) { _ = send(report.CheckEvent{Check: &c}) }, // ctx ends with the client
				func(name string) { running.Store(&name) })
			cfg.Log.Info("check ends", "failed", end.Count(report.CheckFailed), "warnings", end.Count(report.CheckWarning), "interrupted", end.Interrupted)
			return report.CheckEvent{End: &end}
		},
		Beat:   func() report.CheckEvent { return report.CheckEvent{Running: *running.Load()} },
		Server: read.Config{TokenSHA256: cfg.TokenSHA256, Idle: cfg.Idle, Grace: stopGrace, Listener: cfg.Listener, Log: cfg.Log},
	})
}

// printed checks, and writes the results as they come.
func printed(ctx context.Context, cfg Config, location *velerov1.BackupStorageLocation) report.Summary {
	report.PrintCheckHeader(cfg.Out)
	result := examine(ctx, cfg, location, func(c report.Check) { c.Print(cfg.Out) }, func(string) {})
	failures := result.Count(report.CheckFailed)
	summary := report.Summary{
		Outcome: report.Completed, Items: len(result.Checks), Warnings: result.Count(report.CheckWarning), Errors: failures,
	}
	switch {
	case failures > 0:
		summary.Outcome, summary.Reason = report.Failed, result.Verdict()
	case result.Interrupted != "":
		summary.Outcome, summary.Reason = report.Cancelled, result.Verdict()
	}
	return summary
}

// examine opens the location, makes the checks, and keeps its status true.
func examine(ctx context.Context, cfg Config, location *velerov1.BackupStorageLocation, tell func(report.Check), running func(string)) report.LocationCheck {
	e := newExam(location)
	e.size, e.tell, e.running = cfg.Size, tell, running
	var err error
	if e.clusterID, err = cfg.ClusterID(ctx); err != nil {
		cfg.Log.Warn("whose backups are can't be told", "error", err)
	}
	bucket, err := cfg.OpenStore(ctx, location)
	if err != nil {
		e.add("connect", e.failure("connect", err))
		return e.result
	}
	e.bucket = bucket
	e.run(ctx)
	if err := e.reachErr; err != nil || e.result.Interrupted == "" {
		cfg.NoteLocation(ctx, location, outOfReach(err))
	}
	return e.result
}

// outOfReach makes an error with which a bucket can't be listed one that concerns
// the location, whatever it is; nil stays nil.
func outOfReach(err error) error {
	if err == nil {
		return nil
	}
	return &unreachableError{err}
}

// unreachableError is store.ErrUnavailable with another's text.
type unreachableError struct{ error }

// Is makes it store.ErrUnavailable.
func (e *unreachableError) Is(target error) bool { return target == store.ErrUnavailable }

// Unwrap is the error it stands for.
func (e *unreachableError) Unwrap() error { return e.error }

func failed(outcome report.Outcome, err error) (report.Summary, error) {
	return report.Summary{Outcome: outcome, Reason: err.Error(), Errors: 1}, err
}
