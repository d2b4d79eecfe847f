package restore

import (
	"hash/maphash"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// pathSeed is that of the hashes below; they don't leave the process.
var pathSeed = maphash.MakeSeed()

// duplicates finds objects that an archive holds twice. It remembers eight bytes
// of each, so that it can take one for another, but not in the life of a cluster.
type duplicates struct {
	seen map[uint64]struct{}
	// twice gets those that were found.
	twice map[transform.Place]bool
}

func (d *duplicates) add(item archive.Item) { d.note(placeOf(item), item.Version) }

// note notes a place in a version of its kind.
func (d *duplicates) note(place transform.Place, version string) {
	if d.seen == nil {
		d.seen = map[uint64]struct{}{}
	}
	key := maphash.Comparable(pathSeed, struct {
		transform.Place
		version string
	}{place, version})
	if _, ok := d.seen[key]; ok {
		d.twice[place] = true
	}
	d.seen[key] = struct{}{}
}
