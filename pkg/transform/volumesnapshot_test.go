package transform_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// named gives snapshots names of the restore that tell where they come from.
func named(o *transform.Options) {
	o.SnapshotName = func(namespace, name string) string { return "restored-" + namespace + "-" + name }
}

const archivedSnapshot = `
metadata:
  name: velero-data-x
  namespace: shop
  generateName: velero-data-
  labels: {app: web, velero.io/backup-name: b, velero.io/backup-uid: u}
  annotations: {velero.io/csi-volumesnapshot-handle: h, velero.io/csi-vsc-deletion-policy: Delete}
  finalizers: [snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection, mine/f, snapshot.storage.kubernetes.io/volumesnapshot-bound-protection]
spec: {source: {persistentVolumeClaimName: data}, volumeSnapshotClassName: fast}
status: {boundVolumeSnapshotContentName: snapcontent-1, readyToUse: true, restoreSize: 1Gi}
`

const archivedContent = `
apiVersion: snapshot.storage.k8s.io/v1
metadata:
  name: snapcontent-1
  labels: {velero.io/backup-name: b}
  annotations: {snapshot.storage.kubernetes.io/volumesnapshot-being-created: "yes", mine: m}
  finalizers: [snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection]
spec:
  deletionPolicy: Delete
  driver: d.example.com
  source: {volumeHandle: vol-1}
  sourceVolumeMode: Block
  volumeSnapshotClassName: fast
  volumeSnapshotRef: {apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, name: velero-data-x, namespace: shop, uid: u, resourceVersion: "7"}
status: {snapshotHandle: snap-1, readyToUse: true}
`

func TestVolumeSnapshot(t *testing.T) {
	t.Parallel()
	const resource = "volumesnapshots.snapshot.storage.k8s.io"
	run(t, []testCase{{
		name: "of the backup", resource: resource, options: named, in: archivedSnapshot,
		want: `
metadata:
  name: restored-shop-velero-data-x
  namespace: shop2
  labels: {app: web}
  annotations: {velero.io/csi-volumesnapshot-handle: h, velero.io/csi-vsc-deletion-policy: Retain}
  finalizers: [mine/f]
spec: {source: {volumeSnapshotContentName: restored-shop-velero-data-x}}
`,
	}, {
		name: "no data asked for", resource: resource, options: objectsOnly(named), in: archivedSnapshot,
		decision: transform.Decision{Skip: "no volume is restored from a snapshot, as was asked for"},
	}, {
		name: "somebody's, never cut", resource: resource, options: named, problems: 1,
		in:       `{metadata: {namespace: shop}, spec: {source: {persistentVolumeClaimName: data}}}`,
		decision: transform.Decision{Skip: "it was never cut"},
	}, {
		name: "of a group", resource: "volumegroupsnapshots.groupsnapshot.storage.k8s.io", in: `{spec: {source: {selector: {}}}}`,
		decision: transform.Decision{Skip: "its snapshots come back one by one"},
	}})
}

func TestVolumeSnapshotContent(t *testing.T) {
	t.Parallel()
	const resource = "volumesnapshotcontents.snapshot.storage.k8s.io"
	want := func(class string) string {
		return `
apiVersion: snapshot.storage.k8s.io/v1
metadata: {name: restored-shop-velero-data-x, annotations: {mine: m}}
spec:
  deletionPolicy: Retain
  driver: d.example.com
  source: {snapshotHandle: snap-1}
  sourceVolumeMode: Block` + class + `
  volumeSnapshotRef: {apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, name: restored-shop-velero-data-x, namespace: shop2}
`
	}
	run(t, []testCase{{
		name: "without a class of its driver", resource: resource, options: named, in: archivedContent, want: want(""),
	}, {
		name: "with a class of its driver", resource: resource, in: archivedContent,
		options: func(o *transform.Options) {
			named(o)
			o.SnapshotClass = func(driver, name string) string { return "class-of-" + driver + "-like-" + name }
		},
		want: want("\n  volumeSnapshotClassName: class-of-d.example.com-like-fast"),
	}, {
		name: "of a snapshot that somebody provisioned", resource: resource, options: named,
		in: strings.NewReplacer("volumeHandle: vol-1", "snapshotHandle: snap-1", "status: {snapshotHandle: snap-1, readyToUse: true}", "").
			Replace(archivedContent),
		want: want(""),
	}, {
		name: "of a snapshot that isn't restored", resource: resource, in: archivedContent,
		options: func(o *transform.Options) {
			o.SnapshotSelected = func(p transform.Place) bool {
				return p != transform.Place{Resource: transform.VolumeSnapshots, Namespace: "shop", Name: "velero-data-x"}
			}
		},
		decision: transform.Decision{Skip: "its snapshot isn't part of this restore"},
	}, {
		name: "of no snapshot", resource: resource, in: `spec: {driver: d}`,
		decision: transform.Decision{Skip: "it belongs to no snapshot"},
	}, {
		name: "no data asked for", resource: resource, options: objectsOnly(named), in: archivedContent,
		decision: transform.Decision{Skip: "no volume is restored from a snapshot, as was asked for"},
	}})
}

