package volume_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// facts are those of a bound CSI volume with everything that a snapshot needs.
func facts(changes ...func(*volume.Facts)) volume.Facts {
	class := "fast"
	f := volume.Facts{
		PV: &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: "pv"},
			Spec: corev1.PersistentVolumeSpec{
				PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "disk.example.com", VolumeHandle: "v1"}},
				ClaimRef:               &corev1.ObjectReference{Namespace: "shop", Name: "data"},
			},
		},
		PVC: &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class}},
		CSI: volume.CSIServed, Stored: true,
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func action(t policy.ActionType) func(*volume.Facts) {
	return func(f *volume.Facts) { f.Action = &policy.Action{Type: t} }
}

func wanted(yes bool) func(*volume.Facts) { return func(f *volume.Facts) { f.SnapshotVolumes = &yes } }

func hostPath(f *volume.Facts) {
	f.PV.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/x"}}
}

func disk(f *volume.Facts) {
	f.PV.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "vol-1"}}
	f.Native = "aws"
}

func native(f *volume.Facts)   { f.Native = "aws" }
func noClaim(f *volume.Facts)  { f.PVC = nil }
func noVolume(f *volume.Facts) { f.PV = nil }
func halfBound(f *volume.Facts) {
	f.PV, f.PVC.Spec.VolumeName, f.PVC.Status.Phase = nil, "pv-1", corev1.ClaimPending
}
func noClass(f *volume.Facts)  { f.CSIClass = errors.New("no class for disk.example.com") }
func csiOff(f *volume.Facts)   { f.CSI = volume.CSIOff }
func unserved(f *volume.Facts) { f.CSI = volume.CSIUnserved }
func unstored(f *volume.Facts) { f.Stored = false }
func move(f *volume.Facts)     { f.MoveData = true }
func byPod(f *volume.Facts)    { f.FSBackup = &volume.PodVolume{Pod: "shop/web", Volume: "d"} }
func unreadable(f *volume.Facts) {
	hostPath(f)
	f.NativeErr = errors.New(`volume id "x" has no disk`)
}

// outcome is what a case of the table looks at.
type outcome struct {
	method   volume.Method
	location string
	skipped  string // approach, and what its reason has in it
	problem  string // "warning" or "error", and what the text has in it
}

