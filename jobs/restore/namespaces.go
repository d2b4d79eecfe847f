package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
}

func newNamespaces(o *operation) *namespaces {
	return &namespaces{operation: o, archived: map[string]*transform.Object{}, targets: map[string]func() error{}}
}

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
	body, err := n.body(source, name)
	if err != nil {
		return n.failed(place, err)
	}
	deadline := time.Now().Add(n.TerminatingTimeout)
	for attempt := 0; ; attempt++ {
		_, err := n.writer.Create(ctx, place, body)
		switch {
		case err == nil:
			n.note(name, actionCreated)
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

// body is the archived Namespace under the name, or a bare one.
func (n *namespaces) body(source, name string) ([]byte, error) {
	n.mu.Lock()
	archived := n.archived[source]
	n.mu.Unlock()
	if archived == nil {
		return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, name), nil
	}
	transform.Namespace(archived, name)
	return archived.Encode()
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
