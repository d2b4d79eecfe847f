// Package restore is what a restore Job does: a straight line from the Restore
// object over waves of writes to the results in the bucket. The archive is
// streamed once per wave and never unpacked; what is in memory doesn't grow
// with its size.
package restore

import (
	"cmp"
	"context"
	"sync"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
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
	// Workers is how many objects are written at once; 0 means 32.
	Workers int
	// RetryFor is how long objects that failed for a reason that may pass are
	// tried again after the last success of any; 0 means 60 seconds.
	RetryFor time.Duration
	// TerminatingTimeout is how long to wait for a namespace on its way out;
	// 0 means 10 minutes.
	TerminatingTimeout time.Duration
	// ResourceTimeout is how long to wait for a new kind to be served; 0 means
	// a minute.
	ResourceTimeout time.Duration
}

func (c Config) withDefaults() Config {
	c.Workers = cmp.Or(c.Workers, 32)
	c.RetryFor = cmp.Or(c.RetryFor, time.Minute)
	c.TerminatingTimeout = cmp.Or(c.TerminatingTimeout, 10*time.Minute)
	c.ResourceTimeout = cmp.Or(c.ResourceTimeout, time.Minute)
	return c
}

// operation is one run of a restore. Its fields are set step by step; from the
// first wave on they are only read, but for those that say otherwise.
type operation struct {
	Config
	restore *velerov1.Restore
	record  *record.Record
	report  *report.Report // safe for concurrent use
	source  *source

	contents  *contents
	selection *selection
	plan      plan
	served    *cluster.Resources // changes between waves

	transformer *transform.Transformer
	volumes     *transform.Volumes // safe for concurrent use
	writer      *cluster.Writer
	namespaces  *namespaces // safe for concurrent use
	unserved    unserved    // safe for concurrent use
	queue       queue       // safe for concurrent use
	newKinds    newKinds    // safe for concurrent use
	progress    progress    // safe for concurrent use
	badEntries  map[string]bool
	passes      int
}

// Run restores and tells the Restore object how it ended. The error is what
// kept it from doing even that.
func Run(ctx context.Context, cfg Config) (report.Summary, error) {
	cfg = cfg.withDefaults()
	restore, err := cfg.load(ctx)
	if err != nil {
		return report.Summary{}, err
	}
	o := &operation{
		Config: cfg, restore: restore, report: report.NewRestore(), badEntries: map[string]bool{},
		record: record.Open(cfg.Dynamic, velerov1.SchemeGroupVersion.WithResource("restores"), "Restore", restore, cfg.Log),
	}
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
	if err := o.openSource(ctx); err != nil {
		return err
	}
	if err := o.connect(ctx); err != nil {
		return err
	}
	if err := o.inspect(ctx); err != nil {
		return err
	}
	if err := o.makePlan(ctx); err != nil {
		return err
	}
	if err := o.restoreWaves(ctx); err != nil {
		return err
	}
	return o.retryLeft(ctx)
}

// beat gives signs of life and progress until the returned function is called.
func (o *operation) beat(ctx context.Context) func() {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { o.record.Beat(ctx, 0) })
	done.Go(func() { o.tellProgress(ctx) })
	return func() { cancel(); done.Wait() }
}
