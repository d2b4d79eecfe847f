package describe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// RestoredVolume is an element of a restore's volumeinfo object: how the data of
// one volume came back. Fields that no description shows are left out.
type RestoredVolume struct {
	ClaimNamespace string `json:"pvcNamespace"`
	ClaimName      string `json:"pvcName"`
	Method         string `json:"restoreMethod"`
	// DataMoved says that the data came through a data mover, and DataMovement how.
	DataMoved    bool `json:"snapshotDataMoved"`
	DataMovement struct {
		OperationID  string `json:"operationID"`
		DataMover    string `json:"dataMover"`
		UploaderType string `json:"uploaderType"`
	} `json:"snapshotDataMovementInfo"`
	CSISnapshot struct {
		ContentName string `json:"vscName"`
		Handle      string `json:"snapshotHandle"`
		Driver      string `json:"driver"`
	} `json:"csiSnapshotInfo"`
}

// methodCSI is the Method of a volume that came back from a CSI snapshot.
const methodCSI = "CSISnapshot"

// podVolumePhases is the order in which restored volumes of pods are shown, with
// the words for it.
var podVolumePhases = []struct {
	phase velerov1.PodVolumeRestorePhase
	title string
}{
	{velerov1.PodVolumeRestorePhaseCompleted, "Completed"},
	{velerov1.PodVolumeRestorePhaseCanceled, "Canceled"},
	{velerov1.PodVolumeRestorePhaseFailed, "Failed"},
	{velerov1.PodVolumeRestorePhaseInProgress, "In Progress"},
	{velerov1.PodVolumeRestorePhaseCanceling, "Canceling"},
	{velerov1.PodVolumeRestorePhasePrepared, "Prepared"},
	{velerov1.PodVolumeRestorePhaseAccepted, "Accepted"},
	{velerov1.PodVolumeRestorePhaseNew, "New"},
}

// podVolumes writes how the volumes of pods that are restored file by file fare:
// their numbers, and with details each.
func (r Restore) podVolumes(l *layout) {
	uploaders := map[string][]velerov1.PodVolumeRestore{}
	for _, v := range r.PodVolumes {
		name := uploader(v)
		uploaders[name] = append(uploaders[name], v)
	}
	for _, name := range slices.Sorted(maps.Keys(uploaders)) {
		heading := name + " Restores"
		if !r.Details {
			heading += " (specify --details for more information)"
		}
		l.head(heading)
		for _, p := range podVolumePhases {
			r.podVolumesIn(l.inner(), p.title, inPhase(uploaders[name], p.phase))
		}
		l.blank()
	}
}

func uploader(v velerov1.PodVolumeRestore) string { return orElse(v.Spec.UploaderType, "restic") }

func phaseOf(v velerov1.PodVolumeRestore) velerov1.PodVolumeRestorePhase {
	return cmp.Or(v.Status.Phase, velerov1.PodVolumeRestorePhaseNew)
}

func inPhase(all []velerov1.PodVolumeRestore, phase velerov1.PodVolumeRestorePhase) []velerov1.PodVolumeRestore {
	return slices.DeleteFunc(slices.Clone(all), func(v velerov1.PodVolumeRestore) bool { return phaseOf(v) != phase })
}

func (r Restore) podVolumesIn(l *layout, title string, volumes []velerov1.PodVolumeRestore) {
	switch {
	case len(volumes) == 0:
		return
	case !r.Details:
		l.line(title, len(volumes))
		return
	}
	pods := map[string][]string{}
	for _, v := range volumes {
		pod := podOf(v)
		pods[pod] = append(pods[pod], v.Spec.Volume+percentDone(v))
	}
	l.head(title)
	for _, pod := range slices.Sorted(maps.Keys(pods)) {
		slices.Sort(pods[pod])
		l.inner().note(pod, strings.Join(pods[pod], ", "))
	}
}

func podOf(v velerov1.PodVolumeRestore) string { return v.Spec.Pod.Namespace + "/" + v.Spec.Pod.Name }

// percentDone follows the name of a volume whose data is on its way.
func percentDone(v velerov1.PodVolumeRestore) string {
	p := v.Status.Progress
	if phaseOf(v) != velerov1.PodVolumeRestorePhaseInProgress || p.TotalBytes == 0 {
		return ""
	}
	const whole = 100
	return fmt.Sprintf(" (%.2f%%)", whole*float64(p.BytesDone)/float64(p.TotalBytes))
}

// csiVolumes writes which claims came back from which CSI snapshots.
func (r Restore) csiVolumes(l *layout) {
	volumes := r.fromCSI()
	if len(volumes) == 0 {
		return
	}
	l.head("CSI Snapshot Restores")
	for _, v := range volumes {
		l.inner().head(v.claim())
		in := l.inner().inner()
		if v.DataMoved {
			in.head("Data Movement")
			in.inner().note("Operation ID", v.DataMovement.OperationID)
			in.inner().note("Data Mover", v.DataMovement.DataMover)
			in.inner().note("Uploader Type", v.DataMovement.UploaderType)
			continue
		}
		in.head("Snapshot")
		in.inner().note("Snapshot Content Name", v.CSISnapshot.ContentName)
		in.inner().note("Storage Snapshot ID", v.CSISnapshot.Handle)
		in.inner().note("CSI Driver", v.CSISnapshot.Driver)
	}
	l.blank()
}

func (v RestoredVolume) claim() string { return v.ClaimNamespace + "/" + v.ClaimName }

// fromCSI are the volumes from CSI snapshots, by the names of their claims.
func (r Restore) fromCSI() []RestoredVolume {
	if r.Volumes.Value == nil {
		return nil
	}
	volumes := slices.DeleteFunc(slices.Clone(*r.Volumes.Value), func(v RestoredVolume) bool { return v.Method != methodCSI })
	slices.SortFunc(volumes, func(a, b RestoredVolume) int { return cmp.Compare(a.claim(), b.claim()) })
	return volumes
}

// volumesJSON adds the volumes whose data came back.
func (r Restore) volumesJSON(out object) {
	if len(r.PodVolumes) > 0 {
		pods := make([]object, len(r.PodVolumes))
		for i, v := range r.PodVolumes {
			pods[i] = object{
				"pod": podOf(v), "volume": v.Spec.Volume, "uploaderType": uploader(v), "phase": phaseOf(v),
				"bytesDone": v.Status.Progress.BytesDone, "totalBytes": v.Status.Progress.TotalBytes,
			}
		}
		out["podVolumeRestores"] = pods
	}
	csi := object{}
	for _, v := range r.fromCSI() {
		if v.DataMoved {
			csi[v.claim()] = object{"dataMovement": object{
				"operationID": v.DataMovement.OperationID, "dataMover": v.DataMovement.DataMover, "uploaderType": v.DataMovement.UploaderType,
			}}
			continue
		}
		csi[v.claim()] = object{"snapshot": object{
			"snapshotContentName": v.CSISnapshot.ContentName, "storageSnapshotID": v.CSISnapshot.Handle, "csiDriver": v.CSISnapshot.Driver,
		}}
	}
	if len(csi) > 0 {
		out["csiSnapshotRestores"] = csi
	}
}
