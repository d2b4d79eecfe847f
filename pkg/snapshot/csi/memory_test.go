package csi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The objects of a snapshotted volume as an API server sends them; N is its number.
const (
	claimJSON = `{"metadata":{"name":"data-shop-database-N","namespace":"shop-N","uid":"6f1c1f0e-0000-4000-8000-00000000N","resourceVersion":"12345","creationTimestamp":"2026-11-23T10:00:00Z",
		"labels":{"app.kubernetes.io/name":"database","app.kubernetes.io/instance":"shop","app.kubernetes.io/component":"primary"},
		"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes","volume.beta.kubernetes.io/storage-provisioner":"disk.example.com","volume.kubernetes.io/storage-provisioner":"disk.example.com"},
		"finalizers":["kubernetes.io/pvc-protection"]},
		"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"10Gi"}},"volumeName":"pvc-6f1c1f0e-0000-4000-8000-00000000N","storageClassName":"fast","volumeMode":"Filesystem"},
		"status":{"phase":"Bound","accessModes":["ReadWriteOnce"],"capacity":{"storage":"10Gi"}}}`
	volumeJSON = `{"metadata":{"name":"pvc-6f1c1f0e-0000-4000-8000-00000000N","uid":"7a1c1f0e-0000-4000-8000-00000000N","resourceVersion":"12346","creationTimestamp":"2026-11-23T10:00:00Z",
		"annotations":{"pv.kubernetes.io/provisioned-by":"disk.example.com","volume.kubernetes.io/provisioner-deletion-secret-name":"","volume.kubernetes.io/provisioner-deletion-secret-namespace":""},"finalizers":["kubernetes.io/pv-protection"]},
		"spec":{"capacity":{"storage":"10Gi"},"csi":{"driver":"disk.example.com","volumeHandle":"vol-0a1b2c3d4N","fsType":"ext4","volumeAttributes":{"storage.kubernetes.io/csiProvisionerIdentity":"1763892000000-8081-disk.example.com"}},
		"accessModes":["ReadWriteOnce"],"claimRef":{"kind":"PersistentVolumeClaim","namespace":"shop-N","name":"data-shop-database-N","uid":"6f1c1f0e-0000-4000-8000-00000000N","apiVersion":"v1","resourceVersion":"12340"},
		"persistentVolumeReclaimPolicy":"Delete","storageClassName":"fast","volumeMode":"Filesystem",
		"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"topology.kubernetes.io/zone","operator":"In","values":["z1"]}]}]}}},"status":{"phase":"Bound"}}`
	snapshotJSON = `{"metadata":{"name":"velero-data-shop-database-N-abcde","namespace":"shop-N","uid":"8b1c1f0e-0000-4000-8000-00000000N","resourceVersion":"22345","generation":1,"creationTimestamp":"2026-11-23T11:00:00Z",
		"labels":{"app.kubernetes.io/name":"database","app.kubernetes.io/instance":"shop","app.kubernetes.io/component":"primary","velero.io/backup-name":"nightly","velero.io/backup-uid":"5e1c1f0e-0000-4000-8000-000000000000"},
		"finalizers":["snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection","snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"],
		"managedFields":[{"manager":"executor","operation":"Update","apiVersion":"snapshot.storage.k8s.io/v1","time":"2026-11-23T11:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:velero.io/backup-name":{},"f:velero.io/backup-uid":{},"f:app.kubernetes.io/name":{},"f:app.kubernetes.io/instance":{},"f:app.kubernetes.io/component":{}}},"f:spec":{".":{},"f:source":{".":{},"f:persistentVolumeClaimName":{}},"f:volumeSnapshotClassName":{}}}},
		{"manager":"snapshot-controller","operation":"Update","apiVersion":"snapshot.storage.k8s.io/v1","time":"2026-11-23T11:00:01Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:finalizers":{".":{},"v:\"snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection\"":{},"v:\"snapshot.storage.kubernetes.io/volumesnapshot-bound-protection\"":{}}}}},
		{"manager":"snapshot-controller","operation":"Update","apiVersion":"snapshot.storage.k8s.io/v1","time":"2026-11-23T11:00:02Z","fieldsType":"FieldsV1","fieldsV1":{"f:status":{".":{},"f:boundVolumeSnapshotContentName":{},"f:creationTime":{},"f:readyToUse":{},"f:restoreSize":{}}},"subresource":"status"}]},
		"spec":{"source":{"persistentVolumeClaimName":"data-shop-database-N"},"volumeSnapshotClassName":"only"},
		"status":{"boundVolumeSnapshotContentName":"snapcontent-8b1c1f0e-0000-4000-8000-00000000N","creationTime":"2026-11-23T11:00:01Z","readyToUse":true,"restoreSize":"10Gi"}}`
	contentJSON = `{"metadata":{"name":"snapcontent-8b1c1f0e-0000-4000-8000-00000000N","uid":"9c1c1f0e-0000-4000-8000-00000000N","resourceVersion":"22346","generation":2,"creationTimestamp":"2026-11-23T11:00:00Z",
		"labels":{"velero.io/backup-name":"nightly","velero.io/backup-uid":"5e1c1f0e-0000-4000-8000-000000000000"},
		"finalizers":["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"],
		"managedFields":[{"manager":"csi-snapshotter","operation":"Update","apiVersion":"snapshot.storage.k8s.io/v1","time":"2026-11-23T11:00:01Z","fieldsType":"FieldsV1","fieldsV1":{"f:status":{".":{},"f:creationTime":{},"f:readyToUse":{},"f:restoreSize":{},"f:snapshotHandle":{}}},"subresource":"status"},
		{"manager":"executor","operation":"Update","apiVersion":"snapshot.storage.k8s.io/v1","time":"2026-11-23T11:00:01Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:velero.io/backup-name":{},"f:velero.io/backup-uid":{}}},"f:spec":{"f:deletionPolicy":{}}}},
		{"manager":"snapshot-controller","operation":"Update","apiVersion":"snapshot.storage.k8s.io/v1","time":"2026-11-23T11:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:finalizers":{".":{},"v:\"snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection\"":{}}},"f:spec":{".":{},"f:driver":{},"f:source":{".":{},"f:volumeHandle":{}},"f:sourceVolumeMode":{},"f:volumeSnapshotClassName":{},"f:volumeSnapshotRef":{}}}}]},
		"spec":{"driver":"disk.example.com","deletionPolicy":"Retain","source":{"volumeHandle":"vol-0a1b2c3d4N"},"sourceVolumeMode":"Filesystem","volumeSnapshotClassName":"only",
		"volumeSnapshotRef":{"apiVersion":"snapshot.storage.k8s.io/v1","kind":"VolumeSnapshot","namespace":"shop-N","name":"velero-data-shop-database-N-abcde","uid":"8b1c1f0e-0000-4000-8000-00000000N","resourceVersion":"22340"}},
		"status":{"snapshotHandle":"snap-0f1e2d3c4N","creationTime":1763892001000000000,"readyToUse":true,"restoreSize":10737418240}}`
)

