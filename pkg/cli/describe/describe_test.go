package describe

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

var update = flag.Bool("update", false, "rewrite golden files")

var (
	started   = metav1.NewTime(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC))
	completed = metav1.NewTime(time.Date(2026, 1, 2, 3, 0, 12, 0, time.UTC))
	expires   = metav1.NewTime(time.Date(2026, 2, 1, 3, 0, 0, 0, time.UTC))
)

// simple is a backup without anything out of the ordinary.
func simple() Backup {
	return Backup{
		Program:  "kubectl velero",
		Standing: Standing{Job: "backup-shop-0a1b2c3d"},
		Backup: &velerov1.Backup{
			ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "velero", Labels: map[string]string{"velero.io/storage-location": "default"}},
			Spec:       velerov1.BackupSpec{IncludedNamespaces: []string{"shop"}, StorageLocation: "default", TTL: metav1.Duration{Duration: 720 * time.Hour}},
			Status: velerov1.BackupStatus{
				Phase: velerov1.BackupPhaseCompleted, FormatVersion: "1.1.0",
				StartTimestamp: &started, CompletionTimestamp: &completed, Expiration: &expires,
				Progress: &velerov1.BackupProgress{TotalItems: 12, ItemsBackedUp: 12},
			},
		},
	}
}

// rich is a backup with one of everything.
func rich() Backup {
	b := simple()
	spec, status := &b.Backup.Spec, &b.Backup.Status
	b.Backup.Annotations = map[string]string{"b": "2", "a": "1", velerov1.TopCausesAnnotation: "forbidden (2 times); hint: grant it\ntimeout"}
	spec.ExcludedNamespaces = []string{"kube-system", "kube-public"}
	spec.ExcludedClusterScopedResources = []string{"nodes"}
	spec.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	spec.SnapshotVolumes = ptr.To(false)
	spec.DefaultVolumesToFsBackup = ptr.To(true)
	spec.ResourcePolicy = &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "policy"}
	spec.UploaderConfig = &velerov1.UploaderConfigForBackup{ParallelFilesUpload: 4}
	spec.OrderedResources = map[string]string{"pods": "shop/a,shop/b"}
	spec.Hooks.Resources = []velerov1.BackupResourceHookSpec{{
		Name: "freeze", IncludedNamespaces: []string{"shop"},
		PreHooks: []velerov1.BackupResourceHook{{Exec: &velerov1.ExecHook{
			Container: "db", Command: []string{"/bin/freeze", "-f"}, OnError: velerov1.HookErrorModeFail, Timeout: metav1.Duration{Duration: 30 * time.Second},
		}}},
	}}
	status.Phase = velerov1.BackupPhasePartiallyFailed
	status.Warnings, status.Errors = 1, 3
	status.VolumeSnapshotsAttempted, status.VolumeSnapshotsCompleted = 2, 1
	status.HookStatus = &velerov1.HookStatus{HooksAttempted: 1}
	status.BackupItemOperationsAttempted, status.BackupItemOperationsCompleted = 2, 2
	b.Standing.Reasons = []string{"forbidden (2 times); hint: grant it", "timeout"}
	b.Results.Value = &report.Results{
		Warnings: report.Result{Velero: []string{" message: /volumes are not saved"}},
		Errors: report.Result{
			Cluster:    []string{" resource: /nodes name: /n1 message: /forbidden"},
			Namespaces: map[string][]string{"shop": {"first", "second"}},
		},
	}
	b.ResourceList.Value = &map[string][]string{"v1/Pod": {"shop/a", "shop/b"}, "apps/v1/Deployment": {"shop/web"}}
	b.Coverage.Value = &report.Coverage{Kinds: []report.KindCoverage{
		{Resource: "pods", Version: "v1", Namespaced: true, State: report.KindListed, Listed: 5, Stored: 2, Bytes: 8400,
			Skipped: map[string]int{"being deleted": 1, "labelled velero.io/exclude-from-backup": 2}},
		{Resource: "deployments.apps", Version: "v1", Namespaced: true, State: report.KindListed, Listed: 1, Stored: 1, Bytes: 900},
		{Resource: "persistentvolumes", Version: "v1", State: report.KindExcluded, Related: 1, Stored: 1, Bytes: 3 << 20},
		{Resource: "secrets", Version: "v1", Namespaced: true, State: report.KindForbidden,
			Reason: `list secrets: secrets is forbidden: User "velero" cannot list resource "secrets"; hint: grant "list secrets"`},
		{Resource: "leases.coordination.k8s.io", Version: "v1", Namespaced: true, State: report.KindForbidden},
		{Resource: "widgets.example.com", Version: "v1", Namespaced: true, State: report.KindFailed, Reason: "service unavailable", Listed: 3, Stored: 3, Bytes: 120},
		{Resource: "widgets.example.com", Version: "v1beta1", Namespaced: true, State: report.KindListed, Listed: 1, Stored: 1, Bytes: 40},
		{Resource: "configmaps", Version: "v1", Namespaced: true, State: report.KindListed},
		{Resource: "nodes", Version: "v1", State: report.KindExcluded},
		{Resource: "tokenreviews.authentication.k8s.io", Version: "v1", State: report.KindNotListable},
	}}
	b.Deletions = []velerov1.DeleteBackupRequest{{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: completed},
		Status:     velerov1.DeleteBackupRequestStatus{Phase: velerov1.DeleteBackupRequestPhaseProcessed, Errors: []string{"bucket is read-only"}},
	}}
	return b
}

