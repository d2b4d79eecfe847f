package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// terminatingPoll is the time between two looks at a namespace on its way out.
const terminatingPoll = time.Second

// namespaces makes each target namespace once, before its first object. It is
// safe for concurrent use.
type namespaces struct {
	*operation

	mu       sync.Mutex
	archived map[string]*transform.Object // by name in the backup
	targets  map[string]func() error      // by name in the cluster
	before   map[string]namespaceState    // those that were there before
}

// namespaceState is what is known of a namespace of the cluster.
type namespaceState struct {
	terminating bool
	created     metav1.Time
}

func newNamespaces(o *operation) *namespaces {
	return &namespaces{operation: o, archived: map[string]*transform.Object{}, targets: map[string]func() error{}}
}

// learn lists the namespaces that are there. Where the restore may not do that,
// each is looked at when it is needed.
func (n *namespaces) learn(ctx context.Context) error {
	n.before = map[string]namespaceState{}
	list, err := n.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		n.Log.Warn("namespaces can't be listed; each is looked at", "error", err)
		return ctx.Err()
	}
	for _, namespace := range list.Items {
		n.before[namespace.Name] = namespaceState{
			terminating: namespace.DeletionTimestamp != nil || namespace.Status.Phase == corev1.NamespaceTerminating,
			created:     namespace.CreationTimestamp,
		}
	}
	return nil
}

// existed reports whether a namespace of the cluster was there, and in use,
// before the restore.
func (n *namespaces) existed(name string) bool {
	state, ok := n.before[name]
	return ok && !state.terminating
}

// count is how many namespaces the cluster has.
func (n *namespaces) count() int { return len(n.before) }

// keep notes an archived Namespace for when it is made.
func (n *namespaces) keep(obj *transform.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.archived[obj.Name()] = obj
}

// target is the namespace in the cluster for one of the backup.
func (n *namespaces) target(source string) string {
	if mapped := n.restore.Spec.NamespaceMapping[source]; mapped != "" {
		return mapped
	}
	return source
}

// ensure sees to it that the target of a namespace of the backup exists and can
// take objects. Only the first call per target does something; the others wait
// for it and get the same error.
func (n *namespaces) ensure(ctx context.Context, source string) error {
	name := n.target(source)
	n.mu.Lock()
	once := n.targets[name]
	if once == nil {
		once = sync.OnceValue(func() error { return n.create(ctx, source, name) })
		n.targets[name] = once
	}
	n.mu.Unlock()
	return once()
}

var namespaceGVR = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// create makes a namespace, after its predecessor of the same name is gone. One
// that exists is left as it is.
func (n *namespaces) create(ctx context.Context, source, name string) error {
	place := ref.Object{Resource: namespaceGVR, Kind: "Namespace", Name: name}
	if n.existed(name) {
		n.note(name, n.actionOf(name))
		return nil
	}
	if n.preview != nil {
		n.previewCreate(ctx, source, name)
		return nil
	}
	body, ownership, err := n.body(source, name)
	if err != nil {
		return n.failed(place, err)
	}
	deadline := time.Now().Add(n.TerminatingTimeout)
	for attempt := 0; ; attempt++ {
		_, err := n.writer.Create(ctx, place, body)
		switch {
		case err == nil:
			n.note(name, actionCreated)
			n.handBack(ctx, ownership, place)
			return nil
		case !apierrors.IsAlreadyExists(err):
			return n.failed(place, fmt.Errorf("create namespace: %w", err))
		}
		terminating, err := n.terminating(ctx, place)
		if err != nil {
			return n.failed(place, err)
		}
		if !terminating {
			n.note(name, actionSkipped)
			return nil
		}
		if time.Now().After(deadline) {
			return n.failed(place, fmt.Errorf("timed out waiting for terminating namespace %s to disappear; hint: see status.conditions of the namespace", name))
		}
		if attempt == 0 {
			n.Log.Info("namespace is terminating, waiting", "name", name)
		}
		if err := sleep(ctx, terminatingPoll); err != nil {
			return err
		}
	}
}

