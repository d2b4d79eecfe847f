package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pageSize is the number of objects in one response. A larger page makes the
// API server hold more at once and gains nothing.
const pageSize = 500

// listing is one list on its way, page after page.
type listing struct {
	lister   *Lister
	res      Resource
	opts     ListOptions
	visit    func(Object) error
	splitter *splitter
	headers  *headers
	slot     *slot

	token    string          // continue token of the current page; empty for the first
	snapshot string          // resource version of the first page, once it is known
	page     metav1.ListMeta // of the current page, once it is known
	place    place
	stale    bool // OnStale was told
	visitErr error
}

func (p *listing) run(ctx context.Context) error {
	attempts := attempts{patience: p.lister.patience}
	for {
		seen := p.place.seen
		err := p.read(ctx)
		switch {
		case p.visitErr != nil:
			return err
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err == nil && p.page.Continue == "":
			return nil
		}
		// A page that was skipped is no progress: a list that is begun again for
		// ever has an end so.
		if p.place.seen > seen || err == nil && !p.place.resuming {
			attempts.succeeded()
		}
		if err == nil {
			p.token = p.page.Continue
			p.place.turn()
			continue
		}
		if err := attempts.wait(ctx, p.resume(err)); err != nil {
			return err
		}
	}
}

// read asks for the current page and passes its objects on.
func (p *listing) read(ctx context.Context) error {
	answer, slot, err := p.lister.ask(ctx, p.target())
	if err != nil {
		return err
	}
	defer slot.release()
	defer answer.Close()
	p.slot, p.page = slot, metav1.ListMeta{}
	p.place.begin()
	if err := p.splitter.list(answer, p.metadata, p.object); err != nil {
		slot.failed(err)
		return err
	}
	if p.opts.OnPage != nil {
		remaining := 0
		if p.page.RemainingItemCount != nil {
			remaining = int(*p.page.RemainingItemCount)
		}
		p.opts.OnPage(p.place.seen, remaining)
	}
	return nil
}

// target is the request for the current page. Later pages are those of the
// first one's snapshot; a first page of which something was passed on is asked
// for in its snapshot too.
func (p *listing) target() target {
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if p.token != "" {
		query.Set("continue", p.token)
	} else if p.snapshot != "" {
		query.Set("resourceVersion", p.snapshot)
		query.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchExact))
	}
	if p.opts.LabelSelector != "" {
		query.Set("labelSelector", p.opts.LabelSelector)
	}
	if p.opts.FieldSelector != "" {
		query.Set("fieldSelector", p.opts.FieldSelector)
	}
	return target{resource: p.res.GroupResource(), path: path(p.res, p.opts.Namespace), query: query}
}

func (p *listing) metadata(meta metav1.ListMeta) { p.page = meta }

// object passes an object on unless it was before.
func (p *listing) object(raw []byte) error {
	obj, err := p.headers.parse(raw)
	if err != nil {
		return broken(err)
	}
	skip, moved, err := p.place.skips(obj)
	if err != nil || skip {
		return err
	}
	if moved {
		p.tellStale()
	}
	p.slot.visiting()
	p.visitErr = p.visit(obj)
	p.slot.visited()
	if p.visitErr != nil {
		return p.visitErr
	}
	p.place.passed()
	return nil
}

// resume prepares for reading again after a failure: the same page of the same
// snapshot, or the rest of the list from a newer one. It returns the failure to
// judge.
func (p *listing) resume(failure error) error {
	if !p.expired(failure) {
		if first := p.page.ResourceVersion; p.token == "" && p.place.taken > 0 && first != "" && first != "0" {
			p.snapshot = first
		}
		p.place.repeat()
		return failure
	}
	var status apierrors.APIStatus
	errors.As(failure, &status) // expired has found one
	p.token, p.snapshot = status.Status().Continue, ""
	if err := p.place.renew(p.token != ""); err != nil {
		return fmt.Errorf("%w: %s", err, failure)
	}
	p.tellStale()
	return fmt.Errorf("%w: %w", errExpired, failure)
}

// expired reports whether the API server can't continue the snapshot: it says
// so, or it doesn't understand the request for the snapshot of the first page.
func (p *listing) expired(err error) bool {
	if apierrors.IsResourceExpired(err) || hasCode(err, http.StatusGone) {
		return true
	}
	return p.snapshot != "" && p.token == "" && (apierrors.IsBadRequest(err) || apierrors.IsInvalid(err))
}

func (p *listing) tellStale() {
	if !p.stale && p.place.seen > 0 && p.opts.OnStale != nil {
		p.stale = true
		p.opts.OnStale()
	}
}
