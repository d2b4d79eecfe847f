package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// collector writes the selected objects into the archive.
type collector struct {
	*operation
	*plan
	archive *archive.Writer
	needs   *needs
	// candidates is nil until a claim asks for its volume.
	candidates *candidates
	total      atomic.Int64 // objects that the lists have announced
}

// collect writes everything that is selected, then what the selected objects
// need. Pods come first and alone: their hooks make the rest of the cluster
// ready to be read, and their claims are snapshotted while they are quiet. The
// other claims follow, with those that pods need, then volumes: by then it is known
// which of these a claim has had snapshotted. All other kinds are listed at once,
// while drivers and clouds copy what they cut.
func (c *collector) collect(ctx context.Context) error {
	stop := c.showProgress(ctx)
	defer stop()
	err := inOrder(ctx,
		c.listFirst, c.neededPodsAndClaims, c.listVolumes, c.listRest, c.related, c.readySnapshots, c.relatedToAll)
	if err != nil {
		return err
	}
	if c.report.Items() == 0 {
		c.report.Add(report.Error, ref.Object{}, errors.New("the selection matches nothing"))
	}
	return nil
}

// listFirst stores pods, then claims.
func (c *collector) listFirst(ctx context.Context) error {
	for _, gr := range []schema.GroupResource{podResource, claimResource} {
		if err := c.listWanted(ctx, gr); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) listVolumes(ctx context.Context) error { return c.listWanted(ctx, volumeResource) }

// listWanted stores the selected objects of a kind, version by version.
func (c *collector) listWanted(ctx context.Context, gr schema.GroupResource) error {
	for _, k := range c.versions(gr) {
		if !k.wanted {
			continue
		}
		if err := c.listKind(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// listRest stores the selected objects of all other kinds.
func (c *collector) listRest(ctx context.Context) error {
	c.watchSecrets()
	var rest []*kind
	for _, k := range c.kinds {
		if k.wanted && !slices.Contains([]schema.GroupResource{podResource, claimResource, volumeResource}, k.GroupResource()) {
			rest = append(rest, k)
		}
	}
	return c.listAll(ctx, rest)
}

// showProgress writes the progress into the Backup, as it changes but at most every
// second, until the returned function is called.
func (c *collector) showProgress(ctx context.Context) func() {
	telling, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-telling.Done():
				return
			case <-ticker.C:
				c.tellProgress(telling)
			}
		}
	})
	return func() { cancel(); running.Wait(); c.tellCopied(ctx) }
}

// tellProgress writes how many objects are stored, and how many snapshots are ready.
func (c *collector) tellProgress(ctx context.Context) {
	done := c.report.Items()
	status := map[string]any{"progress": map[string]any{"totalItems": max(done, int(c.total.Load())), "itemsBackedUp": done}}
	maps.Copy(status, c.snapshotStatus())
	c.record.Tell(ctx, status, c.copiedNote())
}

// listAll lists kinds at once.
func (c *collector) listAll(ctx context.Context, kinds []*kind) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cluster.MaxParallel)
	for _, k := range kinds {
		group.Go(func() error { return c.listKind(ctx, k) })
	}
	return group.Wait()
}

// listKind stores every selected object of one kind: those that the spec puts
// in order first.
func (c *collector) listKind(ctx context.Context, k *kind) error {
	taker := c.taker(k)
	if err := c.takeOrdered(ctx, k, taker); err != nil {
		return err
	}
	visit := func(obj cluster.Object) error {
		if k.done[placeOf(obj)] {
			return nil
		}
		k.coverage.Listed++
		if reason := c.unselected(k, obj); reason != "" {
			c.skip(ctx, k, placeOf(obj), reason)
			return nil
		}
		return taker.take(ctx, obj, false)
	}
	var err error
	if names, all := c.objects.Literal(k.GroupResource()); all && len(names) > 0 {
		err = c.getEach(ctx, k, names, visit)
	} else {
		err = c.listEach(ctx, k, visit)
	}
	if err != nil {
		return err
	}
	if err := taker.end(ctx); err != nil {
		return err
	}
	return k.close()
}

// listEach lists a kind in the namespaces in which it is selected.
func (c *collector) listEach(ctx context.Context, k *kind, visit func(cluster.Object) error) error {
	for _, ns := range c.listedNamespaces(k) {
		opts := cluster.ListOptions{Namespace: ns, OnStale: func() { c.stale(k) }}
		if !isNamespaces(k.GroupResource()) {
			opts.LabelSelector = c.filter.Selector()
		}
		announced := 0
		opts.OnPage = func(seen, remaining int) {
			c.total.Add(int64(seen + remaining - announced))
			announced = seen + remaining
		}
		err := c.visitAll(ctx, k, opts, visit)
		if err != nil {
			return err
		}
	}
	return nil
}

// visitAll lists, and reports a list that fails: the backup goes on without the
// rest of it. An error ends the backup.
func (c *collector) visitAll(ctx context.Context, k *kind, opts cluster.ListOptions, visit func(cluster.Object) error) error {
	var ours error
	err := c.lister.List(ctx, k.Resource, opts, func(obj cluster.Object) error {
		ours = visit(obj)
		return ours
	})
	if ours != nil {
		return ours
	}
	return c.listFailed(ctx, k, opts.Namespace, err)
}

func (c *collector) stale(k *kind) {
	c.report.Add(report.Warning, ref.Object{}, fmt.Errorf(
		"%s: the list took longer than the API server keeps a snapshot; its later part is newer than its earlier part", k.coverage.Resource))
}

// listFailed reports a failed list; the error it returns ends the backup.
func (c *collector) listFailed(ctx context.Context, k *kind, ns string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case apierrors.IsMethodNotSupported(err):
		k.state(report.KindNotListable, "the API server doesn't list it")
		return nil
	case apierrors.IsForbidden(err):
		err = fmt.Errorf("%w; hint: grant \"list %s\" to the executor's service account", err, k.coverage.Resource)
		k.state(report.KindForbidden, err.Error())
	case apierrors.IsNotFound(err):
		c.report.Add(report.Warning, ref.Object{}, fmt.Errorf("%s is no longer served: %w", k.coverage.Resource, err))
		k.state(report.KindFailed, err.Error())
		return nil
	default:
		k.state(report.KindFailed, err.Error())
	}
	c.report.Add(report.Error, ref.Object{Resource: k.GroupVersionResource, Namespace: ns}, err)
	return nil
}
