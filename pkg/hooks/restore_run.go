package hooks

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// PostOptions bound what a PostRunner does. The zero value is usable; less than
// zero is as zero.
type PostOptions struct {
	// DefaultWait is the WaitTimeout of hooks that name none; 0 means 10 minutes.
	DefaultWait time.Duration
	// Parallel is how many commands run at once; 0 means 16.
	Parallel int
	// MaxWatches is how many namespaces are watched each by itself; one more watch,
	// of all namespaces, is for the pods of the others. 0 means 32.
	MaxWatches int
}

// PostFailure is a hook that failed, or that wasn't run and should have been.
type PostFailure struct {
	// Namespace and Pod are the pod's in the cluster.
	Namespace, Pod string
	// Continue is set when the command ran and failed, and its onError says that
	// this is no failure of the restore.
	Continue bool
	// Err names the hook and says what happened, and holds no arguments.
	Err error

	order int // of the hook in its pod
}

// PostRunner runs the hooks of restored pods once their containers have started.
// It watches the namespaces in which pods wait, so that thousands of them cost
// the API server one read each. It is safe for concurrent use.
type PostRunner struct {
	kube     kubernetes.Interface
	commands Runner
	opts     PostOptions
	// slots bounds the commands that run at once, looks the pods read at once.
	slots, looks chan struct{}

	mu       sync.Mutex // guards what follows
	pods     map[types.NamespacedName]*restored
	scopes   map[string]*scope // by namespace; metav1.NamespaceAll for all
	failures []PostFailure

	all               sync.WaitGroup // everything that was started
	attempted, failed atomic.Int64
}

// NewPostRunner returns a PostRunner that watches pods with kube, runs commands
// with exec, and tells log what runs and what it printed. It does nothing before
// the first Start.
func NewPostRunner(kube kubernetes.Interface, exec Executor, log *slog.Logger, opts PostOptions) *PostRunner {
	opts.DefaultWait = cmp.Or(max(opts.DefaultWait, 0), 10*time.Minute)
	opts.Parallel = cmp.Or(max(opts.Parallel, 0), 16)
	opts.MaxWatches = cmp.Or(max(opts.MaxWatches, 0), 32)
	return &PostRunner{
		kube: kube, opts: opts,
		commands: Runner{Exec: exec, Log: log, grantee: "role of the restore"},
		slots:    make(chan struct{}, opts.Parallel), looks: make(chan struct{}, maxLooks),
		pods: map[types.NamespacedName]*restored{}, scopes: map[string]*scope{},
	}
}

// Attempted is the number of hooks that Start was given, also of those that an
// earlier failure kept from running.
func (r *PostRunner) Attempted() int { return int(r.attempted.Load()) }

// Failed is the number of hooks that failed, whatever their onError, or that
// weren't run and should have been.
func (r *PostRunner) Failed() int { return int(r.failed.Load()) }

// Start begins to wait for the containers of a pod, which is in the cluster
// under its namespace and name, and returns at once. The hooks of a container
// run one after another, and those of other containers of the pod beside them.
// After a hook with onError Fail has failed no other of its pod is begun; other
// pods go their own way. When ctx ends, so do commands that run, and the rest
// isn't run. Start must be called only once for a pod, and not after Wait.
func (r *PostRunner) Start(ctx context.Context, pod Pod, hooks []PostHook) {
	if len(hooks) == 0 {
		return
	}
	r.attempted.Add(int64(len(hooks)))
	// Reads that nobody waits for any more break off, which the client would log as
	// errors of its own.
	ctx, cancel := context.WithCancelCause(klog.NewContext(ctx, klog.Logger{}))
	p := newRestored(pod, hooks, r.opts.DefaultWait, cancel)
	r.log(p).Info("waiting for containers to run hooks in", "hooks", len(hooks))
	if r.enter(ctx, p) {
		r.all.Go(func() { r.lookUntilSeen(ctx, p) })
	}
	for _, t := range p.turns {
		r.all.Go(func() {
			defer r.leave(p)
			r.follow(ctx, p, t)
		})
	}
}

