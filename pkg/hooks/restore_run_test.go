package hooks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
)

func TestPostRunner(t *testing.T) {
	t.Parallel()
	const second, minute = time.Second, time.Minute
	const badEnds = `run "bad" in container "app": exit code 1: no table`
	for _, c := range []struct {
		name  string
		hooks []hooks.PostHook
		pod   []func(*corev1.Pod) // as it was created
		play  func(s *stage)
		ran   string
		want  string
		took  time.Duration
	}{
		{
			name: "once the container runs", hooks: []hooks.PostHook{in("app", "a"), in("app", "b")},
			play: func(s *stage) { s.change(20*second, "web", runs("app")) },
			ran:  "app: a, app: b", took: 20 * second,
		},
		{
			name: "runs already", hooks: []hooks.PostHook{in("app", "a")}, pod: []func(*corev1.Pod){runs("app")},
			ran: "app: a",
		},
		{
			name: "the first container, if none is named", hooks: []hooks.PostHook{in("", "a")},
			pod: []func(*corev1.Pod){runs("app")}, ran: "app: a",
		},
		{
			name: "not for another container", hooks: []hooks.PostHook{in("db", "a"), in("app", "b")},
			play: func(s *stage) { s.change(second, "web", runs("app")); s.change(second, "web", runs("db")) },
			ran:  "app: b, db: a", took: 2 * second,
		},
		{
			name: "once the container is ready", hooks: []hooks.PostHook{in("app", "a"), in("app", "b", waitsForReady)},
			play: func(s *stage) { s.change(second, "web", runs("app")); s.change(second, "web", ready("app")) },
			ran:  "app: a, app: b", took: 2 * second,
		},
		{
			name: "Continue goes on", hooks: []hooks.PostHook{in("app", "bad"), in("app", "b")}, pod: []func(*corev1.Pod){runs("app")},
			ran: "app: bad, app: b", want: "shop/web: (bad): " + badEnds + " (passed over)",
		},
		{
			name: "Fail ends the hooks of the pod", hooks: []hooks.PostHook{in("app", "bad", fails), in("app", "b"), in("db", "c")},
			pod: []func(*corev1.Pod){runs("app")}, ran: "app: bad", want: "shop/web: (bad): " + badEnds,
		},
		{
			name: "Fail in one container lets the other's command end", hooks: []hooks.PostHook{in("db", "slow", takesLong), in("db", "b"), in("app", "bad", fails)},
			pod: []func(*corev1.Pod){runs("db")}, play: func(s *stage) { s.change(10*second, "web", runs("app")) },
			ran: "db: slow, app: bad", want: "shop/web: (bad): " + badEnds, took: minute,
		},
		{
			name: "an unset wait ends", hooks: []hooks.PostHook{in("app", "a"), in("app", "b")},
			want: `shop/web: (a): not run: container "app" isn't running after 10m0s: no node has reported on it` + "\n" +
				`shop/web: (b): not run: container "app" isn't running after 10m0s: no node has reported on it`,
			took: 10 * minute,
		},
		{
			name: "each its own wait, and what comes late is not run", hooks: []hooks.PostHook{in("app", "a", waits(5*second)), in("app", "b", waits(minute))},
			play: func(s *stage) { s.change(10*second, "web", runs("app")) },
			ran:  "app: b", want: `shop/web: (a): not run: container "app" isn't running after 5s: no node has reported on it`, took: 10 * second,
		},
		{
			name: "too late with Fail", hooks: []hooks.PostHook{in("app", "a", waits(5*second), fails), in("app", "b", waits(minute)), in("db", "c", waits(minute))},
			want: `shop/web: (a): not run: container "app" isn't running after 5s: no node has reported on it`, took: 5 * second,
		},
		{
			name: "why it isn't ready", hooks: []hooks.PostHook{in("app", "a", waits(minute), waitsForReady)}, pod: []func(*corev1.Pod){runs("app")},
			want: `shop/web: (a): not run: container "app" isn't ready after 1m0s: it runs, but isn't ready`, took: minute,
		},
		{
			name: "why it waits", hooks: []hooks.PostHook{in("app", "a", waits(minute))},
			pod:  []func(*corev1.Pod){state("app", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}, false)},
			want: `shop/web: (a): not run: container "app" isn't running after 1m0s: it waits: ImagePullBackOff`, took: minute,
		},
		{
			name: "that it has ended", hooks: []hooks.PostHook{in("app", "a", waits(minute))},
			pod:  []func(*corev1.Pod){state("app", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 3}}, false)},
			want: `shop/web: (a): not run: container "app" isn't running after 1m0s: it has ended: Error, exit code 3`, took: minute,
		},
		{
			name: "a state without words", hooks: []hooks.PostHook{in("app", "a", waits(minute))},
			pod:  []func(*corev1.Pod){state("app", corev1.ContainerState{}, false)},
			want: `shop/web: (a): not run: container "app" isn't running after 1m0s: it hasn't been started`, took: minute,
		},
		{
			name: "why it is on no node", hooks: []hooks.PostHook{in("app", "a", waits(minute))}, pod: []func(*corev1.Pod){func(pod *corev1.Pod) {
				pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available"}}
			}},
			want: `shop/web: (a): not run: container "app" isn't running after 1m0s: the pod is on no node: Unschedulable: 0/1 nodes are available`, took: minute,
		},
		{
			name: "earlier hooks take too long", hooks: []hooks.PostHook{in("app", "slow", takesLong), in("app", "b", waits(minute/2))},
			pod: []func(*corev1.Pod){runs("app")}, ran: "app: slow",
			want: `shop/web: (b): not run: earlier hooks in container "app" took longer than its waitTimeout of 30s`, took: minute,
		},
		{
			name: "a command that takes too long", hooks: []hooks.PostHook{in("app", "slow", fails)}, pod: []func(*corev1.Pod){runs("app")},
			ran: "app: slow", want: `shop/web: (slow): run "slow" in container "app": no end within 30s; the command goes on running in the container`, took: 30 * second,
		},
		{
			name: "an empty command", hooks: []hooks.PostHook{in("app", "a", func(h *hooks.PostHook) { h.Command = nil })}, pod: []func(*corev1.Pod){runs("app")},
			want: "shop/web: (a): its command is an empty list (passed over)",
		},
		{
			name: "the pod is deleted", hooks: []hooks.PostHook{in("app", "a"), in("db", "b", fails)},
			play: func(s *stage) { s.remove(minute, "web") },
			want: "shop/web: (a): not run: the pod was deleted\nshop/web: (b): not run: the pod was deleted", took: minute,
		},
		{
			name: "the pod is on its way out", hooks: []hooks.PostHook{in("app", "a")},
			play: func(s *stage) {
				s.change(minute, "web", func(pod *corev1.Pod) { pod.DeletionTimestamp = &metav1.Time{Time: time.Now()} })
			},
			want: "shop/web: (a): not run: the pod was deleted", took: minute,
		},
		{
			name: "another pod of its name", hooks: []hooks.PostHook{in("app", "a")},
			play: func(s *stage) {
				s.change(minute, "web", runs("app"), func(pod *corev1.Pod) { pod.UID = "another" })
			},
			want: "shop/web: (a): not run: the pod was deleted, and another has taken its name", took: minute,
		},
		{
			name: "the pod succeeds first", hooks: []hooks.PostHook{in("app", "a"), in("app", "b")},
			play: func(s *stage) { s.change(minute, "web", ended(corev1.PodSucceeded)) },
			want: "shop/web: (a): not run: the pod has ended (phase Succeeded)\nshop/web: (b): not run: the pod has ended (phase Succeeded)", took: minute,
		},
		{
			name: "the pod fails while a hook runs", hooks: []hooks.PostHook{in("app", "slow"), in("app", "b")}, pod: []func(*corev1.Pod){runs("app")},
			play: func(s *stage) { s.change(second, "web", ended(corev1.PodFailed)) },
			ran:  "app: slow", took: 30 * second,
			want: `shop/web: (slow): run "slow" in container "app": no end within 30s; the command goes on running in the container (passed over)` + "\n" +
				"shop/web: (b): not run: the pod has ended (phase Failed)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			perform(t, hooks.PostOptions{}, func(s *stage) {
				s.create("web", c.pod...)
				s.start("web", c.hooks...)
				if c.play != nil {
					c.play(s)
				}
				got := s.wait()
				if diff := cmp.Diff(c.want, got); diff != "" {
					s.Errorf("failures (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.ran, strings.Join(s.exec.ran, ", ")); diff != "" {
					s.Errorf("ran (-want +got):\n%s", diff)
				}
				if took := time.Since(s.begin); took != c.took {
					s.Errorf("took %s, want %s", took, c.took)
				}
				failed := 0
				if got != "" {
					failed = strings.Count(got, "\n") + 1
				}
				if s.runner.Attempted() != len(c.hooks) || s.runner.Failed() != failed {
					s.Errorf("attempted %d, failed %d; want %d, %d", s.runner.Attempted(), s.runner.Failed(), len(c.hooks), failed)
				}
			})
		})
	}
}

