package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
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

var (
	errNoData    = errors.New("only the volume's object is saved, not its data")
	errNoFSSaved = errors.New("this version saves no volume file by file")
)

// Skipped reasons are in the form "approach: reason;" as Velero writes them.
const (
	noSnapshotter   = "volumeSnapshot: no applicable volumesnapshotter found;"
	notWanted       = "volumeSnapshot: snapshotVolumes is false;"
	policySkips     = "any: a resource policy skips it;"
	policyElsewhere = "any: a resource policy leaves it to others;"
)

// inspectVolume notes a stored volume and says whether its data is saved.
func (c *collector) inspectVolume(ctx context.Context, k *kind, obj cluster.Object, body []byte) error {
	var pv corev1.PersistentVolume
	if err := json.Unmarshal(body, &pv); err != nil {
		return &unreadableError{fmt.Errorf("decode volume: %w", err)}
	}
	claim, err := c.claimOf(ctx, &pv)
	if err != nil {
		c.report.Add(report.Error, refOf(k, obj), err)
	}
	action, _ := c.request.policies.Match(policy.Volume{PV: &pv, PVC: claim})
	c.volumes.add(c.report, refOf(k, obj), &pv, action)
	return nil
}

// add notes a volume and says that its data isn't saved, unless nobody asked
// for that: silence would read as success. action is what a resource policy
// decides; nil when none does.
func (v *volumes) add(r *report.Report, place ref.Object, pv *corev1.PersistentVolume, action *policy.Action) {
	info := volumeInfo{
		PVName: pv.Name, Skipped: true,
		PVInfo: pvInfo{ReclaimPolicy: string(pv.Spec.PersistentVolumeReclaimPolicy), Labels: pv.Labels},
	}
	if claim := pv.Spec.ClaimRef; claim != nil {
		info.PVCName, info.PVCNamespace = claim.Name, claim.Namespace
	}
	var level report.Level
	var err error
	info.SkippedReason, level, err = v.without(action)
	if err != nil {
		r.Add(level, place, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.infos = append(v.infos, info)
}

// without says why a volume's data isn't saved, and how bad that is.
func (v *volumes) without(action *policy.Action) (reason string, level report.Level, err error) {
	if action != nil {
		switch action.Type {
		case policy.Skip:
			return policySkips, 0, nil
		case policy.Custom:
			return policyElsewhere, 0, nil
		case policy.FSBackup:
			return "podvolume: not saved file by file;", report.Error, fmt.Errorf("%w: a resource policy asks for fs-backup: %w", errNoData, errNoFSSaved)
		case policy.Snapshot:
			return noSnapshotter, report.Error, fmt.Errorf("%w: a resource policy asks for a snapshot: this version takes no volume snapshots", errNoData)
		}
	}
	switch {
	case v.want == nil:
		return noSnapshotter, report.Warning, fmt.Errorf("%w: this version takes no volume snapshots; --snapshot-volumes=false silences this", errNoData)
	case *v.want:
		return noSnapshotter, report.Error, fmt.Errorf("%w: this version takes no volume snapshots", errNoData)
	}
	return notWanted, 0, nil
}

// inspectPodVolumes says which volumes of a pod were to be saved file by file,
// by the pod's owner or by a policy, and are not.
func (c *collector) inspectPodVolumes(at ref.Object, pod podFacts) {
	var asked []string
	if list := pod.Metadata.Annotations[velerov1.VolumesToBackupAnnotation]; list != "" {
		asked = strings.Split(list, ",")
	}
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		if volume.PersistentVolumeClaim != nil || neverSaved(volume) {
			continue
		}
		if action, ok := c.request.policies.Match(policy.Volume{Pod: volume}); ok && action.Type == policy.FSBackup {
			asked = append(asked, volume.Name)
		}
	}
	if len(asked) == 0 {
		return
	}
	slices.Sort(asked)
	c.report.Add(report.Error, at, fmt.Errorf("the data of volumes %s is not saved: %w", strings.Join(slices.Compact(asked), ", "), errNoFSSaved))
}

// neverSaved are volumes whose content isn't the pod's own.
func neverSaved(v *corev1.Volume) bool {
	return v.HostPath != nil || v.Secret != nil || v.ConfigMap != nil || v.Projected != nil || v.DownwardAPI != nil ||
		strings.HasPrefix(v.Name, "default-token")
}

func (v *volumes) list() []volumeInfo {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.infos
}