func stuck() Backup {
	b := simple()
	b.Backup.Status = velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress, Progress: &velerov1.BackupProgress{TotalItems: 100, ItemsBackedUp: 7}}
	b.Standing.Cause = "no node can take its pod: 0/3 nodes are available; hint: look at the nodes"
	return b
}

// copying is a backup that waits for its snapshots.
func copying() Backup {
	b := simple()
	b.Backup.Annotations = map[string]string{velerov1.DisksCopiedAnnotation: "42%"}
	b.Backup.Status = velerov1.BackupStatus{
		Phase: velerov1.BackupPhaseInProgress, StartTimestamp: b.Backup.Status.StartTimestamp, Progress: &velerov1.BackupProgress{TotalItems: 100, ItemsBackedUp: 100},
		VolumeSnapshotsAttempted: 5, VolumeSnapshotsCompleted: 1, CSIVolumeSnapshotsAttempted: 3, CSIVolumeSnapshotsCompleted: 2,
		BackupItemOperationsAttempted: 3, BackupItemOperationsCompleted: 2,
	}
	return b
}

func unread() Backup {
	b := simple()
	b.Backup.Status.Errors = 2
	b.Results.Err = errors.New("bucket does not answer")
	b.ResourceList.Err = errors.New("bucket does not answer")
	b.Coverage.Err = errors.New("bucket does not answer")
	b.Volumes.Err = b.Coverage.Err
	return b
}

// foreign is a backup by Velero, or an early one of its backups at that.
func foreign() Backup {
	b := simple()
	b.Backup.Annotations = map[string]string{
		velerov1.IncludeObjectsAnnotation: "shop/deploy/web,shop/secret/db-*",
		velerov1.ExcludeObjectsAnnotation: "shop/secret/db-old",
	}
	b.Backup.Spec.OrLabelSelectors = []*metav1.LabelSelector{
		{MatchLabels: map[string]string{"app": "web"}}, {MatchLabels: map[string]string{"app": "db"}},
	}
	b.ResourceList.Missing, b.Coverage.Missing = true, true
	return b
}

