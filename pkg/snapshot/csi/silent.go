package csi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// remover removes objects, and waits for their drivers: once for each, however many
// snapshots of it there are.
type remover struct {
	*Client
	patience time.Duration
	// silent are the drivers that haven't done all of this removal in time; known are
	// those of earlier ones.
	silent, known *silences
}

// remover is one for a single removal.
func (c *Client) remover() remover {
	return remover{Client: c, patience: c.patience, silent: &silences{}, known: &silences{}}
}

// isSilent reports whether a driver has had its time already.
func (r remover) isSilent(driver string) bool { return r.silent.has(driver) || r.known.has(driver) }

// left notes what a driver has not removed in the time since then.
func (r remover) left(ctx context.Context, what removable, began time.Time) {
	r.known.add(what, func() (string, time.Duration) { return r.why(ctx, what.content), time.Since(began) })
	r.silent.add(what, func() (string, time.Duration) { return r.known.said(what.driver) })
}

// err is about the drivers that haven't done all of this removal in time.
func (r remover) err() error {
	var errs []error
	for _, silence := range r.silent.all() {
		errs = append(errs, silence.Err)
	}
	return errors.Join(errs...)
}

// await looks for what has been asked to go, until it is gone or the time is up, which
// nobody waits for where only silent drivers are left. It sets errs, and notes the
// drivers that have become silent since the removal began.
func (r remover) await(ctx context.Context, began time.Time, things []removable, errs []error, gone func(ctx context.Context, i int) (bool, error)) {
	var open []int
	for i := range things {
		if errs[i] == nil {
			open = append(open, i)
		}
	}
	err := poll(ctx, firstLook, lastLook, func() (bool, error) {
		done := make([]bool, len(open))
		r.each(len(open), func(k int) {
			var err error
			done[k], err = gone(ctx, open[k])
			if err != nil && ctx.Err() == nil {
				done[k], errs[open[k]] = true, fmt.Errorf("remove %s: %w", things[open[k]].name, err)
			}
		})
		var left []int
		for k, i := range open {
			if !done[k] {
				left = append(left, i)
			}
		}
		open = left
		return !slices.ContainsFunc(open, func(i int) bool { return !r.isSilent(things[i].driver) }), nil
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		for _, i := range open {
			errs[i] = fmt.Errorf("remove %s: %w", things[i].name, err)
		}
		return
	}
	for _, i := range open {
		r.left(ctx, things[i], began)
	}
}

// removable is what a person has to know of something that is to go.
type removable struct{ name, driver, content string }

// named is how a person is told of something that is to go by a policy.
func named(what fmt.Stringer, policy snapshotv1.DeletionPolicy) string {
	if policy == snapshotv1.VolumeSnapshotContentRetain {
		return fmt.Sprintf("the object of %s (the data stays)", what)
	}
	return what.String()
}

// silences are drivers that have used up the time to remove their snapshots, by name.
type silences struct {
	mu      sync.Mutex
	drivers map[string]*silence
}

// silence is such a driver. Its name is empty for what no controller took notice of.
type silence struct {
	left  []string // the first of those that it has left
	more  int
	said  string
	after time.Duration // for which it was waited for
}

func (s *silences) has(driver string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drivers[driver] != nil
}

// mostNamed is how many snapshots of a silent driver are named.
const mostNamed = 3

// said is what a silent driver says, and for how long it was waited for.
func (s *silences) said(driver string) (string, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drivers[driver] == nil {
		return "", 0
	}
	return s.drivers[driver].said, s.drivers[driver].after
}

// add notes that a driver hasn't removed something. What it says about that is asked
// for once, as is the time.
func (s *silences) add(what removable, said func() (string, time.Duration)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drivers == nil {
		s.drivers = map[string]*silence{}
	}
	of := s.drivers[what.driver]
	if of == nil {
		of = &silence{}
		of.said, of.after = said()
		s.drivers[what.driver] = of
	}
	switch {
	case slices.Contains(of.left, what.name):
	case len(of.left) < mostNamed:
		of.left = append(of.left, what.name)
	default:
		of.more++
	}
}

// all are the silent drivers, in the order of their names.
func (s *silences) all() []Silence {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Silence
	for _, driver := range slices.Sorted(maps.Keys(s.drivers)) {
		all = append(all, Silence{Driver: driver, Err: &markedError{s.drivers[driver].undone(driver)}})
	}
	return all
}

// undone says that a driver takes its time.
func (s *silence) undone(driver string) string {
	whose := "its driver"
	if driver != "" {
		whose = fmt.Sprintf("driver %q", driver)
	}
	verb := "is"
	if len(s.left) > 1 {
		verb = "are"
	}
	left, said := strings.Join(s.left, ", "), s.said
	if s.more > 0 {
		left += fmt.Sprintf(" and %d more", s.more)
	}
	if said != "" {
		said = " (" + said + ")"
	}
	return fmt.Sprintf("%s %s marked to be deleted, but %s has not done it within %s%s; it will when it works again; hint: see whether it and its csi-snapshotter run",
		left, verb, whose, rounded(s.after), said)
}

// rounded is a time as a person wants to read it.
func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

// why is what is said about a content that doesn't go; empty for nothing.
func (c *Client) why(ctx context.Context, content string) string {
	if content == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	said := ""
	if found, err := c.contents().Get(ctx, content, metav1.GetOptions{}); err == nil && found.Status != nil {
		said = message(found.Status.Error)
	}
	return cmp.Or(said, c.lastWarning(ctx, content))
}

// markedError is about snapshots that will go, but haven't yet.
type markedError struct{ text string }

func (e *markedError) Error() string { return e.text }

// OnlyMarked reports whether all that an error is about is snapshots that are marked
// to be deleted: nothing can make them stay.
func OnlyMarked(err error) bool {
	switch e := err.(type) {
	case nil:
		return false
	case *markedError:
		return true
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !OnlyMarked(err) })
	case interface{ Unwrap() error }:
		return OnlyMarked(e.Unwrap())
	}
	return false
}

// Silence is a driver that has not removed its snapshots in time. They are marked to
// be deleted, and go as soon as it works again.
type Silence struct {
	// Driver is its name; empty for the driver of what no controller took notice of.
	Driver string
	// Err says what it has left, and what it says about it.
	Err error
}

// Sweep is a Client that removes what several backups left. A driver that doesn't do it
// in time is not waited for again: the objects of further backups are only marked to
// be deleted. It is safe for concurrent use.
type Sweep struct {
	*Client
	patience time.Duration
	known    silences
}

// NewSweep returns a Sweep that waits this long for each driver; 0 means two minutes.
func (c *Client) NewSweep(patience time.Duration) *Sweep {
	return &Sweep{Client: c, patience: cmp.Or(patience, c.patience)}
}

func (s *Sweep) remover() remover {
	return remover{Client: s.Client, patience: s.patience, silent: &silences{}, known: &s.known}
}

// Leftovers does what Client.Leftovers does.
func (s *Sweep) Leftovers(ctx context.Context, backup, uid string) (int, error) {
	return s.remover().leftovers(ctx, backup, uid)
}

// Forget does what Client.Forget does.
func (s *Sweep) Forget(ctx context.Context, backup, uid string) (int, error) {
	return s.remover().forget(ctx, backup, uid)
}

// Silent are the drivers that have not done all in time, by name.
func (s *Sweep) Silent() []Silence { return s.known.all() }
