// Package restore is what a restore Job does: a straight line from the Restore
// object over waves of writes to the results in the bucket. The archive is
// streamed, once per wave or, where it has an index, the parts that the wave is
// about, and never unpacked. In memory are a few objects, and some bytes for each
// object that is restored or was there before.
package restore

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// Config says what to restore and with what.
type Config struct {
	*run.Env
	// Name of the Restore.
	Name string
	// Workers is how many objects are written at once; 0 means 64.
	Workers int
	// RetryFor is how long objects that failed for a reason that may pass are
	// tried again after the last success of any; 0 means what the Restore says, or
	// 60 seconds.
	RetryFor time.Duration
	// TerminatingTimeout is how long to wait for a namespace on its way out;
	// 0 means 10 minutes.
	TerminatingTimeout time.Duration
	// ResourceTimeout is how long to wait for a new kind to be served; 0 means
	// a minute.
	ResourceTimeout time.Duration
	// ProvisionTimeout is how long claims may take to get the volumes that are made
	// from snapshots; 0 means 10 minutes.
	ProvisionTimeout time.Duration
}

func (c Config) withDefaults() Config {
	c.Workers = cmp.Or(c.Workers, 64)
	c.TerminatingTimeout = cmp.Or(c.TerminatingTimeout, 10*time.Minute)
	c.ResourceTimeout = cmp.Or(c.ResourceTimeout, time.Minute)
	c.ProvisionTimeout = cmp.Or(c.ProvisionTimeout, 10*time.Minute)
	return c
}

// operation is one run of a restore. Its fields are set step by step; from the
// first wave on they are only read, but for those that say otherwise.
type operation struct {
	Config
	restore *velerov1.Restore
	backup  *velerov1.Backup // as it is in the cluster
	record  *record.Record
	report  *report.Report // safe for concurrent use
	source  *source

	request   request
	contents  *contents
	selection *selection
	waves     []cluster.Wave
	versions  map[schema.GroupResource]string // folders of the archive, where not the path without version
	plan      plan
	served    *cluster.Resources // changes between waves
	// lacksKinds says that the archive may have to bring kinds.
	lacksKinds bool
	// missing are the kinds that were reported as not served.
	missing map[schema.GroupVersionResource]bool

	transformer *transform.Transformer
	volumes     *transform.Volumes // safe for concurrent use
	disks       *disks             // safe for concurrent use
	snapshots   *snapshots         // safe for concurrent use
	groups      *groups            // safe for concurrent use
	claims      claims             // safe for concurrent use
	restored    restored           // safe for concurrent use
	strays      strays             // safe for concurrent use
	statuses    *filter.Filter     // which kinds get their status back; nil means none
	hooks       *hooks.RestoreHooks
	postHooks   *hooks.PostRunner // safe for concurrent use
	writer      *cluster.Writer
	namespaces  *namespaces // safe for concurrent use
	known       known       // safe for concurrent use
	unserved    unserved    // safe for concurrent use
	queue       queue       // safe for concurrent use
	newKinds    newKinds    // safe for concurrent use
	progress    progress    // safe for concurrent use
	entriesMu   sync.Mutex  // of badEntries and ignoredSaid during a pass
	badEntries  map[string]bool
	twice       map[transform.Place]bool // objects that the archive holds twice
	merged      map[transform.Place]bool // objects of the cluster that two of the archive would become
	passes      int
	ignoredSaid bool
	tooManySaid bool // bad entries

	// preview is set when nothing is to be written.
	preview *preview
}

// newOperation returns an operation that has done nothing yet.
func newOperation(cfg Config, restore *velerov1.Restore) *operation {
	return &operation{
		Config: cfg.withDefaults(), restore: restore, report: report.NewRestore(),
		badEntries: map[string]bool{}, missing: map[schema.GroupVersionResource]bool{}, twice: map[transform.Place]bool{}, merged: map[transform.Place]bool{},
	}
}

// Run restores and tells the Restore object how it ended. The error is what
// kept it from doing even that.
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	restore, err := cfg.load(ctx)
	if err != nil {
		return report.Summary{}, err
	}
	o := newOperation(cfg, restore)
	o.record = record.Open(cfg.Dynamic, velerov1.SchemeGroupVersion.WithResource("restores"), "Restore", restore, cfg.Log)
	if restore.Status.Phase.Terminal() {
		cfg.Log.Info("the restore has already ended", "phase", restore.Status.Phase)
		o.dropRights(ctx)
		return ended(restore), nil
	}
	return o.end(ctx, o.run(ctx))
}

// run is the restore itself.
func (o *operation) run(ctx context.Context) error {
	stop := o.beat(ctx)
	defer stop()
	if err := o.begin(ctx); err != nil {
		return err
	}
	if err := o.look(ctx); err != nil {
		return err
	}
	err := o.restoreWaves(ctx)
	if err == nil {
		err = o.retryLeft(ctx)
	}
	if err == nil {
		err = o.waitForClaims(ctx)
	}
	return errors.Join(err, o.waitForHooks(ctx))
}

// look finds out all that can be known before anything is written.
func (o *operation) look(ctx context.Context) error {
	for _, step := range []func(context.Context) error{o.openSource, o.connect, o.inspect, o.makePlan, o.prepareDisks} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return o.namespaces.learn(ctx)
}

// beat gives signs of life and progress until the returned function is called.
func (o *operation) beat(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { o.record.Beat(ctx, 0) })
	done.Go(func() { o.tellProgress(ctx) })
	return func() { cancel(); done.Wait() }
}