func restore() Restore {
	return Restore{
		Program:  "kubectl velero",
		Standing: Standing{Job: "restore-shop-0a1b2c3d", Reasons: []string{"webhook refused"}},
		Restore: &velerov1.Restore{
			ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "velero"},
			Spec: velerov1.RestoreSpec{
				BackupName: "shop", IncludedNamespaces: []string{"*"}, NamespaceMapping: map[string]string{"shop": "copy"},
				RestorePVs: ptr.To(false), IncludeClusterResources: ptr.To(true),
				ResourceModifier: &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "changes"},
				UploaderConfig:   &velerov1.UploaderConfigForRestore{ParallelFilesDownload: 2},
			},
			Status: velerov1.RestoreStatus{
				Phase: velerov1.RestorePhasePartiallyFailed, Errors: 1, StartTimestamp: &started, CompletionTimestamp: &completed,
				Progress: &velerov1.RestoreProgress{TotalItems: 12, ItemsRestored: 11},
			},
		},
		Results:      Fetched[report.Results]{Value: &report.Results{Errors: report.Result{Velero: []string{"webhook refused"}}}},
		ResourceList: Fetched[map[string][]string]{Value: &map[string][]string{"v1/Pod": {"copy/a(created)"}}},
	}
}

// tuned is a restore with one of everything that restore has none of.
func tuned() Restore {
	r := restore()
	r.Restore.Annotations = map[string]string{
		velerov1.IncludeObjectsAnnotation:                   "shop/deploy/web,*/secret/db-*",
		velerov1.IncludedClusterScopedResourcesAnnotation:   "pv,sc",
		velerov1.ExcludedNamespaceScopedResourcesAnnotation: "pods",
		velerov1.ResourcePrioritiesAnnotation:               "secrets,configmaps,-,jobs.batch",
		velerov1.RetryForAnnotation:                         "5m0s",
		velerov1.TopCausesAnnotation:                        "webhook refused (2 times)\ntimeout",
	}
	r.Standing.Reasons = []string{"webhook refused (2 times)", "timeout"}
	spec, status := &r.Restore.Spec, &r.Restore.Status
	*spec = velerov1.RestoreSpec{
		BackupName: "nightly-20260102000000", ScheduleName: "nightly", IncludedNamespaces: []string{"shop"}, ExcludedNamespaces: []string{"db"},
		OrLabelSelectors: []*metav1.LabelSelector{
			{MatchLabels: map[string]string{"app": "web"}}, {MatchLabels: map[string]string{"app": "db"}},
		},
		RestoreStatus:          &velerov1.RestoreStatusSpec{IncludedResources: []string{"workflows.argoproj.io"}},
		ExistingResourcePolicy: velerov1.PolicyTypeUpdate, PreserveNodePorts: ptr.To(true),
		ItemOperationTimeout: metav1.Duration{Duration: time.Hour},
	}
	status.Warnings = 1
	status.HookStatus = &velerov1.HookStatus{HooksAttempted: 2, HooksFailed: 1}
	status.RestoreItemOperationsAttempted, status.RestoreItemOperationsCompleted = 2, 2
	r.Results.Value.Warnings = report.Result{Namespaces: map[string][]string{"shop": {"ConfigMap shop/same: exists and differs"}}}
	r.ResourceList.Value = &map[string][]string{
		"v1/ConfigMap": {"shop/new(created)", "shop/same(skipped)", "shop/web(updated)"},
		"v1/Namespace": {"shop(skipped)"},
		"rbac.authorization.k8s.io/v1/ClusterRole":   {"tool (old)(failed)"},
		"admissionregistration.k8s.io/v1/Unheard-of": {"x(adopted)"},
	}
	return r
}