// What goes wrong in one pod is that pod's alone.
func TestPostRunnerPodsAreApart(t *testing.T) {
	t.Parallel()
	perform(t, hooks.PostOptions{}, func(s *stage) {
		for _, name := range []string{"bad", "gone", "late", "never", "web"} {
			s.create(name)
		}
		s.start("bad", in("app", "bad", fails), in("app", "x"))
		s.start("gone", in("app", "x"))
		s.start("late", in("app", "late"))
		s.start("never", in("app", "x", waits(time.Minute), fails))
		s.start("web", in("app", "a"), in("db", "b"))
		s.change(time.Second, "bad", runs("app"))
		s.remove(time.Second, "gone")
		s.change(time.Second, "web", runs("app"))
		s.change(2*time.Minute, "web", runs("db"))
		s.change(2*time.Minute, "late", runs("app"))
		want := `shop/bad: (bad): run "bad" in container "app": exit code 1: no table` + "\n" +
			"shop/gone: (x): not run: the pod was deleted\n" +
			`shop/never: (x): not run: container "app" isn't running after 1m0s: no node has reported on it`
		if diff := cmp.Diff(want, s.wait()); diff != "" {
			s.Errorf("failures (-want +got):\n%s", diff)
		}
		if got := strings.Join(s.exec.ran, ", "); got != "app: bad, app: a, db: b, app: late" {
			s.Errorf("ran %s", got)
		}
		if s.runner.Attempted() != 7 || s.runner.Failed() != 3 {
			s.Errorf("attempted %d, failed %d", s.runner.Attempted(), s.runner.Failed())
		}
		if text := s.log.String(); !strings.Contains(text, "remaining hooks not run") || !strings.Contains(text, "output of hook") {
			s.Errorf("the log:\n%s", text)
		}
	})
}

