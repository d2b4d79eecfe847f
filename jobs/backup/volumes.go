package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// volumeInfo is one element of a backup's volumeinfo object.
type volumeInfo struct {
	PVCName               string `json:"pvcName,omitempty"`
	PVCNamespace          string `json:"pvcNamespace,omitempty"`
	PVName                string `json:"pvName,omitempty"`
	SnapshotDataMoved     bool   `json:"snapshotDataMoved"`
	PreserveLocalSnapshot bool   `json:"preserveLocalSnapshot"`
	Skipped               bool   `json:"skipped"`
	SkippedReason         string `json:"skippedReason,omitempty"`
	PVInfo                pvInfo `json:"pvInfo"`
}

type pvInfo struct {
	ReclaimPolicy string            `json:"reclaimPolicy"`
	Labels        map[string]string `json:"labels"`
}

// volumes notes what became of the data of each stored volume. It is safe for
// concurrent use.
type volumes struct {
	mu    sync.Mutex
	want  *bool // the spec's snapshotVolumes
	infos []volumeInfo
}

func newVolumes(want *bool) *volumes {
	return &volumes{want: want, infos: []volumeInfo{}}
}

var errNoData = errors.New("only the volume's object is saved, not its data")

// add notes a volume and says that its data isn't saved, unless nobody asked
// for that: silence would read as success.
func (v *volumes) add(r *report.Report, place ref.Object, body []byte) error {
	var pv corev1.PersistentVolume
	if err := json.Unmarshal(body, &pv); err != nil {
		return fmt.Errorf("decode volume: %w", err)
	}
	info := volumeInfo{
		PVName: pv.Name, Skipped: true,
		PVInfo: pvInfo{ReclaimPolicy: string(pv.Spec.PersistentVolumeReclaimPolicy), Labels: pv.Labels},
	}
	if claim := pv.Spec.ClaimRef; claim != nil {
		info.PVCName, info.PVCNamespace = claim.Name, claim.Namespace
	}
	switch {
	case v.want == nil:
		info.SkippedReason = "volumeSnapshot: no applicable volumesnapshotter found;"
		r.Add(report.Warning, place, fmt.Errorf("%w: this version takes no volume snapshots; --snapshot-volumes=false silences this", errNoData))
	case *v.want:
		info.SkippedReason = "volumeSnapshot: no applicable volumesnapshotter found;"
		r.Add(report.Error, place, fmt.Errorf("%w: this version takes no volume snapshots", errNoData))
	default:
		info.SkippedReason = "volumeSnapshot: snapshotVolumes is false;"
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.infos = append(v.infos, info)
	return nil
}

func (v *volumes) list() []volumeInfo {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.infos
}
