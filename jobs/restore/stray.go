package restore

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// strays are the disks that were made and have no volume yet. The zero value is ready;
// it is safe for concurrent use.
type strays struct {
	mu sync.Mutex
	// all has them by the names of their volumes in the backup.
	all map[string]stray
}

// stray is a disk, and the volume of the cluster that is to be on it.
type stray struct {
	id    string
	place ref.Object
}

// made notes the disk that was made for the volume of r.
func (s *strays) made(r result, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]stray{}
	}
	s.all[r.disk.name] = stray{id, r.place}
}

// used notes that the volume of r is there.
func (s *strays) used(r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, r.disk.name)
}

// list returns all in the order of their volumes.
func (s *strays) list() []stray {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []stray
	for _, one := range s.all {
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b stray) int { return cmp.Compare(a.place.Name, b.place.Name) })
	return list
}

// reportStrays reports the disks that no volume came to, as far as is known: the answer
// to a create may have been lost. Where another attempt follows, only the log has them.
func (o *operation) reportStrays() {
	for _, one := range o.strays.list() {
		err := fmt.Errorf("its disk %q was made; unless volume %q is there, it belongs to nothing: delete it", one.id, one.place.Name)
		o.report.Add(report.Error, one.place, err)
		o.Log.Error("a disk has no volume, as far as is known; another attempt of this restore takes it", "volume", one.place.Name, "disk", one.id)
	}
}
