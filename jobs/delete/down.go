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
	whole := r.o.snapshotTimeout()
	timeout, begin := r.patience.of(whom, whole), time.Now()
	err := remove(timeout)
	if err == nil {
		r.patience.worked(whom)
		return nil
	}
	if ctx.Err() != nil || time.Since(begin) < timeout {
		return err
	}
	r.o.Down.add(whom)
	r.patience.late(whom, begin)
	if timeout < whole {
		return fmt.Errorf("not within %s: %w", timeout, err)
	}
	return err
}

// brief is how long a driver that does nothing may take for a snapshot: as long as
// csi-snapshotter gives it for one call.
const brief = time.Minute

// patience remembers which drivers do nothing: those that took all the time that there
// was for a snapshot, and deleted no other meanwhile. Each is still asked for every one
// of its snapshots, since what keeps one may be its own, but not for the whole time.
// The zero value knows of none. It is safe for concurrent use.
type patience struct {
	mu      sync.Mutex
	idle    map[string]bool
	deleted map[string]time.Time // when it last did
}

// of is how long it may take for its next snapshot.
func (p *patience) of(whom string, whole time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle[whom] {
		return min(brief, whole)
	}
	return whole
}

func (p *patience) worked(whom string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deleted == nil {
		p.deleted = map[string]time.Time{}
	}
	p.deleted[whom] = time.Now()
	delete(p.idle, whom)
}

// late notes that what it was asked for at begin was not done in time.
func (p *patience) late(whom string, begin time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deleted[whom].After(begin) {
		return
	}
	if p.idle == nil {
		p.idle = map[string]bool{}
	}
	p.idle[whom] = true
}
