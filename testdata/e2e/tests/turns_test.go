//go:build e2e

package tests

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

// makeTurns makes as many turns as -parallel says, and has the testing package
// let all tests go at once: many of them wait for minutes without doing anything,
// and those that work take turns.
func makeTurns() (chan struct{}, error) {
	parallel := flag.Lookup("test.parallel").Value
	n, err := strconv.Atoi(parallel.String())
	if err != nil {
		return nil, fmt.Errorf("read -parallel: %w", err)
	}
	return make(chan struct{}, max(n, 1)), parallel.Set("1000")
}

// turn is a test's right to keep the machine busy beside others. It is for the
// test's own goroutine.
type turn struct{ held bool }

// take waits for a turn.
func (s *session) take() {
	s.t.Helper()
	select {
	case turns <- struct{}{}:
		s.turn.held = true
	case <-s.t.Context().Done():
		s.t.Fatal(context.Cause(s.t.Context()))
	}
}

// rest gives the turn back, if the test has one: when only time must pass, and
// before subtests take turns of their own.
func (s *session) rest() {
	if s.turn.held {
		s.turn.held = false
		<-turns
	}
}

// start returns the shared bed for one test, which runs beside others in its turn,
// with the product installed. What several tests may have in the cluster has unique
// names; the sample application is lent with ownShop.
func start(t *testing.T) *session {
	t.Helper()
	t.Parallel()
	s := shared.session(t)
	s.take()
	t.Cleanup(s.rest)
	s.installed.Do(s.install)
	return s
}

// patient is start for a test that mostly waits, so that it needs no turn.
func patient(t *testing.T) *session {
	t.Helper()
	t.Parallel()
	s := shared.session(t)
	s.installed.Do(s.install)
	return s
}

// ownShop waits until no other test has the sample application, of which a cluster
// has one, and keeps it until the test ends. These tests are patient: one after the
// other they are the longest part of a run, so none of them waits for a turn besides.
func (s *session) ownShop() {
	s.shop.Lock()
	s.t.Cleanup(s.shop.Unlock)
}

// beside is the session for a subtest that runs beside others in its turn. The test
// must have none.
func (s *session) beside(t *testing.T) *session {
	t.Helper()
	t.Parallel()
	s = s.sub(t)
	s.turn = &turn{}
	s.take()
	t.Cleanup(s.rest)
	return s
}

// sub is the session for a subtest that runs in the turn of its test.
func (s *session) sub(t *testing.T) *session {
	c := *s.c
	c.Out = t.Output()
	return &session{bed: s.bed, t: t, c: &c, turn: s.turn}
}

// serial is the shared bed, with the product installed, for a test that nothing runs
// beside. The testing package runs all of these first.
func serial(t *testing.T) *session {
	t.Helper()
	s := shared.session(t)
	s.installed.Do(s.install)
	return s
}

// quietBed is a bed for one test at a time. Its CSI driver sees the storage of the
// shared one's.
type quietBed struct {
	bed
	run  context.Context // of all tests: what is started outlives the one that opens it
	user sync.Mutex      // locked for as long as a test has it
	once sync.Once
	err  error // why it can't be opened, set by once
}

// alone returns a bed for a test that looks at the whole cluster, or that removes
// the product: a second local cluster, so that the others needn't wait. Where there
// is only one cluster the test is serial.
func alone(t *testing.T) *session {
	t.Helper()
	if unavailable != nil || shared.cluster.Kind != provider.Local {
		return shared.session(t)
	}
	t.Parallel()
	quiet.user.Lock()
	t.Cleanup(quiet.user.Unlock)
	quiet.once.Do(func() { quiet.err = quiet.open() })
	if quiet.err != nil {
		t.Fatal(quiet.err)
	}
	return quiet.session(t)
}

func (q *quietBed) open() error {
	q.tree = shared.tree
	if err := q.find(q.run, shared.name+"-quiet", shared.cluster.CSI.Data); err != nil {
		return err
	}
	return q.fill(q.run)
}

// close waits for an open that is under way, and there is none after it.
func (q *quietBed) close() error {
	q.once.Do(func() { q.err = errors.New("open the quiet bed: the run has ended") })
	return q.bed.close()
}
