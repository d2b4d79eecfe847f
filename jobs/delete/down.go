package delete

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrDown is that a deletion was not begun, since a driver or snapshot location that
// it needs is Down.
var ErrDown = errors.New("it took too long about another snapshot")

// Down remembers which drivers and snapshot locations took all the time that there is
// for a snapshot, and didn't delete it. Deletions that share it ask these no more.
// The zero value knows of none, nil remembers nothing. It is safe for concurrent use.
type Down struct {
	mu    sync.Mutex
	names []string
}

func (d *Down) add(name string) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names = append(d.names, name)
}

func (d *Down) has(name string) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.names, name)
}

func driverName(driver string) string      { return fmt.Sprintf("driver %q", driver) }
func locationTitle(location string) string { return fmt.Sprintf("snapshot location %q", location) }

// checkDown refuses to begin what needs a driver or location that is down.
func (o *operation) checkDown() error {
	var needed []string
	for _, s := range o.snapshots.csi {
		needed = append(needed, driverName(s.Handle.Driver))
	}
	for name := range o.snapshots.locations {
		needed = append(needed, locationTitle(name))
	}
	for _, name := range needed {
		if o.Down.has(name) {
			return fmt.Errorf("backup %q has snapshots of %s: %w", o.Backup, name, ErrDown)
		}
	}
	return nil
}

// ask has a driver or location delete something, unless it is down, and notes when it
// has taken too long.
func (r *removal) ask(ctx context.Context, whom string, remove func(timeout time.Duration) error) error {
	if r.o.Down.has(whom) {
		return fmt.Errorf("%s wasn't asked: it took too long about another snapshot", whom)
	}
	timeout := r.patience.of(whom, r.o.snapshotTimeout())
	begin := time.Now()
	err := remove(timeout)
	late := err != nil && time.Since(begin) >= timeout
	if late && ctx.Err() == nil {
		r.o.Down.add(whom)
	}
	r.patience.note(whom, late)
	return err
}

// brief is how long a driver that is slow may take for a snapshot.
const brief = 10 * time.Second

// patience remembers which drivers are slow: those that took all the time that there
// was for their last snapshot, and didn't delete it. Each is asked for every one of its
// snapshots, since what keeps one may be its own; but one that answers nothing doesn't
// take its whole time for each. The zero value knows of none. It is safe for concurrent
// use.
type patience struct {
	mu   sync.Mutex
	slow map[string]bool
}

func (p *patience) of(whom string, whole time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow[whom] {
		return min(brief, whole)
	}
	return whole
}

func (p *patience) note(whom string, late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow == nil {
		p.slow = map[string]bool{}
	}
	p.slow[whom] = late
}
