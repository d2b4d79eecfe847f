package hooks

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// PostHook is one command to run in a container of a restored pod once the
// container has started. Unlike with a hook of a backup, OnError empty means
// Continue, as Velero documents.
type PostHook struct {
	Hook
	// WaitTimeout is how long the hook waits for its turn, counted from the start
	// of the pod's hooks: for the container, and for earlier hooks in the same
	// container. Zero means PostOptions.DefaultWait.
	WaitTimeout time.Duration
	// WaitForReady waits until the container is ready, and not only running. Hooks
	// of one container run in order, so one that waits makes all of them wait.
	WaitForReady bool
}

// RestoreHooks are the hooks of one restore. The zero value has none in its
// spec, so that only the annotations of pods count. It is safe for concurrent
// use.
type RestoreHooks struct {
	entries []restoreEntry
}

// restoreEntry is one element of the spec's list.
type restoreEntry struct {
	pods *filter.Filter
	init []map[string]any
	post []PostHook
}

// NewRestore prepares the hooks of a restore's spec. resolve turns the name of a
// resource as typed into the resource, as for New. The error joins all that
// ValidateRestore finds.
func NewRestore(spec velerov1.RestoreHooks, resolve func(string) (schema.GroupResource, bool)) (*RestoreHooks, error) {
	if problems := ValidateRestore(spec); len(problems) > 0 {
		return nil, joined(problems)
	}
	h := &RestoreHooks{}
	for i, written := range spec.Resources {
		field := resourceField(i)
		pods, err := filter.New(restoreSelection(written), resolve)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		e := restoreEntry{pods: pods}
		for j, hook := range written.PostHooks {
			if err := e.add(indexed(field+".postHooks", j), written.Name, hook); err != nil {
				return nil, err
			}
		}
		h.entries = append(h.entries, e)
	}
	return h, nil
}

// add takes over a hook that ValidateRestore has accepted.
func (e *restoreEntry) add(field, name string, written velerov1.RestoreResourceHook) error {
	if written.Init != nil {
		for i, raw := range written.Init.InitContainers {
			container, err := decodeContainer(raw.Raw)
			if err != nil {
				return fmt.Errorf("%s: %w", indexed(field+".init.initContainers", i), err)
			}
			e.init = append(e.init, container)
		}
	}
	if exec := written.Exec; exec != nil {
		e.post = append(e.post, PostHook{
			Hook: Hook{
				Source: field, Name: name, Container: exec.Container, Command: exec.Command,
				OnError: orContinue(exec.OnError), Timeout: orDefault(exec.ExecTimeout),
			},
			WaitTimeout:  exec.WaitTimeout.Duration,
			WaitForReady: exec.WaitForReady != nil && *exec.WaitForReady,
		})
	}
	return nil
}

// Warnings tells of the spec's hooks that can run for no pod, since pods aren't
// among their resources; nil when there are none.
func (h *RestoreHooks) Warnings() []string {
	var warnings []string
	for i, e := range h.entries {
		if !e.pods.Kind(podResource, true) {
			warnings = append(warnings, noPods(i))
		}
	}
	return warnings
}

// Init returns the init containers to add to a pod before it is created, for
// PlaceInit, and what of the pod's annotations couldn't be understood. pod has
// the namespace that the pod is restored into. Annotations beat the spec; of the
// spec all entries that select the pod count, in the order of the list. The
// containers are the caller's to change; their numbers are json.Number.
func (h *RestoreHooks) Init(pod Pod) (containers []map[string]any, warnings []string) {
	container, warnings := initFromAnnotations(pod)
	if container != nil {
		return []map[string]any{container}, warnings
	}
	for _, e := range h.of(pod) {
		for _, c := range e.init {
			containers = append(containers, runtime.DeepCopyJSON(c))
		}
	}
	return containers, warnings
}

// Post returns the commands to run in a pod once its containers have started, in
// order, for PostRunner, and what couldn't be understood. pod has the namespace
// that the pod is restored into. An annotation beats the spec, as for Init. A hook
// for a container that the pod doesn't have is left out, with a warning.
func (h *RestoreHooks) Post(pod Pod) (hooks []PostHook, warnings []string) {
	asked := postFromAnnotations(pod)
	if len(asked) == 0 {
		for _, e := range h.of(pod) {
			asked = append(asked, e.post...)
		}
	}
	for _, hook := range asked {
		warnings = append(warnings, hook.Warnings...)
		container, err := hook.containerOf(pod)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("restore hook %s isn't run: %v", hook.title(), err))
			continue
		}
		hook.Container, hook.Warnings = container, nil
		hooks = append(hooks, hook)
	}
	return hooks, warnings
}

// of returns the entries that select the pod.
func (h *RestoreHooks) of(pod Pod) []restoreEntry {
	return slices.DeleteFunc(slices.Clone(h.entries), func(e restoreEntry) bool { return !selects(e.pods, pod) })
}

// restoreSelection is the part of an entry that says for which objects it is.
func restoreSelection(r velerov1.RestoreResourceHookSpec) filter.Spec {
	return filter.Spec{
		IncludedNamespaces: r.IncludedNamespaces, ExcludedNamespaces: r.ExcludedNamespaces,
		IncludedResources: r.IncludedResources, ExcludedResources: r.ExcludedResources,
		LabelSelector: r.LabelSelector,
	}
}

// orContinue is the mode of a restore's hook that names none.
func orContinue(mode velerov1.HookErrorMode) velerov1.HookErrorMode {
	if mode == "" {
		return velerov1.HookErrorModeContinue
	}
	return mode
}
