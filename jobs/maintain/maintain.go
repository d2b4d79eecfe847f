// Package maintain does the chores that Velero's server would do all the time,
// once: it gives operations that ended without a word their end, removes what
// they left behind, snapshots too, looks whether storage locations can be reached,
// shows the backups in them, and deletes those whose time is up. Each chore is one
// function and may be done at any time, by hand too, and twice at once; none depends
// on another having been done.
// Whether an operation has ended is judged by package launch, as for the plugin;
// maintenance is who can also look into the bucket. What a Velero server made is
// left alone.
package maintain

import (
	"context"
	"fmt"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// DefaultStartTimeout is how long an operation may wait to be started.
const DefaultStartTimeout = 5 * time.Minute

var (
	backups  = velerov1.SchemeGroupVersion.WithResource("backups")
	restores = velerov1.SchemeGroupVersion.WithResource("restores")
)

// Config says with what the chores are done.
type Config struct {
	*run.Env
	// StartTimeout is how long a Backup or Restore may wait for its Job to start
	// before it counts as failed; 0 means for ever.
	StartTimeout time.Duration
	// Location restricts the chores to one storage location and the Backups in it:
	// for the Job of a location whose credentials, certificates or volume only a Job
	// of its own has. Empty means everything; such locations then get their Job.
	Location string
	// Drivers are the CSI drivers of the cluster; nil means those that Env leads to.
	Drivers Drivers
	// SnapshotTimeout is how long a CSI driver may take to delete snapshots of a backup
	// that expired or died; 0 means two minutes. One that takes longer is not waited
	// for again by the same chore.
	SnapshotTimeout time.Duration
}

// maintenance is one run of the chores.
type maintenance struct {
	Config
	observer *launch.Observer
	report   *report.Report
	// opened are the locations that were looked at, by name.
	opened map[string]*opened
	// disks are the snapshot locations; nil as long as nobody asked for them.
	disks *velerov1.VolumeSnapshotLocationList
	// down are the drivers and snapshot locations that expired backups wait for no more.
	down deletejob.Down
	// clusterID is this cluster's; empty when nobody knows.
	clusterID string
	// done counts what was put in order.
	done int
}

// Run does every chore, also after one of them failed. It is Completed when all
// went well, PartiallyFailed when something could not be put in order (the next
// run tries again), and Cancelled when ctx ended. Items is the number of objects
// that were put in order. The error is always nil.
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	m := &maintenance{
		Config:   cfg,
		observer: &launch.Observer{Kube: cfg.Kube, Velero: cfg.Client, Namespace: cfg.Namespace, StartTimeout: cfg.StartTimeout},
		report:   report.New(),
		opened:   map[string]*opened{},
	}
	for _, chore := range m.chores() {
		cfg.Log.Info("chore begins", "chore", chore.name)
		if err := chore.do(ctx); err != nil {
			m.problem(ref.Object{}, fmt.Errorf("%s: %w", chore.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return m.summary(ctx), nil
}

// chore is one thing to do.
type chore struct {
	name string
	do   func(context.Context) error
}

func (m *maintenance) chores() []chore {
	ends := chore{"end backups that ended without a word", m.endBackups}
	sweep := chore{"remove the snapshots of backups that died", m.sweepSnapshots}
	if m.Location != "" {
		return []chore{ends, sweep, {"look after storage location " + m.Location, m.lookAfterOne}}
	}
	return []chore{
		ends,
		sweep,
		{"end restores that ended without a word", m.endRestores},
		{"take away the rights of restores and previews that have ended", m.removeBindings},
		{"delete Jobs whose Backup or Restore is gone", m.removeJobs},
		{"look after storage locations", m.lookAfterAll},
	}
}

func (m *maintenance) summary(ctx context.Context) report.Summary {
	s := m.Summarize(ctx, m.report, ctx.Err())
	s.Items = m.done
	return s
}

// problem notes what could not be put in order.
func (m *maintenance) problem(obj ref.Object, err error) {
	m.Log.Error("not put in order", "object", obj.String(), "error", err)
	m.report.Add(report.Error, obj, err)
}

// warn notes what somebody should know of something that is in order.
func (m *maintenance) warn(obj ref.Object, err error) {
	m.Log.Warn("worth a look", "object", obj.String(), "reason", err.Error())
	m.report.Add(report.Warning, obj, err)
}

// did notes what was put in order.
func (m *maintenance) did(what string, obj ref.Object, reason string) {
	m.Log.Info(what, "object", obj.String(), "reason", reason)
	m.done++
}
