package hooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// maxLooks is how many pods are read at once.
	maxLooks = 8
	// watchTime is how long a watch lasts. Pods are read again with the next, in
	// case that an event got lost.
	watchTime = 5 * time.Minute
)

// pauses are those before a watch or a read that failed is tried again.
func pauses() wait.Backoff {
	return wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 5, Cap: 15 * time.Second}
}

// scope is a namespace, or all of them, that is watched while pods of it wait.
type scope struct {
	pods   int // that wait
	cancel context.CancelFunc
}

// enter registers a pod, and reports whether its scope is watched already: then
// what happened to the pod until now may have been missed.
func (r *PostRunner) enter(ctx context.Context, p *restored) (watched bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pods[types.NamespacedName{Namespace: p.pod.Namespace, Name: p.pod.Name}] = p
	p.scope = p.pod.Namespace
	if _, ok := r.scopes[p.scope]; !ok && len(r.scopes) >= r.opts.MaxWatches {
		p.scope = metav1.NamespaceAll
	}
	s, watched := r.scopes[p.scope]
	if !watched {
		// It serves other pods, too, and ends with the last of them.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		s = &scope{cancel: cancel}
		r.scopes[p.scope] = s
		r.all.Go(func() { r.watch(ctx, p.scope) })
	}
	s.pods++
	return watched
}

// leave ends one turn of a pod, and with the last of them what was for the pod.
func (r *PostRunner) leave(p *restored) {
	if p.left.Add(-1) > 0 {
		return
	}
	p.cancel(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pods, types.NamespacedName{Namespace: p.pod.Namespace, Name: p.pod.Name})
	s := r.scopes[p.scope]
	if s.pods--; s.pods == 0 {
		s.cancel()
		delete(r.scopes, p.scope)
	}
}

// watch tells the pods of a scope how they are until ctx ends. Where watching
// isn't possible, for lack of a right for example, the pods are read now and then.
func (r *PostRunner) watch(ctx context.Context, scope string) {
	for pause := pauses(); ctx.Err() == nil; sleep(ctx, pause.Step()) {
		if err := r.watchOnce(ctx, scope); err != nil {
			r.commands.Log.Debug("pods not watched", "namespace", scope, "error", err)
			continue
		}
		pause = pauses()
	}
}

// watchOnce watches from now on, and reads the waiting pods of the scope for what
// happened before. It returns nil when the watch has ended in the ordinary way.
func (r *PostRunner) watchOnce(ctx context.Context, scope string) error {
	both, ctx := errgroup.WithContext(ctx)
	events, err := r.openWatch(ctx, scope)
	if err != nil {
		return errors.Join(err, r.lookAll(ctx, scope))
	}
	defer events.Stop()
	both.Go(func() error { return r.lookAll(ctx, scope) })
	both.Go(func() error { return r.tellAll(ctx, events) })
	return both.Wait()
}

// tellAll tells the pods of the events of a watch until it ends.
func (r *PostRunner) tellAll(ctx context.Context, events watch.Interface) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, more := <-events.ResultChan():
			switch live, isPod := event.Object.(*corev1.Pod); {
			case !more:
				return nil
			case event.Type == watch.Error:
				return apierrors.FromObject(event.Object)
			case isPod:
				r.tell(event.Type, live)
			}
		}
	}
}

// openWatch begins a watch with the present state, which it doesn't tell.
func (r *PostRunner) openWatch(ctx context.Context, scope string) (watch.Interface, error) {
	pods := r.kube.CoreV1().Pods(scope)
	list, err := pods.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	seconds := int64(watchTime / time.Second)
	events, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion, TimeoutSeconds: &seconds})
	if err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	return events, nil
}

// tell tells the pod of an event, if its hooks wait.
func (r *PostRunner) tell(event watch.EventType, live *corev1.Pod) {
	r.mu.Lock()
	p := r.pods[types.NamespacedName{Namespace: live.Namespace, Name: live.Name}]
	r.mu.Unlock()
	if p == nil {
		return
	}
	p.observe(live)
	if event == watch.Deleted {
		p.gone()
	}
}

// lookAll reads the waiting pods of a scope.
func (r *PostRunner) lookAll(ctx context.Context, scope string) error {
	var waiting []*restored
	r.mu.Lock()
	for _, p := range r.pods {
		if p.scope == scope {
			waiting = append(waiting, p)
		}
	}
	r.mu.Unlock()
	readers := &errgroup.Group{}
	readers.SetLimit(maxLooks)
	for _, p := range waiting {
		readers.Go(func() error { return r.look(ctx, p) })
	}
	return readers.Wait()
}

// lookUntilSeen reads a pod once, as often as that needs.
func (r *PostRunner) lookUntilSeen(ctx context.Context, p *restored) {
	for pause := pauses(); r.look(ctx, p) != nil && ctx.Err() == nil; {
		sleep(ctx, pause.Step())
	}
}

// look reads a pod. Its error is one that may pass.
func (r *PostRunner) look(ctx context.Context, p *restored) error {
	select {
	case r.looks <- struct{}{}:
		defer func() { <-r.looks }()
	case <-ctx.Done():
		return ctx.Err()
	}
	live, err := r.kube.CoreV1().Pods(p.pod.Namespace).Get(ctx, p.pod.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		p.observe(live)
	case apierrors.IsNotFound(err):
		p.gone()
	case apierrors.IsForbidden(err):
		p.end(fmt.Errorf("get pod: %w; hint: grant \"get pods\" in namespace %q to the %s", err, p.pod.Namespace, r.commands.grantee))
	default:
		return fmt.Errorf("get pod: %w", err)
	}
	return nil
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
