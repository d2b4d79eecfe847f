package backup

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

var errNoFSSaved = errors.New("this version saves no volume file by file")

// savedVolume is what becomes of one volume's data.
type savedVolume struct {
	// at is what is said about it: its claim, or the volume itself.
	at     ref.Object
	method volume.Method
	info   volume.Info
	// pv and pvc are what a driver is told, and there until it has cut its snapshot.
	pv  *corev1.PersistentVolume
	pvc *corev1.PersistentVolumeClaim
	// csi is the snapshot of a driver as it was last seen; nil as long as there is
	// none.
	csi *csi.Snapshot
	// disk and location are those of a disk snapshot that was asked for.
	disk     *volume.Snapshot
	location *snapshotLocation
	// err is why there is no snapshot although there was to be one.
	err error
	// claimStored says that the archive has the claim of a driver's snapshot.
	claimStored bool
}

// volumes notes what becomes of the data of each volume. It is used by one goroutine
// at a time.
type volumes struct {
	byName  map[string]*savedVolume
	byClaim map[place]*savedVolume
	// reasons are the decisions' texts, of which there are few for many volumes.
	reasons map[string]string
}

func newVolumes() *volumes {
	return &volumes{byName: map[string]*savedVolume{}, byClaim: map[place]*savedVolume{}, reasons: map[string]string{}}
}

// add notes a volume that was decided about.
func (v *volumes) add(s *savedVolume) {
	for _, text := range []*string{&s.info.Decision, &s.info.SkippedReason} {
		if known, ok := v.reasons[*text]; ok {
			*text = known
		} else {
			v.reasons[*text] = *text
		}
	}
	v.byName[s.info.PVName] = s
	if s.method == volume.CSISnapshot {
		v.byClaim[s.claim()] = s
	}
}

// snapshot reports whether one was to be taken.
func (s *savedVolume) snapshot() bool {
	return s.method == volume.CSISnapshot || s.method == volume.NativeSnapshot
}

func (s *savedVolume) claim() place { return place{s.info.PVCNamespace, s.info.PVCName} }

// newSavedVolume begins the record of a volume.
func newSavedVolume(at ref.Object, pv *corev1.PersistentVolume, pvc *corev1.PersistentVolumeClaim, d volume.Decision) *savedVolume {
	s := &savedVolume{at: at, method: d.Method, info: volume.Info{
		PVName: pv.Name, Decision: d.Why, SkippedReason: d.SkippedReason(), Skipped: !d.Snapshot(),
		PV: &volume.PVInfo{ReclaimPolicy: string(pv.Spec.PersistentVolumeReclaimPolicy), Labels: pv.Labels},
	}}
	if claim := pv.Spec.ClaimRef; claim != nil {
		s.info.PVCName, s.info.PVCNamespace = claim.Name, claim.Namespace
	}
	if !d.Snapshot() {
		return s
	}
	if d.Method == volume.CSISnapshot {
		s.pv, s.pvc = forDriver(pv, pvc)
	}
	s.info.Method, s.info.StartTimestamp = d.Method, now()
	s.info.PreserveLocalSnapshot = d.Method == volume.CSISnapshot
	return s
}

// forDriver leaves of a volume and its claim what taking a snapshot depends on: there
// may be thousands that are cut at the same time.
func forDriver(pv *corev1.PersistentVolume, pvc *corev1.PersistentVolumeClaim) (*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) {
	volume := &corev1.PersistentVolume{}
	volume.Name, volume.Spec.CSI = pv.Name, &corev1.CSIPersistentVolumeSource{Driver: pv.Spec.CSI.Driver}
	if pvc == nil {
		return volume, nil
	}
	claim := &corev1.PersistentVolumeClaim{}
	claim.Namespace, claim.Name, claim.Labels, claim.Status.Phase = pvc.Namespace, pvc.Name, pvc.Labels, pvc.Status.Phase
	for key, value := range pvc.Annotations {
		if strings.HasPrefix(key, "velero.io/") { // such as the class to use
			metav1.SetMetaDataAnnotation(&claim.ObjectMeta, key, value)
		}
	}
	return volume, claim
}

// failed notes that there is no snapshot, or none that is of use.
func (s *savedVolume) failed(err error) {
	s.err, s.info.Result = err, volume.Failed
	s.info.CompletionTimestamp = now()
}

