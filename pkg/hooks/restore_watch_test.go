package hooks_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
)

// requests counts those for pods by verb.
func (s *stage) requests() map[string]int {
	counts := map[string]int{}
	for _, a := range s.kube.Actions() {
		counts[a.GetVerb()]++
	}
	return counts
}

// Thousands of pods cost one read each, and one watch for each namespace, or one
// for all where there are many.
func TestPostRunnerRequests(t *testing.T) {
	t.Parallel()
	perform(t, hooks.PostOptions{MaxWatches: 3}, func(s *stage) {
		const namespaces, pods = 6, 30
		var all []*corev1.Pod
		for n := range namespaces {
			for i := range pods {
				pod := restoredPod(fmt.Sprint("ns-", n), fmt.Sprint("web-", i))
				all = append(all, pod)
				s.create(pod.Name, func(p *corev1.Pod) { *p = *pod })
				s.runner.Start(s.Context(), hooks.Pod{Namespace: pod.Namespace, Name: pod.Name, Containers: []string{"app"}}, []hooks.PostHook{in("app", "a")})
			}
		}
		synctest.Wait()
		s.kube.ClearActions()
		time.Sleep(time.Minute)
		if got := s.requests(); len(got) != 0 {
			s.Errorf("requests while pods wait: %v", got)
		}
		for _, pod := range all {
			runs("app")(pod)
			if _, err := s.kube.CoreV1().Pods(pod.Namespace).Update(s.Context(), pod, metav1.UpdateOptions{}); err != nil {
				s.Fatal(err)
			}
			synctest.Wait() // the fake's watch has a short memory
		}
		if got := s.wait(); got != "" || len(s.exec.ran) != namespaces*pods {
			s.Errorf("%d ran, failures:\n%s", len(s.exec.ran), got)
		}
	})
}

// TestPostRunnerFirstRequests is what the beginning of many pods costs.
func TestPostRunnerFirstRequests(t *testing.T) {
	t.Parallel()
	perform(t, hooks.PostOptions{MaxWatches: 2}, func(s *stage) {
		for n := range 5 {
			for i := range 10 {
				pod := restoredPod(fmt.Sprint("ns-", n), fmt.Sprint("web-", i))
				s.create(pod.Name, func(p *corev1.Pod) { *p = *pod })
			}
		}
		s.kube.ClearActions()
		for n := range 5 {
			for i := range 10 {
				pod := hooks.Pod{Namespace: fmt.Sprint("ns-", n), Name: fmt.Sprint("web-", i), Containers: []string{"app"}}
				s.runner.Start(s.Context(), pod, []hooks.PostHook{in("app", "a", waits(time.Minute))})
				synctest.Wait()
			}
		}
		s.wait()
		if diff := cmp.Diff(map[string]int{"list": 3, "watch": 3, "get": 50}, s.requests()); diff != "" {
			s.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// refuse lets requests for pods fail.
func (s *stage) refuse(verb string, err func() error) {
	s.kube.PrependReactor(verb, "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		e := err()
		return e != nil, nil, e
	})
	s.kube.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) {
		if verb != "watch" {
			return false, nil, nil
		}
		e := err()
		return e != nil, nil, e
	})
}

// TestPostRunnerRefused is an API server that doesn't answer as one would like.
func TestPostRunnerRefused(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "web", errors.New("no rights"))
	unavailable := apierrors.NewServiceUnavailable("starting")
	always := func(err error) func() error { return func() error { return err } }
	for _, c := range []struct {
		name string
		verb string
		err  func(s *stage) func() error
		want string
	}{
		{"no right to watch: pods are read now and then", "watch", func(*stage) func() error { return always(forbidden) }, ""},
		{"no right to list: pods are read now and then", "list", func(*stage) func() error { return always(forbidden) }, ""},
		{
			"no right to read", "get", func(*stage) func() error { return always(forbidden) },
			`shop/web: (a): not run: get pod: pods "web" is forbidden: no rights; hint: grant "get pods" in namespace "shop" to the role of the restore`,
		},
		{"no answer for a while", "*", func(s *stage) func() error {
			return func() error {
				if time.Since(s.begin) < time.Minute {
					return unavailable
				}
				return nil
			}
		}, ""},
		{"no answer ever", "*", func(*stage) func() error { return always(unavailable) }, `shop/web: (a): not run: container "app" isn't running after 10m0s`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			perform(t, hooks.PostOptions{}, func(s *stage) {
				s.create("web")
				go func() {
					time.Sleep(30 * time.Second)
					pod := restoredPod("shop", "web")
					runs("app")(pod)
					if err := s.kube.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), pod, "shop"); err != nil {
						s.Error(err)
					}
				}()
				s.refuse(c.verb, c.err(s))
				s.start("web", in("app", "a"))
				if diff := cmp.Diff(c.want, s.wait()); diff != "" {
					s.Errorf("failures (-want +got):\n%s", diff)
				}
				if ran := len(s.exec.ran) == 1; ran != (c.want == "") {
					s.Errorf("ran %v", s.exec.ran)
				}
				if n := len(s.kube.Actions()); n > 250 {
					s.Errorf("%d requests", n)
				}
				time.Sleep(time.Minute) // until the one that starts the pod has ended
			})
		})
	}
}

// A watch ends now and then, and what happens in between isn't missed.
func TestPostRunnerWatchEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(*watch.FakeWatcher)
	}{
		{"in the ordinary way", func(w *watch.FakeWatcher) { w.Stop() }},
		{"with an error", func(w *watch.FakeWatcher) {
			w.Error(&metav1.Status{Status: metav1.StatusFailure, Code: 410, Reason: metav1.StatusReasonExpired, Message: "too old"})
		}},
		{"after what isn't a pod", func(w *watch.FakeWatcher) { w.Add(&corev1.Node{}); w.Stop() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			perform(t, hooks.PostOptions{}, func(s *stage) {
				s.create("web")
				s.create("gone")
				first := watch.NewFake()
				var asked atomic.Int64
				s.kube.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) {
					return asked.Add(1) == 1, first, nil
				})
				s.start("web", in("app", "a"))
				s.start("gone", in("app", "b"))
				s.change(time.Second, "web", runs("app"))
				s.remove(time.Second, "gone")
				c.end(first)
				if diff := cmp.Diff("shop/gone: (b): not run: the pod was deleted", s.wait()); diff != "" {
					s.Errorf("failures (-want +got):\n%s", diff)
				}
				if len(s.exec.ran) != 1 || asked.Load() != 2 {
					s.Errorf("ran %v, %d watches", s.exec.ran, asked.Load())
				}
			})
		})
	}
}

// The pod is known before it was seen, if the one who created it says so.
func TestPostRunnerUID(t *testing.T) {
	t.Parallel()
	perform(t, hooks.PostOptions{}, func(s *stage) {
		s.create("web", runs("app"))
		pod := hooks.Pod{Namespace: "shop", Name: "web", UID: "before", Containers: []string{"app"}}
		s.runner.Start(s.Context(), pod, []hooks.PostHook{in("app", "a")})
		if got := s.wait(); !strings.Contains(got, "another has taken its name") || len(s.exec.ran) != 0 {
			s.Errorf("ran %v, failures %q", s.exec.ran, got)
		}
	})
}
