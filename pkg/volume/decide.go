package volume

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
)

// CSIState says whether CSI drivers can be asked for snapshots.
type CSIState int

const (
	// CSIOff means that the installation doesn't want them: no feature EnableCSI.
	CSIOff CSIState = iota
	// CSIUnserved means that the cluster doesn't serve their API.
	CSIUnserved
	// CSIServed means that it does.
	CSIServed
)

// PodVolume is a claim as a pod mounts it.
type PodVolume struct {
	// Pod is NAMESPACE/NAME; Volume is the name in the pod's spec.
	Pod, Volume string
}

// Facts are all that the decision about one volume's data depends on.
type Facts struct {
	// PV is nil for a claim that has no volume yet.
	PV *corev1.PersistentVolume
	// PVC is nil when the backup doesn't hold the volume's claim.
	PVC *corev1.PersistentVolumeClaim
	// Action is what a resource policy says; nil when none is about this volume.
	Action *policy.Action
	// SnapshotVolumes and MoveData are the backup's fields.
	SnapshotVolumes *bool
	MoveData        bool
	// FSBackup is the pod that wants the volume saved file by file, by its own
	// annotation or by the backup's default; nil when none does.
	FSBackup *PodVolume
	CSI      CSIState
	// CSIClass says why no VolumeSnapshotClass fits; nil when one does. It counts
	// for volumes of CSI drivers only.
	CSIClass error
	// Native is the snapshot location whose provider has the disk; empty for none.
	Native string
	// NativeErr says why a provider can't tell which of its disks this is.
	NativeErr error
	// Stored says that the backup holds the PersistentVolume, or will.
	Stored bool
}

// Level says how bad a Problem is.
type Level int

const (
	// Warning is for data that nobody asked for by name.
	Warning Level = iota
	// Error is for data that was asked for, or that should have been saved.
	Error
)

// Problem is what a person has to know of a decision.
type Problem struct {
	Level Level
	// Text says what isn't done, why, and the way out.
	Text string
}

// Approach is the way of saving data that a reason for skipping it speaks of.
type Approach string

// The approaches, as Velero calls them in skippedReason.
const (
	ByFiles     Approach = "podvolume"
	ByCSI       Approach = "csiSnapshot"
	ByDisk      Approach = "volumeSnapshot"
	AnyApproach Approach = "any"
)

// Decision is what is done with the data of one volume.
type Decision struct {
	Method Method
	// Location is the snapshot location of a NativeSnapshot.
	Location string
	// Approach and Reason say why the data is skipped; empty when it isn't.
	Approach Approach
	Reason   string
	// Why is the rule that decided, in a few words.
	Why string
	// Problem is nil when there is nothing to tell.
	Problem *Problem
}

// SkippedReason is the reason in the form that Velero writes; empty when the data
// isn't skipped.
func (d Decision) SkippedReason() string {
	if d.Approach == "" {
		return ""
	}
	return fmt.Sprintf("%s: %s;", d.Approach, d.Reason)
}

// Snapshot reports whether a snapshot is to be taken.
func (d Decision) Snapshot() bool { return d.Method == CSISnapshot || d.Method == NativeSnapshot }

// notSaved begins the texts of all problems.
const notSaved = "only the volume's object is saved, not its data"

// Decide says how the data of a volume is saved: by Velero's rules (a policy first,
// then what its pod says, then the backup's snapshotVolumes), but for the volume of a
// CSI driver that can't take snapshots, which goes to the snapshot location that has
// its disk.
func Decide(f Facts) Decision {
	if f.PV == nil {
		return f.unbound()
	}
	if f.Action != nil {
		switch f.Action.Type {
		case policy.Skip:
			return skip(AnyApproach, "a resource policy skips it")
		case policy.Custom:
			return skip(AnyApproach, "a resource policy leaves it to others")
		case policy.FSBackup:
			return byFiles("a resource policy asks for fs-backup")
		case policy.Snapshot:
			return f.snapshot("a resource policy asks for a snapshot")
		}
	}
	switch {
	case f.FSBackup != nil:
		return byFiles(fmt.Sprintf("pod %s asks for fs-backup of its volume %q", f.FSBackup.Pod, f.FSBackup.Volume))
	case f.SnapshotVolumes == nil:
		return f.snapshot("snapshots are the default")
	case *f.SnapshotVolumes:
		return f.snapshot("snapshotVolumes is true")
	}
	return skip(ByDisk, "snapshotVolumes is false")
}

// unbound is the decision about a claim without a volume: there is no data. A claim
// that names one, but isn't bound to it, may have some.
func (f Facts) unbound() Decision {
	if f.PVC != nil && f.PVC.Spec.VolumeName != "" {
		return f.halfBound()
	}
	d := skip(AnyApproach, "the claim has no volume yet")
	if f.asked() {
		d.Problem = &Problem{Warning, "a resource policy asks for a snapshot, but the claim has no volume yet: there is no data to save"}
	}
	return d
}

func (f Facts) halfBound() Decision {
	d := skip(AnyApproach, fmt.Sprintf("the claim is %s, not bound to its volume %q", f.PVC.Status.Phase, f.PVC.Spec.VolumeName))
	silent := f.Action == nil && f.SnapshotVolumes != nil && !*f.SnapshotVolumes ||
		f.Action != nil && (f.Action.Type == policy.Skip || f.Action.Type == policy.Custom)
	if !silent {
		d.Problem = &Problem{Warning, fmt.Sprintf("%s: %s; hint: make another backup when it is bound", notSaved, d.Reason)}
	}
	return d
}

