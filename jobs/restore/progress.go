package restore

import (
	"context"
	"sync/atomic"
	"time"
)

// progress counts objects. It is safe for concurrent use.
type progress struct {
	total, done atomic.Int64
}

// plan sets how many objects there are to restore.
func (p *progress) plan(total int) { p.total.Store(int64(total)) }

// step counts one object as dealt with.
func (p *progress) step() { p.done.Add(1) }

// tellProgress writes the counts into the Restore, once a second while they
// change, until ctx ends.
func (o *operation) tellProgress(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	told := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		done, total := o.progress.done.Load(), o.progress.total.Load()
		if total > 0 && done != told {
			o.record.Progress(ctx, "itemsRestored", int(max(total, done)), int(done))
			told = done
		}
	}
}
