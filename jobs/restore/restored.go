package restore

import (
	"cmp"
	"slices"
	"strconv"
	"sync"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// restored lists the volumes whose data came back. The zero value is ready; it is
// safe for concurrent use.
type restored struct {
	mu    sync.Mutex
	infos []volume.RestoreInfo
}

func (l *restored) add(info volume.RestoreInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.infos = append(l.infos, info)
}

// disk adds the volume of r, which is on a disk that was made from a snapshot.
func (l *restored) disk(r result, s saved) {
	record := s.disks[r.disk.name]
	info := volume.RestoreInfo{
		PVName: r.place.Name, PVCNamespace: r.disk.claim.Namespace, PVCName: r.disk.claim.Name, Method: volume.NativeSnapshot,
		Native: &volume.NativeInfo{
			SnapshotHandle: record.Status.ProviderSnapshotID, VolumeType: record.Spec.VolumeType, VolumeAZ: record.Spec.VolumeAZ,
			IOPS: "0", Phase: string(record.Status.Phase),
		},
	}
	if iops := record.Spec.VolumeIOPS; iops != nil {
		info.Native.IOPS = strconv.FormatInt(*iops, 10)
	}
	l.add(info)
}

// claim adds a claim whose volume was made from a CSI snapshot.
func (l *restored) claim(c *claim, pv string) {
	info := volume.RestoreInfo{PVName: pv, PVCNamespace: c.place.Namespace, PVCName: c.place.Name, Method: volume.CSISnapshot}
	csi := volume.CSIInfo{}
	if c.info != nil && c.info.CSI != nil {
		csi = *c.info.CSI
	}
	csi.ContentName = c.snapshot
	info.CSI = &csi
	l.add(info)
}

// list returns all in the order of their claims and names; it is never nil.
func (l *restored) list() []volume.RestoreInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	infos := append([]volume.RestoreInfo{}, l.infos...)
	slices.SortFunc(infos, func(a, b volume.RestoreInfo) int {
		return cmp.Or(cmp.Compare(a.PVCNamespace, b.PVCNamespace), cmp.Compare(a.PVCName, b.PVCName), cmp.Compare(a.PVName, b.PVName))
	})
	return slices.CompactFunc(infos, func(a, b volume.RestoreInfo) bool { return a.PVName == b.PVName && a.Method == b.Method })
}

// claimOf is the claim of a volume as it is to be created.
func claimOf(obj *transform.Object) transform.Place {
	var spec struct {
		ClaimRef struct{ Namespace, Name string }
	}
	if obj.Read("spec", &spec) != nil { // the API server says what is wrong with it
		return transform.Place{}
	}
	return claimPlace(spec.ClaimRef.Namespace, spec.ClaimRef.Name)
}