func TestDecide(t *testing.T) {
	t.Parallel()
	const csi, native_, files, none = volume.CSISnapshot, volume.NativeSnapshot, volume.PodVolumeBackup, volume.Skipped
	type changes = []func(*volume.Facts)
	for name, c := range map[string]struct {
		given changes
		want  outcome
	}{
		// What is saved, and by whom.
		"CSI volume":                                {nil, outcome{method: csi}},
		"CSI volume, asked for":                     {changes{wanted(true)}, outcome{method: csi}},
		"CSI volume that a location has too":        {changes{native}, outcome{method: csi}},
		"CSI volume whose object isn't stored":      {changes{unstored}, outcome{method: csi}},
		"disk":                                      {changes{disk}, outcome{method: native_, location: "aws"}},
		"disk without a claim":                      {changes{disk, noClaim}, outcome{method: native_, location: "aws"}},
		"disk, CSI off":                             {changes{disk, csiOff}, outcome{method: native_, location: "aws"}},
		"disk whose claim has no class":             {changes{disk, noClass}, outcome{method: native_, location: "aws"}},
		"CSI volume of a location, CSI off":         {changes{native, csiOff}, outcome{method: native_, location: "aws"}},
		"CSI volume of a location, CSI not served":  {changes{native, unserved}, outcome{method: native_, location: "aws"}},
		"CSI volume of a location, no class":        {changes{native, noClass}, outcome{method: native_, location: "aws"}},
		"CSI volume of a location, without a claim": {changes{native, noClaim}, outcome{method: native_, location: "aws"}},
		"CSI volume whose claim names no class":     {changes{func(f *volume.Facts) { f.PVC.Spec.StorageClassName = nil }}, outcome{method: csi, problem: "warning no storage class"}},
		"CSI volume whose claim's class is empty":   {changes{func(f *volume.Facts) { *f.PVC.Spec.StorageClassName = "" }}, outcome{method: csi, problem: "warning no storage class"}},
		"CSI volume whose claim has the older field": {changes{func(f *volume.Facts) {
			f.PVC.Spec.StorageClassName, f.PVC.Annotations = nil, map[string]string{corev1.BetaStorageClassAnnotation: "fast"}
		}}, outcome{method: csi}},

		// What a policy says comes first.
		"policy skips":                              {changes{action(policy.Skip), wanted(true), byPod}, outcome{skipped: "any a resource policy skips it"}},
		"policy leaves it to others":                {changes{action(policy.Custom), wanted(true), byPod}, outcome{skipped: "any leaves it to others"}},
		"policy asks for files":                     {changes{action(policy.FSBackup), wanted(true)}, outcome{method: files, skipped: "podvolume not saved file by file", problem: "error resource policy asks for fs-backup"}},
		"policy asks for files, snapshots off":      {changes{action(policy.FSBackup), wanted(false)}, outcome{method: files, skipped: "podvolume not saved", problem: "error fs-backup"}},
		"policy asks for a snapshot":                {changes{action(policy.Snapshot)}, outcome{method: csi}},
		"policy asks for one although they are off": {changes{action(policy.Snapshot), wanted(false)}, outcome{method: csi}},
		"policy asks for one, the pod for files":    {changes{action(policy.Snapshot), byPod}, outcome{method: csi}},
		"policy asks for one of a disk":             {changes{action(policy.Snapshot), disk, wanted(false)}, outcome{method: native_, location: "aws"}},
		"policy asks for one, nothing takes it":     {changes{action(policy.Snapshot), hostPath}, outcome{skipped: "volumeSnapshot no applicable volumesnapshotter found", problem: "error neither a CSI driver"}},
		"policy asks for one, CSI off":              {changes{action(policy.Snapshot), csiOff}, outcome{skipped: "csiSnapshot EnableCSI is off", problem: "error --features=EnableCSI"}},

		// Then what a pod says.
		"pod asks for files":                        {changes{byPod}, outcome{method: files, skipped: "podvolume not saved", problem: `error pod shop/web asks for fs-backup of its volume "d"`}},
		"pod asks for files, snapshots asked for":   {changes{byPod, wanted(true)}, outcome{method: files, skipped: "podvolume not saved", problem: "error file by file"}},
		"pod asks for files, snapshots off":         {changes{byPod, wanted(false)}, outcome{method: files, skipped: "podvolume not saved", problem: "error file by file"}},
		"pod asks for files of a disk":              {changes{byPod, disk}, outcome{method: files, skipped: "podvolume not saved", problem: "error file by file"}},
		"pod asks for files, policy has no opinion": {changes{byPod, action("")}, outcome{method: files, skipped: "podvolume not saved", problem: "error file by file"}},

		// Then the backup's own field.
		"snapshots off":            {changes{wanted(false)}, outcome{skipped: "volumeSnapshot snapshotVolumes is false"}},
		"snapshots off, a disk":    {changes{wanted(false), disk}, outcome{skipped: "volumeSnapshot snapshotVolumes is false"}},
		"snapshots off, host path": {changes{wanted(false), hostPath}, outcome{skipped: "volumeSnapshot snapshotVolumes is false"}},
		"snapshots off, no class":  {changes{wanted(false), noClass}, outcome{skipped: "volumeSnapshot snapshotVolumes is false"}},

		// A claim that is bound only by half may have data.
		"half bound":                             {changes{halfBound}, outcome{skipped: `any the claim is Pending, not bound to its volume "pv-1"`, problem: "warning make another backup"}},
		"half bound, policy asks for a snapshot": {changes{halfBound, action(policy.Snapshot), wanted(false)}, outcome{skipped: "any not bound", problem: "warning not its data"}},
		"half bound, policy skips":               {changes{halfBound, action(policy.Skip)}, outcome{skipped: "any not bound"}},
		"half bound, snapshots off":              {changes{halfBound, wanted(false)}, outcome{skipped: "any not bound"}},

		// What nothing covers is told.
		"host path":                            {changes{hostPath}, outcome{skipped: "volumeSnapshot no applicable volumesnapshotter found", problem: "warning --snapshot-volumes=false"}},
		"host path, snapshots asked for":       {changes{hostPath, wanted(true)}, outcome{skipped: "volumeSnapshot no applicable", problem: "warning action skip"}},
		"host path without a claim":            {changes{hostPath, noClaim}, outcome{skipped: "volumeSnapshot no applicable", problem: "warning not its data"}},
		"CSI off":                              {changes{csiOff}, outcome{skipped: "csiSnapshot EnableCSI is off", problem: "warning --features=EnableCSI"}},
		"CSI not served":                       {changes{unserved}, outcome{skipped: "csiSnapshot doesn't serve snapshot.storage.k8s.io", problem: "warning external-snapshotter"}},
		"no class":                             {changes{noClass}, outcome{skipped: "csiSnapshot no class for disk.example.com", problem: "error no class for disk.example.com"}},
		"no class, its disk isn't stored":      {changes{noClass, native, unstored}, outcome{skipped: "csiSnapshot no class", problem: "error no class"}},
		"CSI volume without a claim":           {changes{noClaim, func(f *volume.Facts) { f.PV.Spec.ClaimRef = nil }}, outcome{skipped: "csiSnapshot no claim uses it", problem: "warning disk.example.com is asked by claim"}},
		"CSI volume whose claim isn't stored":  {changes{noClaim, noClass}, outcome{skipped: "csiSnapshot its claim shop/data isn't in this backup", problem: "warning include persistentvolumeclaims"}},
		"disk whose object isn't stored":       {changes{disk, unstored}, outcome{skipped: "volumeSnapshot the PersistentVolume isn't in this backup", problem: "warning include persistentvolumes"}},
		"disk that can't be made out":          {changes{unreadable}, outcome{skipped: `volumeSnapshot volume id "x" has no disk`, problem: "error correct the volume"}},
		"disk that can't be made out, off":     {changes{unreadable, wanted(false)}, outcome{skipped: "volumeSnapshot snapshotVolumes is false"}},
		"claim without a volume":               {changes{noVolume}, outcome{skipped: "any the claim has no volume yet"}},
		"claim without a volume, asked for":    {changes{noVolume, wanted(true)}, outcome{skipped: "any the claim has no volume yet"}},
		"claim without a volume, policy asks":  {changes{noVolume, action(policy.Snapshot)}, outcome{skipped: "any the claim has no volume yet", problem: "warning there is no data"}},
		"claim without a volume, policy skips": {changes{noVolume, action(policy.Skip)}, outcome{skipped: "any the claim has no volume yet"}},

		// Moving data is not done.
		"CSI volume, to be moved": {changes{move}, outcome{method: csi, problem: "error snapshotMoveData"}},
		"disk, to be moved":       {changes{move, disk}, outcome{method: native_, location: "aws", problem: "warning can't be moved"}},
		"host path, to be moved":  {changes{move, hostPath}, outcome{skipped: "volumeSnapshot no applicable", problem: "warning not its data"}},
		"skipped, to be moved":    {changes{move, action(policy.Skip)}, outcome{skipped: "any skips it"}},
		"off, to be moved":        {changes{move, wanted(false)}, outcome{skipped: "volumeSnapshot is false"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, volume.Decide(facts(c.given...)), c.want)
		})
	}
}

