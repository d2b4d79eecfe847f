package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Executor runs a command in a container and blocks until it has ended or ctx
// has. stdout and stderr must accept writes from two goroutines, also after the
// return when ctx ended first. A command that ended with another status than
// zero is a k8s.io/client-go/util/exec.ExitError. Implementations are safe for
// concurrent use.
type Executor interface {
	Exec(ctx context.Context, namespace, pod, container string, command []string, stdout, stderr io.Writer) error
}

// Runner runs hooks and counts them. It is safe for concurrent use.
type Runner struct {
	Exec Executor
	// Log is told what runs, without arguments, and what it printed.
	Log *slog.Logger

	// grantee is who lacks a right that is missing; empty means the service account
	// of the backup.
	grantee           string
	attempted, failed atomic.Int64
}

// Attempted is the number of hooks that Run was given: those that an earlier
// failure kept from running, and those of pods that have ended, count.
func (r *Runner) Attempted() int { return int(r.attempted.Load()) }

// Failed is the number of hooks that failed, whatever followed.
func (r *Runner) Failed() int { return int(r.failed.Load()) }

// Run runs the hooks of one phase of a pod one after another. failures holds an
// error for each hook that failed. After one whose failure isn't to be passed
// over, in the phase Post only one that says Fail itself, none is run any more, and
// blocked is true: before the phase Pre has ended well the pod must not be taken.
// Nothing runs in a pod that has ended, and that is no failure.
//
// When ctx ends so does the wait for the hook at hand, and the rest isn't run.
// What a pre hook has stopped only its post hook starts again, so Post should be
// given a context that outlives a cancelled backup.
func (r *Runner) Run(ctx context.Context, pod Pod, phase string, hooks []Hook) (failures []error, blocked bool) {
	r.attempted.Add(int64(len(hooks)))
	log := r.Log.With("namespace", pod.Namespace, "resource", podResource.Resource, "name", pod.Name, "phase", phase)
	if len(hooks) > 0 && (pod.Phase == corev1.PodSucceeded || pod.Phase == corev1.PodFailed) {
		log.Info("hooks not run: the pod has ended", "hooks", len(hooks), "podPhase", pod.Phase)
		return nil, false
	}
	for i, hook := range hooks {
		err := r.run(ctx, log, pod, hook)
		if err == nil {
			continue
		}
		r.failed.Add(1)
		fails := modeIn(phase, hook.OnError) == velerov1.HookErrorModeFail
		consequence := ""
		if fails && phase == Pre {
			consequence = " keeps the pod out (onError Fail, the default)"
		}
		failures = append(failures, fmt.Errorf("%s hook %s%s: %w", phase, hook.title(), consequence, err))
		if fails || ctx.Err() != nil {
			if left := len(hooks) - i - 1; left > 0 {
				log.Info("remaining hooks not run: an earlier one failed", "hooks", left)
			}
			return failures, true
		}
	}
	return failures, false
}

// run runs one hook.
func (r *Runner) run(ctx context.Context, log *slog.Logger, pod Pod, hook Hook) error {
	if len(hook.Command) == 0 {
		return errors.New("its command is an empty list")
	}
	container, err := hook.containerOf(pod)
	if err != nil {
		return err
	}
	timeout := hook.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	log = log.With("hook", hook.title(), "container", container)
	log.Info("running hook", "program", program(hook.Command), "arguments", len(hook.Command)-1, "timeout", timeout)

	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var stdout, stderr tail
	begin := time.Now()
	err = r.Exec.Exec(limited, pod.Namespace, pod.Name, container, hook.Command, &stdout, &stderr)
	took := time.Since(begin).Round(time.Millisecond)
	logOutput(log, "stdout", &stdout)
	logOutput(log, "stderr", &stderr)
	if err == nil {
		log.Info("hook ended", "took", took)
		return nil
	}
	f := failure{
		pod: pod, container: container, command: hook.Command, stderr: stderr.String(), err: err,
		grantee: cmp.Or(r.grantee, "service account of the backup"),
	}
	switch {
	case ctx.Err() != nil:
		f.interrupted = context.Cause(ctx)
	case limited.Err() != nil:
		f.timeout = timeout
	}
	return &f
}

func logOutput(log *slog.Logger, stream string, out *tail) {
	if text := out.String(); text != "" {
		log.Info("output of hook", stream, text)
	}
}

// containerOf returns the container that the hook runs in.
func (h Hook) containerOf(pod Pod) (string, error) {
	switch {
	case len(pod.Containers) == 0:
		return "", errors.New("the pod has no containers")
	case h.Container == "":
		return pod.Containers[0], nil
	case !slices.Contains(pod.Containers, h.Container):
		return "", fmt.Errorf("the pod has no container %q; hint: it has %q", h.Container, pod.Containers)
	}
	return h.Container, nil
}

// title names the hook to a person.
func (h Hook) title() string {
	if h.Name == "" {
		return "(" + h.Source + ")"
	}
	return fmt.Sprintf("%q (%s)", h.Name, h.Source)
}