// asked reports whether a policy asks for a snapshot of this very volume.
func (f Facts) asked() bool { return f.Action != nil && f.Action.Type == policy.Snapshot }

func skip(approach Approach, reason string) Decision {
	return Decision{Approach: approach, Reason: reason, Why: reason}
}

// byFiles records what was asked for, and that it isn't done.
func byFiles(why string) Decision {
	d := skip(ByFiles, "not saved file by file")
	d.Method, d.Why = PodVolumeBackup, why
	d.Problem = &Problem{Error, fmt.Sprintf("%s: %s: this version saves no volume file by file", notSaved, why)}
	return d
}

// snapshot finds who takes the snapshot; why says who wants it.
func (f Facts) snapshot(why string) Decision {
	if f.PV.Spec.CSI != nil && f.CSI == CSIServed && f.PVC != nil && f.CSIClass == nil {
		return f.byCSI(why)
	}
	if f.Native != "" && f.Stored {
		return f.byDisk(why)
	}
	return f.uncovered(why)
}

func (f Facts) byCSI(why string) Decision {
	d := Decision{Method: CSISnapshot, Why: fmt.Sprintf("%s; CSI driver %s takes it", why, f.PV.Spec.CSI.Driver)}
	switch {
	case f.MoveData:
		d.Problem = &Problem{Error, "the snapshot's data stays in the storage system: this version doesn't move it (snapshotMoveData)"}
	case storageClass(f.PVC) == "":
		d.Problem = &Problem{Warning, "the claim has no storage class, so a restore can make no volume from the snapshot by itself; hint: restore with a resource modifier that sets spec.storageClassName"}
	}
	return d
}

func (f Facts) byDisk(why string) Decision {
	d := Decision{Method: NativeSnapshot, Location: f.Native, Why: fmt.Sprintf("%s; snapshot location %q has the disk", why, f.Native)}
	if f.PV.Spec.CSI != nil && f.CSIClass != nil {
		d.Why += fmt.Sprintf(", CSI can't take it: %v", f.CSIClass)
	}
	if f.MoveData {
		d.Problem = &Problem{Warning, "the snapshot's data stays with the provider: snapshots that a cloud's own API takes can't be moved (snapshotMoveData)"}
	}
	return d
}

// uncovered is the decision about a volume that nothing can save.
func (f Facts) uncovered(why string) Decision {
	approach, reason, hint := f.obstacle()
	d := skip(approach, reason)
	d.Why = why + ", but " + reason
	level := Warning
	if f.asked() || f.broken() {
		level = Error
	}
	d.Problem = &Problem{level, fmt.Sprintf("%s: %s: %s; hint: %s", notSaved, why, reason, hint)}
	return d
}

// broken reports whether the volume is one that should have been saved.
func (f Facts) broken() bool { return f.NativeErr != nil || f.classMissing() }

func (f Facts) classMissing() bool {
	return f.PV.Spec.CSI != nil && f.CSI == CSIServed && f.PVC != nil && f.CSIClass != nil
}

// silence is the way out where nothing can be done.
const silence = "a resource policy with the action skip leaves it out without this message, --snapshot-volumes=false all volumes"

// obstacle says what keeps a volume from being snapshotted, and the way out.
func (f Facts) obstacle() (approach Approach, reason, hint string) {
	csi := f.PV.Spec.CSI
	switch {
	case f.classMissing():
		return ByCSI, f.CSIClass.Error(), "or, where the driver can take no snapshots: " + silence
	case f.NativeErr != nil:
		return ByDisk, f.NativeErr.Error(), "correct the volume, or " + silence
	case f.Native != "":
		return ByDisk, fmt.Sprintf("snapshot location %q has the disk, but the PersistentVolume isn't in this backup", f.Native),
			"include persistentvolumes, or " + silence
	case csi == nil:
		return ByDisk, "no applicable volumesnapshotter found", "it is the volume of neither a CSI driver nor a snapshot location's provider; " + silence
	case f.CSI == CSIOff:
		return ByCSI, fmt.Sprintf("driver %s could be asked, but the feature EnableCSI is off", csi.Driver), "install with --features=EnableCSI, or " + silence
	case f.CSI == CSIUnserved:
		return ByCSI, fmt.Sprintf("the cluster doesn't serve snapshot.storage.k8s.io, by which driver %s could be asked", csi.Driver),
			"install the CRDs and the controller of external-snapshotter, or " + silence
	case f.PV.Spec.ClaimRef == nil:
		return ByCSI, fmt.Sprintf("no claim uses it, and driver %s is asked by claim", csi.Driver), silence
	}
	claim := f.PV.Spec.ClaimRef
	return ByCSI, fmt.Sprintf("its claim %s/%s isn't in this backup, and driver %s is asked by claim", claim.Namespace, claim.Name, csi.Driver),
		"include persistentvolumeclaims, or " + silence
}

// storageClass is the class that a claim names, by its field or the annotation that
// came before.
func storageClass(claim *corev1.PersistentVolumeClaim) string {
	if class := claim.Spec.StorageClassName; class != nil {
		return *class
	}
	return claim.Annotations[corev1.BetaStorageClassAnnotation]
}