// numbered decodes an object of the nth volume.
func numbered[T any](t testing.TB, text string, n int) *T {
	t.Helper()
	var obj T
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "N", fmt.Sprintf("%04d", n))), &obj); err != nil {
		t.Fatal(err)
	}
	return &obj
}

// TestASnapshotTakesLittleMemory from when it is cut until the backup is committed: a
// backup may have thousands. Kept as objects each would take 12 KB. It measures the heap,
// so no other test runs beside it.
func TestASnapshotTakesLittleMemory(t *testing.T) {
	const count, limit = 2000, 1500
	taker, _, _ := fakeTaker(t, Options{})
	entries, snapshots := make([]*entry, 0, count), make([]*Snapshot, 0, count)
	before := heap()
	for i := range count {
		e := taker.prepare(Claim{PVC: numbered[corev1.PersistentVolumeClaim](t, claimJSON, i), PV: numbered[corev1.PersistentVolume](t, volumeJSON, i)})
		e.Started = metav1.Now()
		vs, content := numbered[snapshotv1.VolumeSnapshot](t, snapshotJSON, i), numbered[snapshotv1.VolumeSnapshotContent](t, contentJSON, i)
		e.observed(factsOf(vs), factsOfContent(content))
		e.observed(factsOf(vs), factsOfContent(content))
		entries, snapshots = append(entries, e), append(snapshots, e.snapshot())
	}
	each := (int64(heap()) - int64(before)) / count
	t.Logf("%d bytes for each of %d", each, count)
	if each > limit {
		t.Errorf("each takes %d bytes, more than %d", each, limit)
	}
	runtime.KeepAlive(entries)
	runtime.KeepAlive(snapshots)
}

// heap is what is in use, in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// TestPages reads all pages, begins again when the rest has expired, and ends with any
// other error.
func TestPages(t *testing.T) {
	t.Parallel()
	expired := apierrors.NewResourceExpired("the continue token is too old")
	for _, tc := range []struct {
		name   string
		faults map[int]error // by number of the request
		want   []string      // the pages asked for
		err    error
	}{
		{"all is well", nil, []string{"", "b", "c"}, nil},
		{"the rest expired", map[int]error{2: expired}, []string{"", "b", "c", "", "b", "c"}, nil},
		{"it is refused", map[int]error{1: errBroken}, []string{"", "b"}, errBroken},
		{"it expires always", map[int]error{1: expired, 3: expired, 5: expired, 7: expired}, []string{"", "b", "", "b", "", "b", "", "b"}, expired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			next := map[string]string{"": "b", "b": "c", "c": ""}
			var asked []string
			err := pages(t.Context(), metav1.ListOptions{LabelSelector: "a=b"}, func(_ context.Context, o metav1.ListOptions) (string, error) {
				if o.Limit != pageSize || o.LabelSelector != "a=b" {
					t.Errorf("options %+v", o)
				}
				asked = append(asked, o.Continue)
				return next[o.Continue], tc.faults[len(asked)-1]
			})
			if !errors.Is(err, tc.err) {
				t.Errorf("error %v, want %v", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, asked); diff != "" {
				t.Errorf("pages (-want +got):\n%s", diff)
			}
		})
	}
}
