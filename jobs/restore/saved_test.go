package restore

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// sideFiles is a bucket that has what its keys say, by the end of the keys, and can
// only be read.
type sideFiles struct {
	store.Bucket
	files map[catalog.BackupFileKind]string
}

func (s sideFiles) Get(_ context.Context, key string) (io.ReadCloser, error) {
	for kind, text := range s.files {
		if key == catalog.BackupFile("b", kind).Key() {
			var body bytes.Buffer
			gz := gzip.NewWriter(&body)
			_, err := io.WriteString(gz, text)
			return io.NopCloser(&body), errors.Join(err, gz.Close())
		}
	}
	return nil, fmt.Errorf("get %s: %w", key, store.ErrNotExist)
}

func TestWhatBackupsSayOfVolumes(t *testing.T) {
	t.Parallel()
	const disks = `[{"spec": {"persistentVolumeName": "disk", "location": "aws"}, "status": {"providerSnapshotID": "snap-1"}},
		{"spec": {"persistentVolumeName": "lost"}, "status": {"phase": "Failed"}}]`
	native, csi, files := transform.VolumeNativeSnapshot, transform.VolumeCSISnapshot, transform.VolumePodVolumeBackup
	for name, tc := range map[string]struct {
		files   map[catalog.BackupFileKind]string
		data    map[string]transform.VolumeData
		byClaim map[transform.Place]transform.VolumeData
		csi     bool
	}{
		"nothing": {},
		"of today": {
			files: map[catalog.BackupFileKind]string{
				catalog.VolumeSnapshots: disks,
				catalog.VolumeInfo: `[{"pvName": "disk", "backupMethod": "NativeSnapshot", "result": "failed"}, {"pvName": "lost", "backupMethod": "NativeSnapshot"},
					{"pvName": "left", "skipped": true}, {"pvcName": "c", "pvcNamespace": "n", "pvName": "csi", "backupMethod": "CSISnapshot"},
					{"pvName": "moved", "backupMethod": "CSISnapshot", "snapshotDataMoved": true}, {"pvName": "torn", "backupMethod": "CSISnapshot", "result": "failed"},
					{"pvName": "files", "backupMethod": "PodVolumeBackup"}, {"backupMethod": "PodVolumeBackup"}]`,
			},
			data: map[string]transform.VolumeData{
				"disk": {Method: native}, "lost": {Method: native, Failed: true}, "csi": {Method: csi},
				"moved": {Method: csi, Moved: true}, "torn": {Method: csi, Failed: true}, "files": {Method: files},
			},
			csi: true,
		},
		"before 1.13": {
			files: map[catalog.BackupFileKind]string{
				catalog.VolumeSnapshots: disks,
				csiSnapshots:            `[{"metadata": {"namespace": "n", "name": "s"}, "spec": {"source": {"persistentVolumeClaimName": "c"}}}]`,
				catalog.PodVolumeBackups: `[{"metadata": {"annotations": {"velero.io/pvc-name": "d"}}, "spec": {"pod": {"namespace": "n"}}, "status": {"snapshotID": "k"}},
					{"metadata": {"annotations": {"velero.io/pvc-name": "e"}}, "spec": {"pod": {"namespace": "n"}}}, {"spec": {"pod": {"namespace": "n"}}, "status": {"snapshotID": "k"}}]`,
			},
			data:    map[string]transform.VolumeData{"disk": {Method: native}},
			byClaim: map[transform.Place]transform.VolumeData{claimPlace("n", "c"): {Method: csi}, claimPlace("n", "d"): {Method: files}},
			csi:     true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backup := &velerov1.Backup{}
			backup.Name = "b"
			s := &source{catalog: catalog.New(sideFiles{files: tc.files}), backup: backup}
			if err := s.readVolumes(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := []any{nonNil(s.saved.data), nonNil(s.saved.byClaim), s.saved.anyCSI()}
			if diff := cmp.Diff([]any{nonNil(tc.data), nonNil(tc.byClaim), tc.csi}, got); diff != "" {
				t.Errorf("volumes (-want +got):\n%s", diff)
			}
		})
	}
}

func nonNil[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return m
}

func TestZoneOfADisk(t *testing.T) {
	t.Parallel()
	labelled := func(zone string) *corev1.PersistentVolume {
		pv := &corev1.PersistentVolume{}
		if zone != "" {
			pv.Labels = map[string]string{corev1.LabelTopologyZone: zone}
		}
		return pv
	}
	for name, tc := range map[string]struct{ recorded, before, now, want string }{
		"as recorded":             {"a", "a", "a", "a"},
		"changed on its way":      {"a", "a", "b", "b"},
		"the volume doesn't say":  {"a", "", "", "a"},
		"the record doesn't say":  {"", "b", "b", "b"},
		"recorded in other words": {"a__b", "a", "a", "a__b"},
	} {
		record := volume.Snapshot{Spec: volume.SnapshotSpec{VolumeAZ: tc.recorded}}
		if got := (&diskSource{zone: tc.before}).zoneFor(record, labelled(tc.now)); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestVolumeLikeTheOneBefore(t *testing.T) {
	t.Parallel()
	pv := &corev1.PersistentVolume{}
	pv.Labels = map[string]string{"same": "1", "own": "1", "topology.kubernetes.io/zone": "here"}
	pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	for name, tc := range map[string]struct {
		labels map[string]string
		policy corev1.PersistentVolumeReclaimPolicy
		want   map[string]any
	}{
		"nothing known": {nil, "", map[string]any{}},
		"as it is":      {map[string]string{"same": "1"}, "Delete", map[string]any{}},
		"other policy":  {nil, "Retain", map[string]any{"spec": map[string]any{"persistentVolumeReclaimPolicy": corev1.PersistentVolumeReclaimRetain}}},
		"other labels": {
			map[string]string{"same": "2", "new": "1", "topology.kubernetes.io/zone": "there", "failure-domain.beta.kubernetes.io/zone": "there", velerov1.RestoreNameLabel: "old"},
			"Delete", map[string]any{"metadata": map[string]any{"labels": map[string]string{"same": "2", "new": "1"}}},
		},
	} {
		if diff := cmp.Diff(tc.want, volumePatch(pv, tc.labels, tc.policy)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestClassOfASnapshot(t *testing.T) {
	t.Parallel()
	o := fixtureOperation(t, velerov1.RestoreSpec{})
	s := newSnapshots(o)
	s.classes = func() []snapshotClass {
		return []snapshotClass{{"z", "d.example.com"}, {"other", "e.example.com"}, {"b", "D.example.com"}, {"m", "d.example.com"}}
	}
	for _, tc := range []struct{ driver, name, want string }{
		{"d.example.com", "m", "m"}, {"d.example.com", "gone", "b"}, {"d.example.com", "other", "b"}, {"nobody", "other", ""},
	} {
		if got := s.class(t.Context(), tc.driver, tc.name); got != tc.want {
			t.Errorf("class for %s, which had %q: %q, want %q", tc.driver, tc.name, got, tc.want)
		}
	}
}
