// Package record keeps the custom resource of a running operation true: signs
// of life, progress, and exactly one end. It knows how to write them, not what
// the operation is.
package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

const (
	// BeatInterval is the time between two signs of life.
	BeatInterval = 10 * time.Second
	// progressInterval is the least time between two progress patches.
	progressInterval = time.Second
	// finishAttempts bounds how often Finish tries against concurrent writers.
	finishAttempts = 10
)

// ErrEnded means that the operation already had another end.
var ErrEnded = errors.New("already ended")

// Record is the custom resource of one running operation. It is safe for
// concurrent use. All writes are bound to the object's UID: an object that was
// deleted and created again under the same name is not touched.
type Record struct {
	client dynamic.ResourceInterface
	events dynamic.ResourceInterface
	target corev1.ObjectReference
	log    *slog.Logger

	mu       sync.Mutex
	lastTold time.Time
	told     []byte // what was last written, as JSON
}

// Open returns the record of obj, a Backup or Restore as read from the cluster;
// gvr is its resource. log receives what goes wrong with signs of life and
// events, which never stop an operation.
func Open(client dynamic.Interface, gvr schema.GroupVersionResource, kind string, obj metav1.Object, log *slog.Logger) *Record {
	events := schema.GroupVersionResource{Version: "v1", Resource: "events"}
	return &Record{
		client: client.Resource(gvr).Namespace(obj.GetNamespace()),
		events: client.Resource(events).Namespace(obj.GetNamespace()),
		target: corev1.ObjectReference{
			APIVersion: gvr.GroupVersion().String(), Kind: kind,
			Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: obj.GetUID(),
		},
		log: log,
	}
}

// Beat writes a sign of life after first, which may be zero, and then every
// BeatInterval until ctx ends.
func (r *Record) Beat(ctx context.Context, first time.Duration) {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := r.Annotate(ctx, map[string]string{velerov1.HeartbeatAnnotation: Now()})
		if err != nil && ctx.Err() == nil {
			r.log.Warn("sign of life not written", "error", err)
		}
		timer.Reset(BeatInterval)
	}
}

// Now is the value of a sign of life.
func Now() string { return time.Now().UTC().Format(time.RFC3339) }

// Annotate sets annotations.
func (r *Record) Annotate(ctx context.Context, annotations map[string]string) error {
	return r.Patch(ctx, map[string]any{"metadata": map[string]any{"annotations": annotations}})
}

// Progress writes status.progress, as Tell does: totalItems and, under the key
// doneField, the number of items done.
func (r *Record) Progress(ctx context.Context, doneField string, total, done int) {
	r.Tell(ctx, map[string]any{"progress": map[string]any{"totalItems": total, doneField: done}}, nil)
}

// Tell merges fields into the status, and annotations into the object's, where nil
// takes one away. It does so at most once a second, and not when they are what it last
// wrote; its caller comes again. A write that fails is logged.
func (r *Record) Tell(ctx context.Context, status, annotations map[string]any) {
	patch := map[string]any{"status": status}
	if annotations != nil {
		patch["metadata"] = map[string]any{"annotations": annotations}
	}
	text, err := json.Marshal(patch)
	if err == nil && !r.due(text) {
		return
	}
	if err == nil {
		err = r.Patch(ctx, patch)
	}
	if err != nil {
		r.mu.Lock()
		r.told = nil // to be written again
		r.mu.Unlock()
		if ctx.Err() == nil {
			r.log.Warn("progress not written", "error", err)
		}
	}
}

// due reports whether a patch is to be written now, and notes that it is.
func (r *Record) due(patch []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.lastTold) < progressInterval || bytes.Equal(patch, r.told) {
		return false
	}
	r.lastTold, r.told = time.Now(), patch
	return true
}

// Patch applies a JSON merge patch. patch must not hold metadata.uid.
func (r *Record) Patch(ctx context.Context, patch map[string]any) error {
	return r.patch(ctx, patch, "")
}