// succeeded notes that the snapshot can be used.
func (s *savedVolume) succeeded(at *metav1.Time) {
	s.info.Result = volume.Succeeded
	if s.info.CompletionTimestamp = at; at == nil {
		s.info.CompletionTimestamp = now()
	}
}

// noteCSI copies what is known of a driver's snapshot.
func (s *savedVolume) noteCSI(snapshot *csi.Snapshot) {
	s.csi, s.pv, s.pvc = snapshot, nil, nil
	started := snapshot.Started
	s.info.StartTimestamp = &started
	info := &volume.CSIInfo{
		OperationID: snapshot.OperationID(), Driver: s.info.CSI.Driver,
		SnapshotHandle: snapshot.Handle, ContentName: snapshot.Content, Size: snapshot.RestoreSize, ReadyToUse: snapshot.Ready,
	}
	if snapshot.Group != nil {
		info.GroupHandle = snapshot.Group.Handle
	}
	s.info.CSI = info
}

// noteDisk copies what is known of a disk's snapshot.
func (s *savedVolume) noteDisk() {
	s.pv, s.pvc = nil, nil
	iops := int64(0)
	if s.disk.Spec.VolumeIOPS != nil {
		iops = *s.disk.Spec.VolumeIOPS
	}
	s.info.Native = &volume.NativeInfo{
		SnapshotHandle: s.disk.Status.ProviderSnapshotID, VolumeType: s.disk.Spec.VolumeType, VolumeAZ: s.disk.Spec.VolumeAZ,
		IOPS: strconv.FormatInt(iops, 10), Phase: string(s.disk.Status.Phase),
	}
}

// sorted returns the volumes in the order of Velero's records: skipped ones, those of
// disks, those of drivers; by name.
func (v *volumes) sorted() []*savedVolume {
	rank := map[volume.Method]int{volume.Skipped: 0, volume.NativeSnapshot: 1, volume.CSISnapshot: 2}
	all := make([]*savedVolume, 0, len(v.byName))
	for _, s := range v.byName {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *savedVolume) int {
		return cmp.Or(cmp.Compare(rank[a.info.Method], rank[b.info.Method]), cmp.Compare(a.info.PVName, b.info.PVName))
	})
	return all
}

// snapshots is how many were asked for.
func (v *volumes) snapshots() (n int) {
	for _, s := range v.byName {
		if s.snapshot() {
			n++
		}
	}
	return n
}

// infos is the content of the volumeinfo object.
func (v *volumes) infos() []volume.Info {
	infos := []volume.Info{}
	for _, s := range v.sorted() {
		infos = append(infos, s.info)
	}
	return infos
}

// disks is the content of the volumesnapshots object; nil when there is nothing.
func (v *volumes) disks() []*volume.Snapshot {
	var disks []*volume.Snapshot
	for _, s := range v.sorted() {
		if s.disk != nil {
			disks = append(disks, s.disk)
		}
	}
	return disks
}

// status puts the counts of snapshots into a Backup's status.
func (v *volumes) status(status *velerov1.BackupStatus) {
	for _, count := range []*int{
		&status.VolumeSnapshotsAttempted, &status.VolumeSnapshotsCompleted, &status.CSIVolumeSnapshotsAttempted, &status.CSIVolumeSnapshotsCompleted,
		&status.BackupItemOperationsAttempted, &status.BackupItemOperationsCompleted, &status.BackupItemOperationsFailed,
	} {
		*count = 0
	}
	for _, s := range v.byName {
		done := 0
		if s.info.Result == volume.Succeeded {
			done = 1
		}
		switch s.info.Method {
		case volume.NativeSnapshot:
			status.VolumeSnapshotsAttempted++
			status.VolumeSnapshotsCompleted += done
		case volume.CSISnapshot:
			status.CSIVolumeSnapshotsAttempted++
			status.CSIVolumeSnapshotsCompleted += done
		}
		if s.csi == nil {
			continue
		}
		status.BackupItemOperationsAttempted++
		status.BackupItemOperationsCompleted += done
		status.BackupItemOperationsFailed += 1 - done
	}
}

// inspectPodVolumes says which volumes of a pod were to be saved file by file,
// by the pod's owner or by a policy, and are not.
func (c *collector) inspectPodVolumes(at ref.Object, pod podFacts) {
	asked := pod.fsVolumes()
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