// Wait returns when all hooks have ended, with those that failed, by namespace
// and pod and in order. When ctx ends, so does everything that was started.
func (r *PostRunner) Wait(ctx context.Context) []PostFailure {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.all.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		r.interrupt(context.Cause(ctx))
		<-ended
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.failures, func(a, b PostFailure) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.order, b.order))
	})
	return r.failures
}

// interrupt ends everything that was started.
func (r *PostRunner) interrupt(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pods {
		p.cancel(cause)
	}
}

// follow waits for the container of a turn and runs its hooks.
func (r *PostRunner) follow(ctx context.Context, p *restored, t *turn) {
	for len(t.hooks) > 0 {
		timer := time.NewTimer(time.Until(t.deadline()))
		select {
		case <-t.up:
			r.run(ctx, p, t)
		case <-p.over:
			r.drop(p, t, p.reason())
		case <-ctx.Done():
			r.drop(p, t, interrupted(ctx))
		case <-timer.C:
			r.expire(p, t)
		}
		timer.Stop()
	}
}

func interrupted(ctx context.Context) error {
	return fmt.Errorf("interrupted: %w", context.Cause(ctx))
}

// run runs the hooks of a turn whose container is up.
func (r *PostRunner) run(ctx context.Context, p *restored, t *turn) {
	for len(t.hooks) > 0 {
		hook := t.hooks[0]
		if time.Now().After(hook.deadline) {
			r.expire(p, t)
			continue
		}
		if reason := r.acquire(ctx, p); reason != nil {
			r.drop(p, t, reason)
			return
		}
		err := r.commands.run(ctx, r.log(p), p.pod, hook.Hook)
		<-r.slots
		t.hooks = t.hooks[1:]
		if err != nil {
			r.fail(p, hook, hook.OnError != velerov1.HookErrorModeFail && ctx.Err() == nil, err)
		}
	}
}

// acquire waits until one more command may run. Otherwise it returns why none of
// the pod may any more.
func (r *PostRunner) acquire(ctx context.Context, p *restored) error {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return interrupted(ctx)
	}
	reason := p.reason()
	if ctx.Err() != nil {
		reason = interrupted(ctx)
	}
	if reason != nil {
		<-r.slots
	}
	return reason
}

// expire fails the hooks of a turn that have waited for too long. One with
// onError Fail takes the others of its pod with it.
func (r *PostRunner) expire(p *restored, t *turn) {
	now := time.Now()
	var left []waitingHook
	for i, hook := range t.hooks {
		if now.Before(hook.deadline) {
			left = append(left, hook)
			continue
		}
		r.fail(p, hook, false, fmt.Errorf("not run: %w", p.late(t, hook)))
		if p.reason() != nil {
			t.hooks = append(left, t.hooks[i+1:]...)
			r.drop(p, t, p.reason())
			return
		}
	}
	t.hooks = left
}

// drop ends a turn whose hooks can't be run any more.
func (r *PostRunner) drop(p *restored, t *turn, reason error) {
	if reason == errStopped {
		r.log(p).Info("remaining hooks not run: an earlier one failed", "hooks", len(t.hooks))
		t.hooks = nil
		return
	}
	for _, hook := range t.hooks {
		r.fail(p, hook, false, fmt.Errorf("not run: %w", reason))
	}
	t.hooks = nil
}

// fail notes a failure, and ends the hooks of the pod if it is one that does.
func (r *PostRunner) fail(p *restored, hook waitingHook, passedOver bool, err error) {
	r.failed.Add(1)
	if hook.OnError == velerov1.HookErrorModeFail {
		p.end(errStopped)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, PostFailure{
		Namespace: p.pod.Namespace, Pod: p.pod.Name, Continue: passedOver, order: hook.order,
		Err: fmt.Errorf("restore hook %s: %w", hook.title(), err),
	})
}

func (r *PostRunner) log(p *restored) *slog.Logger {
	return r.commands.Log.With("namespace", p.pod.Namespace, "resource", podResource.Resource, "name", p.pod.Name)
}