// withData is a restore that brought back the data of volumes.
func withData(details bool) Restore {
	r := restore()
	r.Details = details
	podVolume := func(pod, volume, uploader string, phase velerov1.PodVolumeRestorePhase, done int64) velerov1.PodVolumeRestore {
		v := velerov1.PodVolumeRestore{Spec: velerov1.PodVolumeRestoreSpec{
			Pod: corev1.ObjectReference{Namespace: "shop", Name: pod}, Volume: volume, UploaderType: uploader,
		}}
		v.Status.Phase = phase
		v.Status.Progress = velerov1.DataMoveOperationProgress{TotalBytes: 1000, BytesDone: done}
		return v
	}
	r.PodVolumes = []velerov1.PodVolumeRestore{
		podVolume("db-0", "wal", "kopia", velerov1.PodVolumeRestorePhaseInProgress, 455),
		podVolume("db-0", "data", "kopia", velerov1.PodVolumeRestorePhaseCompleted, 1000),
		podVolume("db-0", "conf", "kopia", velerov1.PodVolumeRestorePhaseCompleted, 1000),
		podVolume("web", "cache", "", "", 0),
	}
	if !details {
		return r
	}
	snapshot := RestoredVolume{ClaimNamespace: "shop", ClaimName: "b", Method: methodCSI}
	snapshot.CSISnapshot.ContentName, snapshot.CSISnapshot.Handle, snapshot.CSISnapshot.Driver = "content", "snap-1", "ebs.csi.aws.com"
	moved := RestoredVolume{ClaimNamespace: "shop", ClaimName: "a", Method: methodCSI, DataMoved: true}
	moved.DataMovement.OperationID, moved.DataMovement.DataMover, moved.DataMovement.UploaderType = "dd-1", "velero", "kopia"
	native := RestoredVolume{ClaimNamespace: "shop", ClaimName: "c", Method: "NativeSnapshot"}
	r.Volumes.Value = &[]RestoredVolume{snapshot, moved, native}
	return r
}

// underway is a restore that hasn't ended.
func underway() Restore {
	r := Restore{Program: "kubectl velero", Restore: &velerov1.Restore{ObjectMeta: metav1.ObjectMeta{Name: "shop-1", Namespace: "velero"}}}
	r.Restore.Spec = velerov1.RestoreSpec{BackupName: "shop"}
	r.Restore.Status = velerov1.RestoreStatus{
		Phase: velerov1.RestorePhaseInProgress, StartTimestamp: &started, Progress: &velerov1.RestoreProgress{TotalItems: 100, ItemsRestored: 7},
	}
	r.Standing.Cause = "no node can take its pod: 0/3 nodes are available; hint: look at the nodes"
	return r
}

// refused is a restore that was wrong from the beginning.
func refused() Restore {
	r := restore()
	r.Restore.Status = velerov1.RestoreStatus{Phase: velerov1.RestorePhaseFailedValidation, ValidationErrors: []string{"existingResourcePolicy: \"x\" is not known"}}
	r.Standing.Reasons, r.Results, r.ResourceList = nil, Fetched[report.Results]{}, Fetched[map[string][]string]{}
	return r
}

// lost is a restore whose bucket doesn't answer.
func lost() Restore {
	r := restore()
	err := errors.New("bucket does not answer")
	r.Results, r.ResourceList = Fetched[report.Results]{Err: err}, Fetched[map[string][]string]{Err: err}
	return r
}

func onDisk() Archive {
	return Archive{
		File: "shop.tar.gz", Bytes: 5321, FormatVersion: "1.1.0",
		Kinds: []ArchiveKind{
			{Resource: "pods", APIVersion: "v1", Objects: 2, Bytes: 8400},
			{Resource: "deployments.apps", APIVersion: "apps/v1", Objects: 1, Bytes: 900},
		},
		ResourceList: map[string][]string{"v1/Pod": {"shop/a", "shop/b"}, "apps/v1/Deployment": {"shop/web"}},
	}
}

