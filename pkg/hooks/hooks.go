// Package hooks runs commands in the containers of pods before and after a
// backup takes them, and after a restore has brought them back: it reads what a
// pod's annotations and the spec of the operation ask for, runs it through the
// API server, and counts. For a restore it also makes the init containers that
// are asked for. Which pods are in the operation, when hooks run, and how their
// failures are reported is left to the caller.
//
// The hooks of a backup are Hooks and run by a Runner; those of a restore are
// RestoreHooks and run by a PostRunner.
package hooks

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// The phases of a pod's backup at which hooks run.
const (
	// Pre is before anything of the pod is taken.
	Pre = "pre"
	// Post is after the pod and all that belongs to it is taken.
	Post = "post"
)

// defaultTimeout is that of a hook that names none.
const defaultTimeout = 30 * time.Second

// podResource is the only resource that has hooks.
var podResource = schema.GroupResource{Resource: "pods"}

// Pod is what hooks need to know of a pod.
type Pod struct {
	Namespace, Name string
	// UID is that of a restored pod; empty when it isn't known. Backups need none.
	UID                 types.UID
	Labels, Annotations map[string]string
	Phase               corev1.PodPhase
	// Containers are the names in the order of the pod's spec; a hook that names
	// no container runs in the first.
	Containers []string
}

// Hook is one command to run in a container of a pod.
type Hook struct {
	// Source is where the hook is written: a field of the backup's spec, such as
	// hooks.resources[0].pre[1], or the key of an annotation.
	Source string
	// Name is that of the spec's entry; empty for annotations.
	Name string
	// Container empty means the pod's first.
	Container string
	// Command is the program and its arguments; they may hold passwords.
	Command []string
	// OnError is Continue or Fail; empty means Fail before, and Continue after, the pod
	// is taken.
	OnError velerov1.HookErrorMode
	// Timeout zero means 30 seconds.
	Timeout time.Duration
	// Warnings tell what of the hook couldn't be understood and what is done
	// instead. To report them is the caller's task.
	Warnings []string
}

// Plan is what to run for one pod, in order.
type Plan struct {
	Pre, Post []Hook
}

// Empty reports whether there is nothing to run.
func (p Plan) Empty() bool { return len(p.Pre) == 0 && len(p.Post) == 0 }

// Hooks are the hooks of one backup. The zero value has none in its spec, so
// that only the annotations of pods count. It is safe for concurrent use.
type Hooks struct {
	entries []entry
}

// entry is one element of the spec's list.
type entry struct {
	pods      *filter.Filter
	pre, post []Hook
}

// New prepares the hooks of a backup's spec. resolve turns the name of a
// resource as typed (short name, singular, with or without group) into the
// resource; names that it doesn't know are kept as they are. The error joins all
// that Validate finds.
func New(spec velerov1.BackupHooks, resolve func(string) (schema.GroupResource, bool)) (*Hooks, error) {
	if problems := Validate(spec); len(problems) > 0 {
		return nil, joined(problems)
	}
	h := &Hooks{}
	for i, written := range spec.Resources {
		field := resourceField(i)
		pods, err := filter.New(selection(written), resolve)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		h.entries = append(h.entries, entry{
			pods: pods,
			pre:  fromSpec(field, Pre, written.Name, written.PreHooks),
			post: fromSpec(field, Post, written.Name, written.PostHooks),
		})
	}
	return h, nil
}

// Warnings tells of the spec's hooks that can run for no pod, since pods aren't
// among their resources; nil when there are none.
func (h *Hooks) Warnings() []string {
	var warnings []string
	for i, e := range h.entries {
		if !e.pods.Kind(podResource, true) {
			warnings = append(warnings, noPods(i))
		}
	}
	return warnings
}

func noPods(i int) string {
	return resourceField(i) + ": only pods have hooks, and this entry doesn't select pods; hint: add pods to includedResources"
}

// Of returns what to run for a pod of the backup. The annotations of the pod
// beat the spec, each phase by itself; of the spec all entries that select the
// pod count, in the order of the list.
func (h *Hooks) Of(pod Pod) Plan {
	plan := Plan{Pre: fromAnnotations(pod, Pre), Post: fromAnnotations(pod, Post)}
	annotatedPre, annotatedPost := len(plan.Pre) > 0, len(plan.Post) > 0
	if annotatedPre && annotatedPost {
		return plan
	}
	for _, e := range h.entries {
		if !selects(e.pods, pod) {
			continue
		}
		if !annotatedPre {
			plan.Pre = append(plan.Pre, e.pre...)
		}
		if !annotatedPost {
			plan.Post = append(plan.Post, e.post...)
		}
	}
	return plan
}

// selects reports whether hooks for these pods are for this one.
func selects(pods *filter.Filter, pod Pod) bool {
	return pods.Kind(podResource, true) && pods.Namespace(pod.Namespace) && pods.Labels(pod.Labels)
}

// joined makes one error of the texts.
func joined(problems []string) error {
	errs := make([]error, len(problems))
	for i, problem := range problems {
		errs[i] = errors.New(problem)
	}
	return errors.Join(errs...)
}

// selection is the part of an entry that says for which objects it is.
func selection(r velerov1.BackupResourceHookSpec) filter.Spec {
	return filter.Spec{
		IncludedNamespaces: r.IncludedNamespaces, ExcludedNamespaces: r.ExcludedNamespaces,
		IncludedResources: r.IncludedResources, ExcludedResources: r.ExcludedResources,
		LabelSelector: r.LabelSelector,
	}
}

// fromSpec takes over hooks that Validate has accepted.
func fromSpec(field, phase, name string, written []velerov1.BackupResourceHook) []Hook {
	hooks := make([]Hook, len(written))
	for i, w := range written {
		hooks[i] = Hook{
			Source: indexed(field+"."+phase, i), Name: name, Container: w.Exec.Container, Command: w.Exec.Command,
			OnError: modeIn(phase, w.Exec.OnError), Timeout: orDefault(w.Exec.Timeout),
		}
	}
	return hooks
}

// modeIn is the mode of a hook in a phase, also of one that names none: Velero
// documents Fail. In Post it goes on all the same, as this does, since what follows
// may be what lets an application go on.
func modeIn(phase string, mode velerov1.HookErrorMode) velerov1.HookErrorMode {
	switch {
	case mode != "":
		return mode
	case phase == Post:
		return velerov1.HookErrorModeContinue
	}
	return velerov1.HookErrorModeFail
}

func orDefault(timeout metav1.Duration) time.Duration {
	if timeout.Duration == 0 {
		return defaultTimeout
	}
	return timeout.Duration
}

func resourceField(i int) string { return indexed("hooks.resources", i) }

func indexed(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }
