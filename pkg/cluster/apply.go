package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

const (
	// writeAttempts bounds how often one request is sent when the API server is
	// too busy or the connection breaks.
	writeAttempts = 6
	// firstDelay is the time before the second attempt; each further one waits
	// twice as long, unless the API server names a time.
	firstDelay = 200 * time.Millisecond
)

// metadataOnly asks the API server to answer with the metadata of the object
// that was written instead of the whole object.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// Writer reads and writes single objects as JSON. A request that meets a busy
// API server or a broken connection is sent again a few times. It is safe for
// concurrent use.
type Writer struct {
	client rest.Interface
	dryRun bool
}

// DryRun returns a Writer whose writes the API server checks, admission included,
// and doesn't store.
func (w *Writer) DryRun() *Writer { return &Writer{client: w.client, dryRun: true} }

// writes is a request that writes.
func (w *Writer) writes(r *rest.Request) *rest.Request {
	if w.dryRun {
		return r.Param("dryRun", metav1.DryRunAll)
	}
	return r
}

// NewWriter returns a Writer that talks to the cluster of cfg. cfg's rate limit
// is not used: a Writer has as many requests in flight as there are calls.
func NewWriter(cfg *rest.Config) (*Writer, error) {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.AcceptContentTypes, cfg.ContentType = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	client, err := rest.UnversionedRESTClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return &Writer{client: client}, nil
}

// Create makes the object, body being its JSON, and returns its UID. When the
// answer to a first attempt was lost, the error can be "already exists" about the
// object that this call made.
func (w *Writer) Create(ctx context.Context, obj ref.Object, body []byte) (types.UID, error) {
	raw, err := w.send(ctx, func() *rest.Request {
		return w.writes(w.client.Post()).AbsPath(collection(obj)).SetHeader("Accept", metadataOnly).Body(body)
	})
	if err != nil {
		return "", err
	}
	var made struct {
		Metadata struct{ UID types.UID }
	}
	if err := json.Unmarshal(raw, &made); err != nil {
		return "", fmt.Errorf("decode answer of the API server: %w", err)
	}
	return made.Metadata.UID, nil
}

// Get returns the object's JSON.
func (w *Writer) Get(ctx context.Context, obj ref.Object) ([]byte, error) {
	return w.send(ctx, func() *rest.Request { return w.client.Get().AbsPath(collection(obj), obj.Name) })
}

// MergePatch applies a JSON merge patch to the object, or to its subresource when
// one is named.
func (w *Writer) MergePatch(ctx context.Context, obj ref.Object, patch []byte, subresource ...string) error {
	_, err := w.send(ctx, func() *rest.Request {
		return w.writes(w.client.Patch(types.MergePatchType)).AbsPath(collection(obj), obj.Name).Suffix(subresource...).
			SetHeader("Accept", metadataOnly).Body(patch)
	})
	return err
}

// Delete deletes the object if it still has the UID; an empty UID means
// whichever object has the name. What becomes of those it owns is the kind's own
// default when policy is empty.
func (w *Writer) Delete(ctx context.Context, obj ref.Object, uid types.UID, policy metav1.DeletionPropagation) error {
	options := metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}}
	if policy != "" {
		options.PropagationPolicy = &policy
	}
	if uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	body, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("encode delete options: %w", err)
	}
	_, err = w.send(ctx, func() *rest.Request {
		return w.writes(w.client.Delete()).AbsPath(collection(obj), obj.Name).Body(body)
	})
	return err
}

// collection is the path at which objects of this kind and namespace live.
func collection(obj ref.Object) string {
	return path(Resource{GroupVersionResource: obj.Resource}, obj.Namespace)
}

// send sends a request until it was answered for good.
func (w *Writer) send(ctx context.Context, build func() *rest.Request) ([]byte, error) {
	delay := firstDelay
	for attempt := 1; ; attempt++ {
		// The client's own retries know only answers that name a time.
		result := build().MaxRetries(0).Do(ctx)
		err := result.Error()
		if err == nil {
			return result.Raw()
		}
		if attempt == writeAttempts || !busy(err) || ctx.Err() != nil {
			return nil, err
		}
		wait := delay
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok && seconds > 0 {
			wait = time.Duration(seconds) * time.Second
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		delay *= 2
	}
}

// busy reports whether the API server may answer the same request differently a
// moment later, whatever the object is.
func busy(err error) bool {
	return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) ||
		utilnet.IsProbableEOF(err) || utilnet.IsHTTP2ConnectionLost(err)
}

// MayPass reports whether a write that failed with err may succeed later, when
// other objects are there or controllers have caught up: a kind, namespace or
// service account that isn't known yet, a webhook that doesn't answer or says no,
// a quota that hasn't been counted, an object of the same name that is on its way out.
func MayPass(err error) bool {
	if busy(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsInternalError(err) {
		return true
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	message := status.Status().Message
	switch {
	case Denied(err):
		return true // many a webhook only waits for something
	case apierrors.IsAlreadyExists(err):
		return strings.Contains(message, "object is being deleted")
	case apierrors.IsForbidden(err):
		return containsAny(message, passingRefusals)
	}
	return false
}

// Denied reports whether an admission webhook looked at the object and said no,
// with whatever code it chose.
func Denied(err error) bool {
	return strings.Contains(err.Error(), "admission webhook") && strings.Contains(err.Error(), "denied the request")
}

// passingRefusals are parts of the texts with which admission refuses what it
// may accept later. The API has no codes for them.
var passingRefusals = []string{
	"status unknown for quota", // no controller has counted the new quota
	"not found",                // service account, RuntimeClass
	"no PriorityClass with name",
	"because it is being terminated", // the namespace
	"not yet ready to handle request",
}

func containsAny(text string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