// withVolumes is a backup of which the data of each volume went another way.
func withVolumes() Backup {
	b := simple()
	b.Backup.Status.CSIVolumeSnapshotsAttempted, b.Backup.Status.CSIVolumeSnapshotsCompleted = 2, 1
	b.Backup.Status.VolumeSnapshotsAttempted, b.Backup.Status.VolumeSnapshotsCompleted = 1, 1
	ready := true
	b.Volumes.Value = &[]volume.Info{
		{
			PVName: "pv-2", PVCNamespace: "shop", PVCName: "wal", Method: volume.CSISnapshot, PreserveLocalSnapshot: true, Result: volume.Failed,
			CSI: &volume.CSIInfo{Driver: "csi.example.com"}, Decision: "the driver csi.example.com has snapshot class fast",
		},
		{
			PVName: "pv-1", PVCNamespace: "shop", PVCName: "db", Method: volume.CSISnapshot, PreserveLocalSnapshot: true, Result: volume.Succeeded,
			CSI: &volume.CSIInfo{Driver: "csi.example.com", SnapshotHandle: "snap-1", Size: 1 << 30, ContentName: "snapcontent-1", OperationID: "shop/velero-db-x/2026-01-02T03:04:05Z", ReadyToUse: &ready},
		},
		{
			PVName: "disk", PVCNamespace: "shop", PVCName: "old", Method: volume.NativeSnapshot, Result: volume.Succeeded,
			Native: &volume.NativeInfo{SnapshotHandle: "snap-0a", VolumeType: "io2", VolumeAZ: "eu-central-1a", IOPS: "3000", Phase: "Completed"},
		},
		{
			PVName: "pv-5", PVCNamespace: "shop", PVCName: "moved", Method: volume.CSISnapshot, SnapshotDataMoved: true, Result: volume.Succeeded,
			DataMovement: &volume.MovementInfo{UploaderType: "kopia", OperationID: "du-1.2", Size: 5, IncrementalSize: 1},
		},
		{Method: volume.PodVolumeBackup, Result: volume.Succeeded, PVB: &volume.PVBInfo{PodNamespace: "shop", PodName: "web-0", VolumeName: "cache", UploaderType: "kopia", Size: 7}},
		{PVName: "nfs", Skipped: true, SkippedReason: "any: a resource policy skips it;"},
		{PVName: "pv-7", PVCNamespace: "shop", PVCName: "scratch", Skipped: true, Decision: "snapshots were turned off"},
	}
	return b
}

func TestGolden(t *testing.T) {
	t.Parallel()
	cases := map[string]func(io.Writer) error{
		"backup-simple.txt":         simple().Write,
		"backup-rich.txt":           rich().Write,
		"backup-stuck.txt":          stuck().Write,
		"backup-copying.txt":        copying().Write,
		"backup-copying.json":       copying().WriteJSON,
		"backup-unread.txt":         unread().Write,
		"backup-simple.json":        simple().WriteJSON,
		"backup-volumes.txt":        withVolumes().Write,
		"backup-volumes.json":       withVolumes().WriteJSON,
		"backup-rich.json":          rich().WriteJSON,
		"backup-unread.json":        unread().WriteJSON,
		"backup-foreign.txt":        foreign().Write,
		"backup-foreign.json":       foreign().WriteJSON,
		"archive.txt":               onDisk().Write,
		"archive.json":              onDisk().WriteJSON,
		"archive-empty.txt":         Archive{File: "x.tar.gz"}.Write,
		"archive-empty.json":        Archive{File: "x.tar.gz"}.WriteJSON,
		"restore.txt":               restore().Write,
		"restore.json":              restore().WriteJSON,
		"restore-tuned.txt":         tuned().Write,
		"restore-tuned.json":        tuned().WriteJSON,
		"restore-tuned.yaml":        tuned().WriteYAML,
		"restore-data.txt":          withData(false).Write,
		"restore-data-details.txt":  withData(true).Write,
		"restore-data-details.json": withData(true).WriteJSON,
		"restore-underway.txt":      underway().Write,
		"restore-underway.json":     underway().WriteJSON,
		"restore-refused.txt":       refused().Write,
		"restore-refused.json":      refused().WriteJSON,
		"restore-lost.txt":          lost().Write,
		"restore-lost.json":         lost().WriteJSON,
	}
	for name, write := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			if err := write(&out); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("%s (rewrite with -update):\n%s", path, diff)
			}
		})
	}
}

// fullDisk fails every write.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrorsCount(t *testing.T) {
	t.Parallel()
	for _, write := range []func(io.Writer) error{simple().Write, simple().WriteJSON, restore().Write, restore().WriteJSON, restore().WriteYAML} {
		if err := write(fullDisk{}); err == nil {
			t.Error("a description that could not be written was no error")
		}
	}
}
