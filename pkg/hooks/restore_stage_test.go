package hooks_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clients "k8s.io/client-go/kubernetes/fake"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
)

// stage is a cluster whose pods a test plays, and a runner of their hooks, in a
// bubble of synctest: time is the test's.
type stage struct {
	*testing.T
	kube   *clients.Clientset
	runner *hooks.PostRunner
	exec   *fake
	log    *bytes.Buffer
	begin  time.Time
}

// perform runs a test on a stage. Programs that begin with "bad" fail, and those
// that begin with "slow" take a minute.
func perform(t *testing.T, opts hooks.PostOptions, test func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{T: t, kube: clients.NewClientset(), log: &bytes.Buffer{}, begin: time.Now()}
		s.exec = &fake{run: func(ctx context.Context, line string, _, stderr io.Writer) error {
			switch {
			case strings.HasPrefix(line, "bad"):
				_, _ = io.WriteString(stderr, "no table")
				return exits(1)
			case strings.HasPrefix(line, "slow"):
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}}
		s.runner = hooks.NewPostRunner(s.kube, s.exec, slog.New(slog.NewTextHandler(s.log, nil)), opts)
		test(s)
	})
}

// restoredPod is one with containers app and db, which haven't started.
func restoredPod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}, {Name: "db"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
}

// create makes pods as restoredPod, changed.
func (s *stage) create(name string, change ...func(*corev1.Pod)) {
	s.Helper()
	pod := restoredPod("shop", name)
	for _, c := range change {
		c(pod)
	}
	if _, err := s.kube.CoreV1().Pods(pod.Namespace).Create(s.Context(), pod, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// change changes a pod after a while.
func (s *stage) change(after time.Duration, name string, change ...func(*corev1.Pod)) {
	s.Helper()
	time.Sleep(after)
	pods := s.kube.CoreV1().Pods("shop")
	pod, err := pods.Get(s.Context(), name, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	for _, c := range change {
		c(pod)
	}
	if _, err := pods.Update(s.Context(), pod, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
	synctest.Wait()
}

// remove deletes a pod after a while.
func (s *stage) remove(after time.Duration, name string) {
	s.Helper()
	time.Sleep(after)
	if err := s.kube.CoreV1().Pods("shop").Delete(s.Context(), name, metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	synctest.Wait()
}

// start starts hooks of a pod in namespace shop.
func (s *stage) start(name string, list ...hooks.PostHook) {
	s.runner.Start(s.Context(), hooks.Pod{Namespace: "shop", Name: name, Containers: []string{"app", "db"}}, list)
	synctest.Wait()
}

// state sets the state of a container.
func state(name string, state corev1.ContainerState, ready bool) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		status := corev1.ContainerStatus{Name: name, State: state, Ready: ready}
		for i, s := range pod.Status.ContainerStatuses {
			if s.Name == name {
				pod.Status.ContainerStatuses[i] = status
				return
			}
		}
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, status)
	}
}

// runs is a container that has started and isn't ready.
func runs(name string) func(*corev1.Pod) {
	return state(name, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, false)
}

// ready is a container that is ready.
func ready(name string) func(*corev1.Pod) {
	return state(name, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, true)
}

// ended sets the phase.
func ended(phase corev1.PodPhase) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.Phase = phase }
}

// in is a hook in a container.
func in(container, program string, change ...func(*hooks.PostHook)) hooks.PostHook {
	h := hooks.PostHook{Hook: hooks.Hook{Source: program, Container: container, Command: []string{program}}}
	for _, c := range change {
		c(&h)
	}
	return h
}

func fails(h *hooks.PostHook)         { h.OnError = velerov1.HookErrorModeFail }
func takesLong(h *hooks.PostHook)     { h.Timeout = time.Hour }
func waitsForReady(h *hooks.PostHook) { h.WaitForReady = true }
func waits(d time.Duration) func(*hooks.PostHook) {
	return func(h *hooks.PostHook) { h.WaitTimeout = d }
}

// wait waits for the end, and returns the failures as lines; those that don't
// count as errors end in "(passed over)".
func (s *stage) wait() string {
	var lines []string
	for _, f := range s.runner.Wait(s.Context()) {
		line := strings.ReplaceAll(fmt.Sprintf("%s/%s: %v", f.Namespace, f.Pod, f.Err), "restore hook ", "")
		if f.Continue {
			line += " (passed over)"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
