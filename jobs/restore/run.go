package restore

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// restoreWaves restores wave by wave.
func (o *operation) restoreWaves(ctx context.Context) error {
	isDefinition := func(k *kind) bool { return k.Resource == definitions }
	if err := o.learn(ctx, isDefinition); err != nil {
		return err
	}
	for i, w := range o.waves {
		if !o.plan.Waves[i] {
			continue
		}
		var err error
		if i == 0 {
			if err = o.firstWave(ctx, w); err == nil {
				err = o.learn(ctx, func(k *kind) bool { return !isDefinition(k) })
			}
		} else {
			err = o.parallelPass(ctx, o.wave(i), o.item)
		}
		if err != nil {
			return err
		}
		if err := o.retry(ctx, waveRetry); err != nil {
			return err
		}
	}
	return nil
}

// wave is the pass of a wave.
func (o *operation) wave(i int) scan {
	return scan{
		purpose: o.waves[i].Name,
		member: func(m archive.Member) bool {
			return cluster.WaveOf(o.waves, schema.ParseGroupResource(m.Resource)) == i && o.touches(m, false)
		},
		want: func(item archive.Item) bool {
			return o.stored(item) && cluster.WaveOf(o.waves, item.Resource) == i && o.selection.place(placeOf(item))
		},
	}
}

// item does what is to be done about one object.
func (o *operation) item(ctx context.Context, item archive.Item) {
	if o.preview != nil {
		o.previewItem(ctx, item)
		return
	}
	if o.holdBack(item) {
		return
	}
	o.restoreItem(ctx, item)
}

func placeOf(item archive.Item) transform.Place {
	return transform.Place{Resource: item.Resource, Namespace: item.Namespace, Name: item.Name}
}

// firstWave restores the definitions of kinds and makes the namespaces. The
// archived Namespaces stay in memory until each is needed.
func (o *operation) firstWave(ctx context.Context, w cluster.Wave) error {
	var (
		mu     sync.Mutex
		wanted = o.plan.Namespaces
	)
	if o.selection.HasLabels() {
		wanted = nil // they are made before their first object that matches
	}
	first := o.wave(0)
	err := o.parallelPass(ctx, scan{
		purpose: w.Name, member: first.member,
		want: func(item archive.Item) bool {
			if item.Resource == namespaceKind {
				return o.stored(item) && o.selection.Namespace(item.Name)
			}
			return first.want(item)
		},
	}, func(ctx context.Context, item archive.Item) {
		if item.Resource != namespaceKind {
			o.item(ctx, item)
			return
		}
		if o.keepNamespace(item) {
			mu.Lock()
			wanted = append(wanted, item.Name)
			mu.Unlock()
		}
	})
	if err != nil {
		return err
	}
	if err := o.makeNamespaces(ctx, wanted); err != nil {
		return err
	}
	return o.refreshKinds(ctx)
}

// keepNamespace notes an archived Namespace and reports whether it is itself
// selected, even if nothing in it is.
func (o *operation) keepNamespace(item archive.Item) bool {
	obj, err := parse(item)
	if err != nil {
		o.report.Add(report.Error, ref.Object{Resource: namespaceGVR, Name: item.Name}, err)
		return false
	}
	o.namespaces.keep(obj)
	selected := o.selection.place(placeOf(item)) && o.selection.object(placeOf(item), obj.Labels())
	if selected {
		o.progress.step()
	}
	return selected
}

// makeNamespaces makes the targets of namespaces of the backup. What goes wrong
// is reported by each.
func (o *operation) makeNamespaces(ctx context.Context, sources []string) error {
	workers := &errgroup.Group{}
	workers.SetLimit(o.Workers)
	for _, source := range sources {
		workers.Go(func() error {
			_ = o.namespaces.ensure(ctx, source) // reported, and again when its objects come
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
