// Package verify is the Job that looks whether the snapshots of a backup's volumes
// still exist: it asks each CSI driver and each cloud that has one. It changes
// nothing but for objects that it makes to ask with, and removes again. Within a Job
// the results go to the plugin, through package answer; outside of a cluster they
// are printed. The answer:
//
//	GET /volumes  one JSON report.VolumeEvent per line; the last has an end, else the
//	              answer is torn
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/answer"
	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// Path is where the answer is served.
const Path = "/volumes"

// defaultTimeout is how long a CSI driver may take to say whether it has a snapshot.
const defaultTimeout = time.Minute

// stopGrace is what an answer that is stopped gets to say so, and to remove what was
// made to ask with.
const stopGrace = 30 * time.Second

// Drivers tells which snapshots CSI drivers have; *csi.Client does.
type Drivers interface {
	// Exists asks a driver. A driver that can't say is an error.
	Exists(ctx context.Context, h csi.Handle, timeout time.Duration) (bool, error)
}

// Config says what is looked for, and where the results go.
type Config struct {
	// Env is that of this process.
	*run.Env
	// Backup is the name of the backup.
	Backup string
	// Location is the storage location of a backup that has no Backup object; with
	// one it may be empty.
	Location string
	// Trust replaces what the storage location says about its storage's certificate.
	Trust settings.Trust
	// Timeout is how long a CSI driver may take to answer; 0 means a minute.
	Timeout time.Duration
	// Drivers are the CSI drivers of the cluster; nil means those that Env leads to.
	Drivers Drivers
	// TokenSHA256 is the hexadecimal SHA-256 of the token that requests must carry;
	// empty means that nothing is served, and the results are printed to Out.
	TokenSHA256 string
	Out         io.Writer
	// Idle is how long a client may take to ask; 0 means two minutes.
	Idle time.Duration
	// Listener, when set, is served instead of read.Address. Run closes it.
	Listener net.Listener
}

// Run looks for the data of every volume. Where the results are printed, data that
// is missing, can't be used or can't be looked for makes it Failed. Where they are
// served, it is Completed when the client was answered, whatever the answer, or when
// nobody asked; and Cancelled when ctx ended or the client went away. A backup or a
// location that doesn't exist is Usage.
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	location, err := cfg.findLocation(ctx)
	if err != nil {
		return cfg.Summarize(ctx, report.New(), err), nil
	}
	if cfg.TokenSHA256 == "" {
		return printed(ctx, cfg, location), nil
	}
	e := newExam(cfg, location)
	return answer.Run(ctx, answer.Config[report.VolumeEvent]{
		Path: Path, Noun: "check of the volumes",
		Make: func(ctx context.Context, _ url.Values, send func(report.VolumeEvent) error) report.VolumeEvent {
			end := e.run(ctx, func(c report.VolumeCheck) { _ = send(report.VolumeEvent{Volume: &c}) }) // a client that is gone ends ctx
			return report.VolumeEvent{End: &end}
		},
		Beat: func() report.VolumeEvent {
			progress := e.progress()
			return report.VolumeEvent{Progress: &progress}
		},
		Server: read.Config{TokenSHA256: cfg.TokenSHA256, Idle: cfg.Idle, Grace: stopGrace, Listener: cfg.Listener, Log: cfg.Log},
	})
}

// printed writes the results as they come.
func printed(ctx context.Context, cfg Config, location *velerov1.BackupStorageLocation) report.Summary {
	report.PrintVolumeHeader(cfg.Out)
	end := newExam(cfg, location).run(ctx, func(c report.VolumeCheck) { c.Print(cfg.Out) })
	summary := report.Summary{Outcome: report.Completed, Items: end.Checked, Errors: end.Missing + end.Failed, Warnings: end.Unknown}
	if end.OK < end.Checked || end.Reason != "" {
		summary.Outcome, summary.Reason = report.Failed, end.Verdict(cfg.Backup)
	}
	if ctx.Err() != nil {
		summary.Outcome = report.Cancelled
	}
	return summary
}

// findLocation reads the storage location of the backup.
func (c Config) findLocation(ctx context.Context) (*velerov1.BackupStorageLocation, error) {
	name := c.Location
	if name == "" {
		backup, err := c.Client.Backups(c.Namespace).Get(ctx, c.Backup, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, refuse("backup %q doesn't exist in namespace %q; hint: to look into a bucket, name its storage location with --location", c.Backup, c.Namespace)
		}
		if err != nil {
			return nil, fmt.Errorf("read Backup %q: %w", c.Backup, err)
		}
		name = cmp.Or(backup.Spec.StorageLocation, velerov1.DefaultName)
	}
	location, err := c.Client.BackupStorageLocations(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, refuse("storage location %q doesn't exist; hint: create it again", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read storage location %q: %w", name, err)
	}
	return c.Trust.Of(location)
}

func refuse(format string, args ...any) error {
	return &run.Refusal{Problems: []string{fmt.Sprintf(format, args...)}}
}

var errNotServed = errors.New("this cluster doesn't serve the API snapshot.storage.k8s.io; hint: ask in a cluster that does")
