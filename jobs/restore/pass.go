package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// scan says what a pass over the archive is about.
type scan struct {
	purpose string
	// member, where the archive has an index, chooses the parts that are read;
	// nil means all.
	member func(archive.Member) bool
	// want chooses entries by what their paths say; nil means every object in
	// the version that is restored.
	want func(archive.Item) bool
	// parallel reads several parts at once, in no certain order: for passes that
	// do little but read. want and visit are called one at a time all the same.
	parallel bool
}

// parallelParts is how many parts are read at once: unpacking one keeps one
// processor busy.
const parallelParts = 4

// pass reads the archive once and calls visit for each object, one after the
// other. An entry that is no object of an archive is reported, once in all
// passes, and left out; any other error is the end.
func (o *operation) pass(ctx context.Context, s scan, visit func(archive.Item) error) error {
	o.passes++
	begin := time.Now()
	if s.member == nil {
		s.member = func(archive.Member) bool { return true }
	}
	if s.want == nil {
		s.want = o.stored
	}
	limit := int64(math.MaxInt64)
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(1)
	if s.parallel && o.source.index != nil {
		limit = o.source.index.Size/parallelParts + 1
		workers.SetLimit(parallelParts)
	}
	one := &sync.Mutex{}
	var entries, read atomic.Int64
	for _, part := range o.source.parts(s.member, limit) {
		workers.Go(func() error {
			n, err := o.passPart(ctx, part, locked(one, s.want), func(item archive.Item) error {
				one.Lock()
				defer one.Unlock()
				return visit(item)
			})
			entries.Add(int64(n))
			read.Add(part.Length)
			return err
		})
	}
	err := workers.Wait()
	o.Log.Info("pass over the archive done", "pass", o.passes, "purpose", s.purpose, "entries", entries.Load(),
		"compressedBytes", max(read.Load(), 0), "duration", time.Since(begin).Round(time.Millisecond))
	return err
}

// locked makes sure that want is called once at a time.
func locked(one *sync.Mutex, want func(archive.Item) bool) func(archive.Item) bool {
	return func(item archive.Item) bool {
		one.Lock()
		defer one.Unlock()
		return want(item)
	}
}

// stored reports whether an entry is the one of its object that is restored.
func (o *operation) stored(item archive.Item) bool { return item.Version == o.versions[item.Resource] }

func (o *operation) passPart(ctx context.Context, part archive.Range, want func(archive.Item) bool, visit func(archive.Item) error) (int, error) {
	broken := func(err error) error { return fmt.Errorf("archive of backup %q: %w", o.source.backup.Name, err) }
	body, err := o.source.open(ctx, part)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	newReader := archive.NewPartReader
	if o.source.whole(part) {
		newReader = archive.NewReader
	}
	reader, err := newReader(body)
	if err != nil {
		return 0, broken(err)
	}
	for entries := 0; ; {
		item, err := reader.NextWhere(want)
		var bad *archive.ItemError
		switch {
		case errors.Is(err, io.EOF):
			o.warnIgnored(reader.Ignored())
			return entries, nil
		case errors.As(err, &bad):
			o.reportEntry(bad)
		case err != nil:
			return entries, broken(err)
		default:
			entries++
			if err := visit(item); err != nil {
				return entries, err
			}
		}
	}
}

// warnIgnored tells, once, of entries that are part of no format.
func (o *operation) warnIgnored(n int) {
	o.entriesMu.Lock()
	defer o.entriesMu.Unlock()
	if n > 0 && !o.ignoredSaid {
		o.ignoredSaid = true
		o.warn(fmt.Sprintf("%d entries of the archive are neither objects nor anything else this version knows; they were passed over", n))
	}
}

// maxBadEntries bounds how many bad entries are reported: an archive that has
// more is no archive.
const maxBadEntries = 1000

func (o *operation) reportEntry(bad *archive.ItemError) {
	o.entriesMu.Lock()
	defer o.entriesMu.Unlock()
	switch {
	case o.badEntries[bad.Path]:
		return
	case len(o.badEntries) >= maxBadEntries:
		if !o.tooManySaid {
			o.tooManySaid = true
			o.report.Add(report.Error, ref.Object{}, fmt.Errorf("more than %d entries of the archive are bad; the others are not listed", maxBadEntries))
		}
		return
	}
	o.badEntries[bad.Path] = true
	o.report.Add(report.Error, ref.Object{}, bad)
	o.Log.Error("entry of the archive left out", "error", bad)
}

// bytesInFlight bounds the objects that workers have at once: few when they are
// large. Work on one takes several times its size.
const bytesInFlight = 16 << 20

// parallelPass is pass with visit called by as many workers as there are. No
// more objects are in memory than workers.
func (o *operation) parallelPass(ctx context.Context, s scan, visit func(context.Context, archive.Item)) error {
	workers, room := &errgroup.Group{}, semaphore.NewWeighted(bytesInFlight)
	workers.SetLimit(o.Workers)
	err := o.pass(ctx, s, func(item archive.Item) error {
		size := min(int64(len(item.Body)), bytesInFlight)
		if err := room.Acquire(ctx, size); err != nil {
			return err
		}
		workers.Go(func() error {
			defer room.Release(size)
			visit(ctx, item)
			return nil
		})
		if !o.queue.full() {
			return ctx.Err()
		}
		if err := workers.Wait(); err != nil {
			return err
		}
		return o.drain(ctx)
	})
	if waitErr := workers.Wait(); err == nil {
		err = waitErr
	}
	return errors.Join(err, ctx.Err())
}