// A snapshot that the backup took and that can't be found is no secret.
func TestSnapshotThatFailedInTheBackup(t *testing.T) {
	t.Parallel()
	for resource, text := range map[string]string{
		"volumesnapshots":        strings.Replace(archivedSnapshot, "boundVolumeSnapshotContentName: snapcontent-1, ", "", 1),
		"volumesnapshotcontents": strings.Replace(archivedContent, "snapshotHandle: snap-1, ", "", 1),
	} {
		_, err := transform.New(options(named)).Apply(schema.GroupResource{Group: "snapshot.storage.k8s.io", Resource: resource}, parse(t, text))
		if err == nil || !strings.Contains(err.Error(), "it failed then") {
			t.Errorf("%s: error %v", resource, err)
		}
	}
}

// movedData is a backup that says that the data of the volume pv1 was moved, or was to be.
func movedData(failed bool) func(*transform.Options) {
	return func(o *transform.Options) {
		o.Volumes = transform.NewVolumes(map[string]transform.VolumeData{"pv1": {Method: transform.VolumeCSISnapshot, Moved: true, Failed: failed}}, nil)
	}
}

func TestClaimWithSnapshot(t *testing.T) {
	t.Parallel()
	const claims = "persistentvolumeclaims"
	claim := func(annotations, spec string) string {
		return `{metadata: {namespace: shop, labels: {velero.io/volume-snapshot-name: s, mine: m}, annotations: {mine: m` + annotations + `}}, spec: {storageClassName: fast` + spec + `}}`
	}
	restored := func(spec string) string {
		return `{metadata: {namespace: shop2, labels: {mine: m}, annotations: {mine: m}}, spec: {storageClassName: fast` + spec + `}}`
	}
	const snapshot, moved = `, velero.io/volume-snapshot-name: velero-data-x`, `, velero.io/data-upload-name: velero/d`
	old := strings.Repeat("0a", 32)
	run(t, []testCase{{
		name: "made from it", resource: claims, options: named,
		in:       claim(snapshot, `, volumeName: pv1, dataSourceRef: {kind: PersistentVolumeClaim, name: golden}`),
		want:     restored(`, dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: restored-shop-velero-data-x}`),
		decision: transform.Decision{FromSnapshot: "velero-data-x"},
	}, {
		name: "made from another than the last time", resource: claims, options: named,
		in:       claim(snapshot, `, volumeName: pv1, dataSource: {kind: VolumeSnapshot, name: `+old+`}, dataSourceRef: {kind: VolumeSnapshot, name: `+old+`}`),
		want:     restored(`, dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: restored-shop-velero-data-x}`),
		decision: transform.Decision{FromSnapshot: "velero-data-x"},
	}, {
		name: "no data asked for", resource: claims, options: objectsOnly(named),
		in: claim(snapshot, `, volumeName: pv1`), want: restored(``), problems: 1,
	}, {
		name: "no data asked for, which was said with the volume", resource: claims,
		options: objectsOnly(func(o *transform.Options) { o.Volumes = transform.NewVolumes(nil, nil); o.Volumes.Reprovision("pv1") }),
		in:      claim(snapshot, `, volumeName: pv1`), want: restored(``),
	}, {
		name: "its data was moved", resource: claims, options: named, problems: 1,
		in: claim(snapshot+moved, `, volumeName: pv1`), want: restored(``),
	}, {
		name: "its data was moved, which was said", resource: claims,
		options: func(o *transform.Options) { movedData(false)(o); o.Volumes.Reprovision("pv1") },
		in:      claim(moved, `, volumeName: pv1`), want: restored(``),
	}, {
		name: "its data was moved, of which its volume knew nothing", resource: claims, problems: 1,
		options: func(o *transform.Options) { o.Volumes = transform.NewVolumes(nil, nil); o.Volumes.Reprovision("pv1") },
		in:      claim(moved, `, volumeName: pv1`), want: restored(``),
	}, {
		name: "its data could not be moved", resource: claims, problems: 1, options: movedData(true),
		in: claim(moved, `, volumeName: pv1`), want: restored(`, volumeName: pv1`),
	}, {
		name: "its data could not be moved, and isn't asked for", resource: claims, problems: 1, options: objectsOnly(movedData(true)),
		in: claim(moved, `, volumeName: pv1`), want: restored(``),
	}, {
		name: "was made by a restore once", resource: claims, options: named,
		in:   claim("", `, dataSource: {kind: VolumeSnapshot, name: `+old+`}, dataSourceRef: {kind: VolumeSnapshot, name: `+old+`}`),
		want: restored(``),
	}, {
		name: "is made from something by itself", resource: claims, options: named,
		in:   claim("", `, dataSource: {kind: VolumeSnapshot, name: golden}`),
		want: restored(`, dataSource: {kind: VolumeSnapshot, name: golden}`),
	}})
}
