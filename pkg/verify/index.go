package verify

import (
	"slices"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// indexCheck compares an index with what comes along in its archive. Without an
// index it does nothing.
type indexCheck struct {
	*check
	index *archive.Index

	ends     int     // gzip members that have ended
	unpacked int64   // uncompressed bytes in them
	borders  []int64 // where, uncompressed, members ended since the last entry began
	wrong    bool    // that something differs: one finding is enough

	now     int   // the member that the current entry is in
	nowEnd  int64 // where it ends, uncompressed
	content archive.Member
}

// maxBorders is how many members can end between two entries: the one that the
// second begins after, and that of the second, if its header is all of it.
const maxBorders = 2

// ended is told of each gzip member's end.
func (x *indexCheck) ended(m member) {
	if x.index == nil {
		return
	}
	x.unpacked += m.plain
	if m.plain > 0 && len(x.borders) <= maxBorders {
		x.borders = append(x.borders, x.unpacked)
	}
	n := x.ends
	x.ends++
	if x.wrong {
		return
	}
	if n >= len(x.index.Members) {
		x.mismatch("it has more gzip members than the index (%d)", len(x.index.Members))
		return
	}
	want := x.index.Members[n]
	if got := (member{want.Offset, want.Length, want.Plain}); got != m {
		x.mismatch("gzip member %d is at byte %d, has %d bytes and unpacks to %d; the index says %d, %d and %d",
			n, m.offset, m.length, m.plain, want.Offset, want.Length, want.Plain)
	}
}

func (x *indexCheck) mismatch(format string, args ...any) {
	x.wrong = true
	x.find(Broken, "", format, args...)
}

// entry is told where, uncompressed, the next entry begins.
func (x *indexCheck) entry(start int64) {
	if x.index == nil || x.wrong {
		return
	}
	for _, border := range x.borders {
		if border < start || len(x.borders) > maxBorders {
			x.mismatch("a gzip member ends at byte %d of the tar, which is inside an entry: it can't be read by itself", border)
			return
		}
	}
	x.borders = slices.DeleteFunc(x.borders, func(border int64) bool { return border == start })
	for start >= x.nowEnd && x.now < len(x.index.Members) {
		x.leave()
		x.nowEnd += x.index.Members[x.now].Plain
		x.now++
	}
}

// item is told of each object's entry in the current member.
func (x *indexCheck) item(item archive.Item, at copies) {
	if x.index == nil || x.wrong || x.now == 0 {
		return
	}
	c := &x.content
	name := place(item.Namespace, item.Name)
	if c.Resource == "" {
		c.Resource, c.First, c.Last = item.Resource.String(), name, name
	}
	if at != atPlain {
		c.Version, c.Preferred = item.Version, item.Preferred
	}
	if at != atPreferred {
		c.Objects++
	}
	c.First, c.Last = min(c.First, name), max(c.Last, name)
	if c.Resource != item.Resource.String() {
		x.mismatch("gzip member %d holds objects of %s and of %s", x.now-1, c.Resource, item.Resource)
	}
}

// leave compares what was in the member that ended with the index.
func (x *indexCheck) leave() {
	if x.now == 0 || x.wrong {
		return
	}
	want := x.index.Members[x.now-1]
	got := x.content
	got.Offset, got.Length, got.Plain = want.Offset, want.Length, want.Plain
	x.content = archive.Member{}
	if got != want {
		x.mismatch("gzip member %d holds %d objects of %s %s from %q to %q; the index says %d of %s %s from %q to %q", x.now-1,
			got.Objects, got.Resource, got.Version, got.First, got.Last, want.Objects, want.Resource, want.Version, want.First, want.Last)
	}
}

// end is told the length of the archive.
func (x *indexCheck) end(size int64) {
	if x.index == nil || x.wrong {
		return
	}
	x.leave()
	if x.ends != len(x.index.Members) || size != x.index.Size {
		x.mismatch("it has %d gzip members and %d bytes; the index says %d and %d", x.ends, size, len(x.index.Members), x.index.Size)
	}
}
