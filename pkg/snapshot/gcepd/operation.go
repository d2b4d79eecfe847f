package gcepd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/api/compute/v1"
)

const (
	firstPoll = 500 * time.Millisecond
	maxPoll   = 4 * time.Second
	// maxUnseen is how often something is looked for that was just asked for, where
	// the account may not see the operation that makes it.
	maxUnseen = 12
)

// poll waits before the nth look at something, counted from 0.
func (s *Snapshotter) poll(ctx context.Context, n int) error {
	d := maxPoll
	if n < 3 {
		d = firstPoll << n
	}
	s.pause(ctx, d)
	return context.Cause(ctx)
}

// operation looks at an operation again. The error is why it failed.
func (s *Snapshotter) operation(ctx context.Context, project string, op *compute.Operation) (*compute.Operation, error) {
	now, err := call(ctx, s, func(ctx context.Context) (*compute.Operation, error) {
		switch {
		case op.Zone != "":
			return s.api.ZoneOperations.Get(project, lastPart(op.Zone), op.Name).Context(ctx).Do()
		case op.Region != "":
			return s.api.RegionOperations.Get(project, lastPart(op.Region), op.Name).Context(ctx).Do()
		}
		return s.api.GlobalOperations.Get(project, op.Name).Context(ctx).Do()
	})
	if err != nil {
		return nil, err
	}
	return now, failureOf(now)
}

// isDone says that an operation has ended.
func isDone(op *compute.Operation) bool { return op.Status == "DONE" }

// isHidden says that an operation can't be looked at: Velero's role doesn't allow it,
// and the API forgets those that are over.
func isHidden(err error) bool {
	r := refusalOf(err)
	return r != nil && r.operation == "" && (r.isDenied() || r.status == http.StatusNotFound)
}

// look is what awaiting something sees of it.
type look int

const (
	lookMissing look = iota
	lookBusy
	lookDone
)

// await waits until something is as it should be. An operation, if there is one, can
// tell why it never will be; one that the account may not look at tells nothing.
func (s *Snapshotter) await(ctx context.Context, project string, op *compute.Operation, see func(context.Context) (look, error)) error {
	if op != nil {
		if err := failureOf(op); err != nil {
			return err
		}
	}
	for n := 0; ; n++ {
		seen, err := see(ctx)
		if err != nil || seen == lookDone {
			return err
		}
		over := op != nil && isDone(op)
		if op, err = s.refresh(ctx, project, op); err != nil {
			return err
		}
		if seen == lookMissing && (over || op == nil && n >= maxUnseen) {
			return errVanished
		}
		if err := s.poll(ctx, n); err != nil {
			return err
		}
	}
}

// refresh looks at an operation that goes on. It is nil from when it can't be seen.
func (s *Snapshotter) refresh(ctx context.Context, project string, op *compute.Operation) (*compute.Operation, error) {
	if op == nil || isDone(op) {
		return op, nil
	}
	now, err := s.operation(ctx, project, op)
	if err != nil && isHidden(err) {
		return nil, nil
	}
	return now, err
}

// errVanished is something that was asked for and isn't there, for no known reason.
var errVanished = errors.New("it was agreed to, and isn't there; hint: the quota may be used up; the right to get operations of Compute Engine would tell the reason")

// timeLimit bounds what waits for Compute Engine.
func timeLimit(ctx context.Context, d time.Duration, what string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("%s within %s", what, d))
}
