package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// measureAll counts first, which warms everything up, and then takes turns.
func (b *restoreBench) measureAll(ctx context.Context) (*restoreResult, error) {
	r := &restoreResult{set: b.set, sums: b.mix.sums, floors: map[int][]createResult{}}
	if err := b.countAll(ctx, r); err != nil {
		return nil, fmt.Errorf("count requests: %w", err)
	}
	for n := range b.set.rounds {
		if err := b.round(ctx, r, n); err != nil {
			return nil, fmt.Errorf("round %d: %w", n+1, err)
		}
		progress("round %d of %d: floor %.0f/s, ours %.0f/s; all there: lists %.2f s, ours %.2f s", n+1, b.set.rounds,
			last(r.floors[r.bestWorkers()]).rate(), r.rate(last(r.ours)), last(r.lists).Seconds, last(r.again).Seconds)
	}
	if b.profile != "" {
		if err := b.profileRestores(ctx); err != nil {
			return nil, fmt.Errorf("profile: %w", err)
		}
	}
	if b.set.variants {
		if err := b.measureApplied(ctx, r); err != nil {
			return nil, fmt.Errorf("all applied: %w", err)
		}
	}
	return r, nil
}

// countAll counts the requests of a restore into nothing and, with variants, of
// one that meets all it would create, and of one into namespaces that are there
// but empty.
func (b *restoreBench) countAll(ctx context.Context, r *restoreResult) error {
	progress("count requests")
	var first string
	var err error
	if r.requests, first, err = b.counted(ctx, expected{archived: b.mix}); err != nil {
		return err
	}
	if !b.set.variants {
		return b.wipe(ctx)
	}
	if r.againRequests, _, err = b.counted(ctx, expected{archived: b.mix, creator: first, found: len(b.mix.sums)}); err != nil {
		return fmt.Errorf("all there: %w", err)
	}
	if err := b.wipe(ctx); err != nil {
		return err
	}
	namespaces := b.set.namespaces()
	if err := b.createNamespaces(ctx, namespaces); err != nil {
		return err
	}
	if r.existingRequests, _, err = b.counted(ctx, expected{archived: b.mix, found: len(namespaces)}); err != nil {
		return fmt.Errorf("namespaces there: %w", err)
	}
	return b.wipe(ctx)
}

func (b *restoreBench) createNamespaces(ctx context.Context, names []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loaders)
	for _, name := range names {
		group.Go(func() error {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			_, err := b.kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}

// counted restores through the counting proxy. Without a creator it is this
// restore that has to create the objects.
func (b *restoreBench) counted(ctx context.Context, e expected) (_ *requests, name string, err error) {
	c, err := startCounter(b.account)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	kubeconfig, err := b.writeKubeconfig("counted.kubeconfig", &clientcmdapi.Cluster{Server: c.url}, "")
	if err != nil {
		return nil, "", err
	}
	restore := newRestore("counted", e.backup)
	if _, err := b.restore(ctx, restore, kubeconfig); err != nil {
		return nil, "", err
	}
	if e.creator == "" {
		e.creator = restore.Name
	}
	if err := b.verify(ctx, restore.Name, e); err != nil {
		return nil, "", err
	}
	if c.total == 0 {
		return nil, "", errors.New("none came by")
	}
	return &c.requests, restore.Name, nil
}

// round measures the floors and a restore, each into nothing, and a restore that
// meets all it would create beside the lists of the same kinds. What comes first
// changes from round to round.
func (b *restoreBench) round(ctx context.Context, r *restoreResult, n int) error {
	steps := []func() error{func() error { return b.restoreTwice(ctx, r) }}
	for _, workers := range b.set.workers {
		steps = append(steps, func() error {
			result, err := b.floor(ctx, b.mix, workers)
			if err != nil {
				return fmt.Errorf("floor with %d workers: %w", workers, err)
			}
			r.floors[workers] = append(r.floors[workers], *result)
			return nil
		})
	}
	for i := range steps {
		if err := steps[(i+n)%len(steps)](); err != nil {
			return err
		}
	}
	return nil
}

// floor creates the objects with a plain client, looks whether it did, and
// wipes.
func (b *restoreBench) floor(ctx context.Context, a *archived, workers int) (*createResult, error) {
	result, err := b.create(ctx, createTask{File: a.file, Workers: workers})
	if err != nil {
		return nil, err
	}
	live, err := b.live(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := a.sums.compare(live); err != nil {
		return nil, err
	}
	return result, b.wipe(ctx)
}

// restoreTwice restores into nothing, and then once more over it.
func (b *restoreBench) restoreTwice(ctx context.Context, r *restoreResult) error {
	first, ours, err := b.restoreInto(ctx, b.mix, "ours")
	if err != nil {
		return err
	}
	r.ours = append(r.ours, *ours)
	lists, err := b.lists(ctx)
	if err != nil {
		return fmt.Errorf("lists: %w", err)
	}
	r.lists = append(r.lists, *lists)
	restore := newRestore("again", b.mix.backup)
	again, err := b.restore(ctx, restore, b.account)
	if err != nil {
		return fmt.Errorf("all there: %w", err)
	}
	r.again = append(r.again, *again)
	e := expected{archived: b.mix, creator: first, found: len(b.mix.sums)}
	if err := b.verify(ctx, restore.Name, e); err != nil {
		return fmt.Errorf("all there: %w", err)
	}
	return b.wipe(ctx)
}

// restoreInto restores into nothing.
func (b *restoreBench) restoreInto(ctx context.Context, a *archived, suffix string) (name string, _ *taken, _ error) {
	restore := newRestore(suffix, a.backup)
	ours, err := b.restore(ctx, restore, b.account)
	if err != nil {
		return "", nil, err
	}
	return restore.Name, ours, b.verify(ctx, restore.Name, expected{archived: a, creator: restore.Name})
}

// lists reads pages of the restored kinds, and does nothing with them.
func (b *restoreBench) lists(ctx context.Context) (*taken, error) {
	task := floorTask{Kubeconfig: b.account, Plain: true}
	for _, resource := range restoredResources {
		task.Paths = append(task.Paths, collection(resource))
	}
	input, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	time.Sleep(settle)
	return b.run(ctx, input, self, floorCommand)
}

// collection is the path of all objects of a kind.
func collection(resource schema.GroupVersionResource) string {
	if resource.Group == "" {
		return path.Join("/api", resource.Version, resource.Resource)
	}
	return path.Join("/apis", resource.Group, resource.Version, resource.Resource)
}

// measureApplied measures objects that need a second write, which the floor
// makes too.
func (b *restoreBench) measureApplied(ctx context.Context, r *restoreResult) error {
	progress("the same, applied on the server side")
	if err := b.makeApplied(ctx); err != nil {
		return err
	}
	r.applied = &appliedResult{}
	var err error
	if r.applied.requests, _, err = b.counted(ctx, expected{archived: b.applied}); err != nil {
		return err
	}
	if err := b.wipe(ctx); err != nil {
		return err
	}
	floor, err := b.floor(ctx, b.applied, r.bestWorkers())
	if err != nil {
		return fmt.Errorf("floor with %d workers: %w", r.bestWorkers(), err)
	}
	r.applied.floor = *floor
	_, ours, err := b.restoreInto(ctx, b.applied, "applied")
	if err != nil {
		return err
	}
	r.applied.ours = *ours
	return b.wipe(ctx)
}
