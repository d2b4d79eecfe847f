package hooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Why hooks aren't run.
var (
	errDeleted = errors.New("the pod was deleted")
	// errStopped follows the failure of another hook of the pod. Only that one
	// counts.
	errStopped = errors.New("an earlier hook failed")
)

// restored is a pod whose hooks wait or run.
type restored struct {
	pod    Pod
	turns  []*turn
	scope  string
	cancel context.CancelCauseFunc // ends its hooks
	// left is the number of turns that haven't ended.
	left atomic.Int32
	// over is closed when none of its hooks can be begun any more.
	over chan struct{}

	mu  sync.Mutex // guards what follows, and the turns' seen
	why error      // set once, before over is closed
	uid types.UID  // empty before the pod was seen, if nobody told
}

// turn is the hooks of one container, in order.
type turn struct {
	container string
	// ready is set when the container must be ready.
	ready bool
	// up is closed when the container has started.
	up chan struct{}
	// seen says how the container was when it was last seen and not up; empty before.
	seen string
	// hooks are those that are left; they belong to the goroutine that follows.
	hooks []waitingHook
}

// waitingHook is a hook and the time until which its turn must have come.
type waitingHook struct {
	PostHook
	order    int // in its pod
	wait     time.Duration
	deadline time.Time
}

func newRestored(pod Pod, hooks []PostHook, defaultWait time.Duration, cancel context.CancelCauseFunc) *restored {
	p := &restored{pod: pod, uid: pod.UID, cancel: cancel, over: make(chan struct{})}
	now := time.Now()
	for i, hook := range hooks {
		wait := hook.WaitTimeout
		if wait <= 0 {
			wait = defaultWait
		}
		t := p.turnOf(hook)
		t.ready = t.ready || hook.WaitForReady
		t.hooks = append(t.hooks, waitingHook{PostHook: hook, order: i, wait: wait, deadline: now.Add(wait)})
	}
	p.left.Store(int32(len(p.turns)))
	return p
}

// turnOf returns the turn of the hook's container.
func (p *restored) turnOf(hook PostHook) *turn {
	container := hook.Container
	if container == "" && len(p.pod.Containers) > 0 {
		container = p.pod.Containers[0]
	}
	i := slices.IndexFunc(p.turns, func(t *turn) bool { return t.container == container })
	if i < 0 {
		i = len(p.turns)
		p.turns = append(p.turns, &turn{container: container, up: make(chan struct{})})
	}
	return p.turns[i]
}

// deadline is the earliest of a turn that has hooks left.
func (t *turn) deadline() time.Time {
	return slices.MinFunc(t.hooks, func(a, b waitingHook) int { return a.deadline.Compare(b.deadline) }).deadline
}

// end lets no hook of the pod begin any more. The first reason stays.
func (p *restored) end(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked(why)
}

func (p *restored) endLocked(why error) {
	if p.why == nil {
		p.why = why
		close(p.over)
	}
}

// reason is why no hook of the pod is begun any more; nil as long as they are.
func (p *restored) reason() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

// observe takes in how the pod is.
func (p *restored) observe(live *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.uid == "" {
		p.uid = live.UID
	}
	switch {
	case live.UID != p.uid:
		p.endLocked(errors.New("the pod was deleted, and another has taken its name"))
		return
	case live.DeletionTimestamp != nil:
		p.endLocked(errDeleted)
		return
	case live.Status.Phase == corev1.PodSucceeded, live.Status.Phase == corev1.PodFailed:
		p.endLocked(fmt.Errorf("the pod has ended (phase %s)", live.Status.Phase))
		return
	}
	for _, t := range p.turns {
		t.observe(live)
	}
}

// gone takes in that there is no such pod.
func (p *restored) gone() { p.end(errDeleted) }

// observe takes in how the container is. The caller holds the pod's lock.
func (t *turn) observe(live *corev1.Pod) {
	select {
	case <-t.up:
		return
	default:
	}
	i := slices.IndexFunc(live.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == t.container })
	if i < 0 {
		t.seen = describePod(live)
		return
	}
	status := live.Status.ContainerStatuses[i]
	if status.State.Running != nil && (status.Ready || !t.ready) {
		close(t.up)
		return
	}
	t.seen = describeState(status.State)
}

// late says why the turn of a hook hasn't come in time.
func (p *restored) late(t *turn, hook waitingHook) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-t.up:
		return fmt.Errorf("earlier hooks in container %q took longer than its waitTimeout of %s", t.container, hook.wait)
	default:
	}
	wanted := "running"
	if t.ready {
		wanted = "ready"
	}
	err := fmt.Errorf("container %q isn't %s after %s", t.container, wanted, hook.wait)
	if t.seen != "" {
		err = fmt.Errorf("%w: %s", err, t.seen)
	}
	return err
}

// describePod says why nothing is known of a container yet.
func describePod(live *corev1.Pod) string {
	for _, c := range live.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return lastLines(fmt.Sprintf("the pod is on no node: %s: %s", c.Reason, c.Message))
		}
	}
	return "no node has reported on it"
}

// describeState says what a container is doing that isn't up.
func describeState(state corev1.ContainerState) string {
	switch {
	case state.Running != nil:
		return "it runs, but isn't ready"
	case state.Terminated != nil:
		return printable(fmt.Sprintf("it has ended: %s, exit code %d", state.Terminated.Reason, state.Terminated.ExitCode))
	case state.Waiting != nil && state.Waiting.Reason != "":
		return printable("it waits: " + state.Waiting.Reason)
	}
	return "it hasn't been started"
}
