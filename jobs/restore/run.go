package restore

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// restoreWaves restores wave by wave.
func (o *operation) restoreWaves(ctx context.Context) error {
	all := cluster.Waves()
	for i, w := range all {
		if !o.plan.Waves[i] {
			continue
		}
		var err error
		if i == 0 {
			err = o.firstWave(ctx, w)
		} else {
			err = o.parallelPass(ctx, w.Name, func(item archive.Item) bool {
				return cluster.WaveOf(all, item.Resource) == i && o.selection.place(placeOf(item))
			}, o.restoreItem)
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
	err := o.parallelPass(ctx, w.Name, func(item archive.Item) bool {
		if item.Resource == namespaceKind {
			return o.selection.Namespace(item.Name)
		}
		return item.Resource == definitions && o.selection.place(placeOf(item))
	}, func(ctx context.Context, item archive.Item) {
		if item.Resource != namespaceKind {
			o.restoreItem(ctx, item)
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