// patch binds the patch to the UID and, when given, to a resource version.
func (r *Record) patch(ctx context.Context, patch map[string]any, resourceVersion string) error {
	bound := map[string]any{}
	for key, value := range patch {
		bound[key] = value
	}
	metadata := map[string]any{"uid": r.target.UID}
	if given, ok := patch["metadata"].(map[string]any); ok {
		for key, value := range given {
			metadata[key] = value
		}
	}
	if resourceVersion != "" {
		metadata["resourceVersion"] = resourceVersion
	}
	bound["metadata"] = metadata
	body, err := json.Marshal(bound)
	if err != nil {
		return fmt.Errorf("encode patch of %s %q: %w", r.target.Kind, r.target.Name, err)
	}
	err = patiently(ctx, func() error {
		_, err := r.client.Patch(ctx, r.target.Name, types.MergePatchType, body, metav1.PatchOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("patch %s %q: %w", r.target.Kind, r.target.Name, err)
	}
	return nil
}

// Finish gives the operation its end: the fields of status replace those of the
// object's status, with phase as its phase, and annotations are merged into its
// annotations. A
// terminal phase that stands there already is kept, and ErrEnded returned;
// concurrent changes are read again.
func (r *Record) Finish(ctx context.Context, phase string, status map[string]any, annotations map[string]string) error {
	merged := map[string]any{"phase": phase}
	for key, value := range status {
		merged[key] = value
	}
	patch := map[string]any{}
	if len(annotations) > 0 {
		patch["metadata"] = map[string]any{"annotations": annotations}
	}
	for attempt := 1; ; attempt++ {
		var current *unstructured.Unstructured
		err := patiently(ctx, func() (err error) {
			current, err = r.client.Get(ctx, r.target.Name, metav1.GetOptions{})
			return err
		})
		if err != nil {
			return fmt.Errorf("get %s %q: %w", r.target.Kind, r.target.Name, err)
		}
		if before := phaseOf(current); before != "" && velerov1.BackupPhase(before).Terminal() {
			if attempt > 1 && before == phase {
				return nil // written by the attempt before, whose answer got lost
			}
			return fmt.Errorf("%s %q is %s: %w", r.target.Kind, r.target.Name, before, ErrEnded)
		}
		if patch["status"], err = overwriting(merged, current); err != nil {
			return fmt.Errorf("encode the end of %s %q: %w", r.target.Kind, r.target.Name, err)
		}
		err = r.patch(ctx, patch, current.GetResourceVersion())
		if !apierrors.IsConflict(err) || attempt == finishAttempts || current.GetUID() != r.target.UID {
			return err
		}
	}
}

func phaseOf(object *unstructured.Unstructured) string {
	phase, _, err := unstructured.NestedString(object.Object, "status", "phase")
	if err != nil {
		return ""
	}
	return phase
}

// Event writes an Event about the record; kind is corev1.EventTypeNormal or
// corev1.EventTypeWarning, reason one CamelCase word. A failure is logged.
func (r *Record) Event(ctx context.Context, kind, reason, message string) {
	now := metav1.NewTime(time.Now().UTC().Truncate(time.Second))
	event := &corev1.Event{
		TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:     metav1.ObjectMeta{GenerateName: r.target.Name + ".", Namespace: r.target.Namespace},
		InvolvedObject: r.target,
		Type:           kind,
		Reason:         reason,
		Message:        cut(message, maxEventMessage),
		Source:         corev1.EventSource{Component: "kubectl-velero"},
		FirstTimestamp: now,
		LastTimestamp:  now,
		Count:          1,
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(event)
	if err == nil {
		_, err = r.events.Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	}
	if err != nil && ctx.Err() == nil {
		r.log.Warn("event not written", "reason", reason, "error", err)
	}
}

// maxEventMessage is the API server's limit in bytes.
const maxEventMessage = 1024

func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	const mark = "…"
	n -= len(mark)
	for n > 0 && text[n]&0xC0 == 0x80 { // don't split a character
		n--
	}
	return text[:n] + mark
}