// previewCreate tells whether a namespace would be made.
func (n *namespaces) previewCreate(ctx context.Context, source, name string) {
	item := report.PreviewItem{Resource: namespaceKind.String(), Version: "v1", Kind: "Namespace", Name: name, Action: report.PreviewCreate}
	body, _, err := n.body(source, name)
	switch {
	case err != nil:
		item.Action, item.Reason = report.PreviewRefuse, err.Error()
	case n.before[name].terminating:
		item.Action, item.Reason = report.PreviewUnchecked, n.why(name)
	case n.preview.diff:
		item.Wanted = body
	default:
		_, err = n.preview.writer.Create(ctx, ref.Object{Resource: namespaceGVR, Kind: "Namespace", Name: name}, body)
		opinion(&item, err)
	}
	n.preview.tell(item)
}

// why says why objects of a namespace that isn't there can't be checked.
func (n *namespaces) why(name string) string {
	if n.before[name].terminating {
		return fmt.Sprintf("namespace %q is on its way out; a restore waits %s for that", name, n.TerminatingTimeout)
	}
	return fmt.Sprintf("namespace %q would be created by this restore", name)
}

// actionOf is what this restore did about a namespace that was there before this
// attempt: an earlier one may have made it.
func (n *namespaces) actionOf(name string) string {
	created := n.before[name].created
	if n.Attempt > 1 && n.preview == nil && !created.Before(&n.restore.CreationTimestamp) {
		return actionCreated
	}
	return actionSkipped
}

func (n *namespaces) terminating(ctx context.Context, place ref.Object) (bool, error) {
	raw, err := n.writer.Get(ctx, place)
	if apierrors.IsNotFound(err) { // gone in the meantime: create it again
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get namespace: %w", err)
	}
	live, err := transform.Parse(raw)
	if err != nil {
		return false, err
	}
	var status struct{ Phase string }
	err = live.Read("status", &status)
	return live.Deleting() || status.Phase == "Terminating", err
}

// handBackAttempts bounds how often the second write to a namespace is tried: its
// objects wait for it.
const handBackAttempts = 4

// handBack restores who owns which field of a namespace.
func (n *namespaces) handBack(ctx context.Context, ownership json.RawMessage, place ref.Object) {
	if ownership == nil {
		return
	}
	var r result
	for attempt := range handBackAttempts {
		if r = n.giveBack(ctx, ownership, result{place: place}); r.retry == nil || sleep(ctx, time.Second<<attempt) != nil {
			break
		}
	}
	if r.retry != nil {
		r.errors = append(r.errors, r.retry)
	}
	for _, err := range r.warnings {
		n.report.Add(report.Warning, place, err)
	}
	for _, err := range r.errors {
		n.report.Add(report.Error, place, err)
	}
}

// body is the archived Namespace under the name, or a bare one.
func (n *namespaces) body(source, name string) ([]byte, json.RawMessage, error) {
	n.mu.Lock()
	archived := n.archived[source]
	n.mu.Unlock()
	if archived == nil {
		return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, name), nil, nil
	}
	var ownership json.RawMessage
	if archived.Applied() {
		ownership = archived.ManagedFields()
	}
	transform.Namespace(archived, name)
	body, err := archived.Encode()
	return body, ownership, err
}

// errNamespace is what objects of a namespace that couldn't be made fail with;
// the cause was reported with the namespace.
var errNamespace = errors.New("its namespace could not be made")

func (n *namespaces) failed(place ref.Object, err error) error {
	n.note(place.Name, actionFailed)
	n.report.Add(report.Error, ref.Object{}, fmt.Errorf("namespace %q: %w", place.Name, err))
	n.Log.Error("namespace not usable", "name", place.Name, "error", err)
	return errNamespace
}

func (n *namespaces) note(name, action string) {
	n.report.RestoredItem(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, "", name, action)
	n.Log.Info("namespace done", "name", name, "action", action)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
