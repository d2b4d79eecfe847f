package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// pageSize is the number of objects in one response. A larger page makes the
// API server hold more at once and gains nothing.
const pageSize = 500

// pageAttempts bounds how often one page is asked for when the connection
// breaks in the middle of it.
const pageAttempts = 4

// Lister lists the objects of one kind after another. It is safe for concurrent
// use.
type Lister struct {
	client rest.Interface
}

// NewLister returns a Lister that talks to the cluster of cfg. cfg's rate limit
// is not used: a Lister has as many requests in flight as there are calls.
func NewLister(cfg *rest.Config) (*Lister, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	scheme := runtime.NewScheme() // the API server's Status is all that is decoded
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	cfg.NegotiatedSerializer = serializer.WithoutConversionCodecFactory{CodecFactory: serializer.NewCodecFactory(scheme)}
	cfg.AcceptContentTypes, cfg.ContentType = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	client, err := rest.UnversionedRESTClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return &Lister{client: client}, nil
}

// ListOptions narrows a list and follows it.
type ListOptions struct {
	// Namespace empty means every namespace, or a cluster-scoped kind.
	Namespace string
	// LabelSelector in the form of a request parameter; empty selects all.
	LabelSelector string
	// OnPage, if set, is told at the end of each page how many objects were
	// passed on so far and how many the API server says remain (0 when unknown).
	OnPage func(seen, remaining int)
	// OnStale, if set, is told when the API server no longer had the snapshot
	// that the list began with and the rest comes from a newer one.
	OnStale func()
}

// List calls visit with the JSON of each object of the kind, as the API server
// sent it, and stops at visit's first error. The bytes are valid during the
// call only. Nothing but the current object is held in memory. When a response
// breaks off, its page is asked for again and what was seen is skipped.
func (l *Lister) List(ctx context.Context, res Resource, opts ListOptions, visit func(raw []byte) error) error {
	page := pageReader{lister: l, res: res, opts: opts, visit: visit}
	for failures := 0; ; {
		next, err := page.read(ctx)
		var stale *apierrors.StatusError
		switch {
		case err == nil && next == "":
			return nil
		case err == nil:
			page.begin(next)
			failures = 0
		case page.visitErr != nil || ctx.Err() != nil:
			return err
		case errors.As(err, &stale) && apierrors.IsResourceExpired(err) && stale.ErrStatus.Continue != "":
			page.begin(stale.ErrStatus.Continue)
			if opts.OnStale != nil {
				opts.OnStale()
			}
		case errors.Is(err, errBroken) && failures < pageAttempts-1:
			failures++
			if err := sleep(ctx, time.Duration(failures)*200*time.Millisecond); err != nil {
				return err
			}
		default:
			return fmt.Errorf("list %s%s: %w", res.GroupResource(), inNamespace(opts.Namespace), err)
		}
	}
}

func inNamespace(namespace string) string {
	if namespace == "" {
		return ""
	}
	return fmt.Sprintf(" in namespace %q", namespace)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// errBroken marks a response that ended before it was complete.
var errBroken = errors.New("response broke off")

// pageReader reads one page after another.
type pageReader struct {
	lister *Lister
	res    Resource
	opts   ListOptions
	visit  func([]byte) error

	token    string // continue token of the current page
	taken    int    // objects of the current page already passed on
	seen     int    // objects passed on in all
	visitErr error
}

func (p *pageReader) begin(token string) { p.token, p.taken = token, 0 }

// read asks for the current page and returns the token of the next.
func (p *pageReader) read(ctx context.Context) (string, error) {
	request := p.lister.client.Get().AbsPath(path(p.res, p.opts.Namespace)).Param("limit", strconv.Itoa(pageSize))
	if p.token != "" {
		request.Param("continue", p.token)
	}
	if p.opts.LabelSelector != "" {
		request.Param("labelSelector", p.opts.LabelSelector)
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return "", err
	}
	defer body.Close()
	meta, err := decodeList(bufio.NewReaderSize(body, 64<<10), p.object)
	if err != nil {
		return "", err
	}
	if p.opts.OnPage != nil {
		remaining := 0
		if meta.RemainingItemCount != nil {
			remaining = int(*meta.RemainingItemCount)
		}
		p.opts.OnPage(p.seen, remaining)
	}
	return meta.Continue, nil
}

// object passes the nth object of the page on unless it was before.
func (p *pageReader) object(n int, raw []byte) error {
	if n < p.taken {
		return nil
	}
	if p.visitErr = p.visit(raw); p.visitErr != nil {
		return p.visitErr
	}
	p.taken++
	p.seen++
	return nil
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

// decodeList reads a list response as a stream and calls object for each item.
func decodeList(body io.Reader, object func(n int, raw []byte) error) (metav1.ListMeta, error) {
	var meta metav1.ListMeta
	dec := json.NewDecoder(body)
	if err := expect(dec, json.Delim('{')); err != nil {
		return meta, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return meta, broken(err)
		}
		switch key {
		case "metadata":
			err = broken(dec.Decode(&meta))
		case "items":
			err = decodeItems(dec, object)
		default:
			var skipped json.RawMessage
			err = broken(dec.Decode(&skipped))
		}
		if err != nil {
			return meta, err
		}
	}
	return meta, expect(dec, json.Delim('}'))
}

func decodeItems(dec *json.Decoder, object func(int, []byte) error) error {
	token, err := dec.Token()
	if err != nil {
		return broken(err)
	}
	if token == nil { // "items": null is an empty list
		return nil
	}
	if token != json.Delim('[') {
		return fmt.Errorf("items is %v, not a list", token)
	}
	var raw json.RawMessage
	for n := 0; dec.More(); n++ {
		if err := dec.Decode(&raw); err != nil {
			return broken(err)
		}
		if err := object(n, raw); err != nil {
			return err
		}
	}
	return expect(dec, json.Delim(']'))
}

func expect(dec *json.Decoder, want json.Delim) error {
	token, err := dec.Token()
	if err != nil {
		return broken(err)
	}
	if token != want {
		return fmt.Errorf("response has %v where %s was expected", token, strconv.QuoteRune(rune(want)))
	}
	return nil
}

func broken(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}