// A restore that ends doesn't wait any more, and says what it hasn't done.
func TestPostRunnerInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// end ends what it is given with the cause.
		end func(s *stage, started, waited context.CancelCauseFunc, cause error)
	}{
		{"the context of the start", func(_ *stage, started, _ context.CancelCauseFunc, cause error) { started(cause) }},
		{"the context of the wait", func(_ *stage, _, waited context.CancelCauseFunc, cause error) { waited(cause) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			perform(t, hooks.PostOptions{}, func(s *stage) {
				s.create("web", runs("app"))
				started, end := context.WithCancelCause(s.Context())
				waited, endWait := context.WithCancelCause(s.Context())
				pod := hooks.Pod{Namespace: "shop", Name: "web", Containers: []string{"app", "db"}}
				s.runner.Start(started, pod, []hooks.PostHook{in("app", "slow"), in("app", "b"), in("db", "c")})
				go func() {
					time.Sleep(time.Second)
					c.end(s, end, endWait, errors.New("the restore was cancelled"))
				}()
				var texts []string
				for _, f := range s.runner.Wait(waited) {
					if f.Continue {
						s.Errorf("passed over: %v", f.Err)
					}
					texts = append(texts, f.Err.Error())
				}
				text := strings.Join(texts, "\n")
				for _, want := range []string{
					`restore hook (slow): run "slow" in container "app": interrupted: the restore was cancelled; the command may go on running in the container`,
					"restore hook (b): not run: interrupted: the restore was cancelled",
					"restore hook (c): not run: interrupted: the restore was cancelled",
				} {
					if !strings.Contains(text, want) {
						s.Errorf("no %q in\n%s", want, text)
					}
				}
				if len(texts) != 3 || time.Since(s.begin) != time.Second {
					s.Errorf("%d failures after %s", len(texts), time.Since(s.begin))
				}
			})
		})
	}
}

// TestPostRunnerNothing is a restore without hooks: no request is made.
func TestPostRunnerNothing(t *testing.T) {
	t.Parallel()
	perform(t, hooks.PostOptions{}, func(s *stage) {
		s.start("web")
		if got := s.wait(); got != "" || len(s.kube.Actions()) != 0 {
			s.Errorf("failures %q, requests %v", got, s.kube.Actions())
		}
	})
}

// Commands of many pods are bounded.
func TestPostRunnerParallel(t *testing.T) {
	t.Parallel()
	perform(t, hooks.PostOptions{Parallel: 3}, func(s *stage) {
		var now, most atomic.Int64
		s.exec.run = func(context.Context, string, io.Writer, io.Writer) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}
		for i := range 9 {
			name := fmt.Sprint("web-", i)
			s.create(name, runs("app"))
			// Those that wait for others to end don't run out of time.
			s.start(name, in("app", "a", waits(500*time.Millisecond)))
		}
		if got := s.wait(); got != "" {
			s.Error(got)
		}
		if took := time.Since(s.begin); most.Load() != 3 || took != 3*time.Second {
			s.Errorf("%d at once, took %s", most.Load(), took)
		}
	})
}
