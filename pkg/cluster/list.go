package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/client-go/rest"
)

// MaxParallel is the number of lists that are worth running at once on one
// Lister, and the number of pages that it has in flight at most: the API server
// counts a list as several requests, so more would only queue there.
const MaxParallel = 8

// Lister reads objects, mainly whole kinds. All its lists together keep an eye
// on the API server: when it refuses requests or gets slow, fewer are in flight
// for a while. A request that fails for a reason that passes is sent again for
// some minutes. It is safe for concurrent use.
type Lister struct {
	requester *requester
	limiter   *limiter
	patience  patience
	splitters sync.Pool
}

// NewLister returns a Lister that talks to the cluster of cfg. cfg's rate limit
// and timeout are not used.
func NewLister(cfg *rest.Config) (*Lister, error) {
	patience := standardPatience()
	requester, err := newRequester(cfg, patience.Silence)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	l := &Lister{requester: requester, limiter: newLimiter(MaxParallel), patience: patience}
	l.splitters.New = func() any { return newSplitter(maxObject) }
	return l, nil
}

// ListOptions narrows a list and follows it.
type ListOptions struct {
	// Namespace empty means every namespace, or a cluster-scoped kind.
	Namespace string
	// LabelSelector in the form of a request parameter; empty selects all.
	LabelSelector string
	// FieldSelector in the form of a request parameter; empty selects all.
	FieldSelector string
	// OnPage, if set, is told at the end of each page how many objects were
	// passed on so far and how many the API server says remain (0 when unknown).
	OnPage func(seen, remaining int)
	// OnStale, if set, is told, at most once, when the API server no longer had
	// the snapshot that the list began with and the rest comes from a newer one.
	OnStale func()
}

// List calls visit with each object of the kind, once, and stops at visit's
// first error, which it returns as it is. It holds the current object, a buffer,
// and no more. When a response breaks off, its page is asked for again and what
// was passed on is skipped. A visitor may take its time: that isn't held against
// the API server. An error of the API server can be told apart with the
// functions of package errors of apimachinery.
func (l *Lister) List(ctx context.Context, res Resource, opts ListOptions, visit func(Object) error) error {
	splitter := l.splitters.Get().(*splitter)
	defer l.splitters.Put(splitter)
	list := &listing{lister: l, res: res, opts: opts, visit: visit, splitter: splitter, headers: newHeaders(res)}
	err := list.run(ctx)
	if err == nil || list.visitErr != nil {
		return list.visitErr
	}
	return describe("list", target{resource: res.GroupResource()}, opts.Namespace, err)
}

// Get calls visit with one object and returns its error as it is. namespace is
// empty for a cluster-scoped kind. An error of the API server, such as "not
// found", can be told apart with the functions of package errors of apimachinery.
func (l *Lister) Get(ctx context.Context, res Resource, namespace, name string, visit func(Object) error) error {
	splitter := l.splitters.Get().(*splitter)
	defer l.splitters.Put(splitter)
	t := target{resource: res.GroupResource(), name: name, path: path(res, namespace) + "/" + url.PathEscape(name)}
	obj, err := l.object(ctx, splitter, newHeaders(res), t)
	if err != nil {
		return describe("get", t, namespace, err)
	}
	return visit(obj)
}

func (l *Lister) object(ctx context.Context, s *splitter, h *headers, t target) (Object, error) {
	if t.name == "" {
		return Object{}, errors.New("the name is empty")
	}
	if problems := content.IsPathSegmentName(t.name); len(problems) > 0 {
		return Object{}, fmt.Errorf("the name %s", strings.Join(problems, ", "))
	}
	attempts := attempts{patience: l.patience}
	for {
		obj, err := l.objectOnce(ctx, s, h, t)
		if err == nil || ctx.Err() != nil {
			return obj, err
		}
		if err := attempts.wait(ctx, err); err != nil {
			return Object{}, err
		}
	}
}

func (l *Lister) objectOnce(ctx context.Context, s *splitter, h *headers, t target) (Object, error) {
	answer, slot, err := l.ask(ctx, t)
	if err != nil {
		return Object{}, err
	}
	defer slot.release()
	defer answer.Close()
	raw, err := s.object(answer)
	if err != nil {
		slot.failed(err)
		return Object{}, err
	}
	return h.parse(raw)
}

// ask sends a request when there is a slot for it. The caller closes the answer
// and releases the slot.
func (l *Lister) ask(ctx context.Context, t target) (*answer, *slot, error) {
	slot, err := l.limiter.acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	sent := time.Now()
	answer, err := l.requester.get(ctx, t)
	if err != nil {
		slot.failed(err)
		slot.release()
		return nil, nil, err
	}
	slot.answered(time.Since(sent))
	return answer, slot, nil
}

func path(res Resource, namespace string) string {
	p := "/apis/" + res.Group + "/" + res.Version
	if res.Group == "" {
		p = "/api/" + res.Version
	}
	if namespace != "" {
		p += "/namespaces/" + url.PathEscape(namespace)
	}
	return p + "/" + res.Resource
}