func check(t *testing.T, got volume.Decision, want outcome) {
	t.Helper()
	if got.Method != want.method || got.Location != want.location || got.Why == "" {
		t.Errorf("decision %+v, want method %q, location %q", got, want.method, want.location)
	}
	approach, reason, _ := strings.Cut(want.skipped, " ")
	if string(got.Approach) != approach || !strings.Contains(got.Reason, reason) || got.Snapshot() == (approach != "") {
		t.Errorf("skipped %q: %q, want %q", got.Approach, got.Reason, want.skipped)
	}
	level, text, _ := strings.Cut(want.problem, " ")
	switch problem := got.Problem; {
	case problem == nil && level == "":
	case problem == nil || level == "":
		t.Errorf("problem %+v, want %q", problem, want.problem)
	case problem.Level != map[string]volume.Level{"warning": volume.Warning, "error": volume.Error}[level] || !strings.Contains(problem.Text, text):
		t.Errorf("problem %+v, want %q", *problem, want.problem)
	}
}

func TestSkippedReasonHasVelerosForm(t *testing.T) {
	t.Parallel()
	off := false
	for want, f := range map[string]volume.Facts{
		"": facts(),
		"volumeSnapshot: no applicable volumesnapshotter found;": facts(hostPath),
		"volumeSnapshot: snapshotVolumes is false;":              facts(func(f *volume.Facts) { f.SnapshotVolumes = &off }),
	} {
		if diff := cmp.Diff(want, volume.Decide(f).SkippedReason()); diff != "" {
			t.Errorf("skippedReason (-want +got):\n%s", diff)
		}
	}
}
