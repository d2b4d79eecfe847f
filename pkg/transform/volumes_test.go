package transform_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

func backedUp(method transform.VolumeMethod) func(*transform.Options) {
	return func(o *transform.Options) {
		o.Volumes = transform.NewVolumes(map[string]transform.VolumeMethod{"x": method})
	}
}

func TestPersistentVolume(t *testing.T) {
	t.Parallel()
	const bound = `
metadata: {annotations: {pv.kubernetes.io/bound-by-controller: "yes", mine: m}}
spec:
  persistentVolumeReclaimPolicy: %s
  claimRef: {kind: PersistentVolumeClaim, namespace: shop, name: data, uid: u, resourceVersion: "5"}
  hostPath: {path: /data}
status: {phase: Bound}
`
	const free = `
metadata: {annotations: {mine: m}}
spec:
  persistentVolumeReclaimPolicy: %s
  claimRef: {kind: PersistentVolumeClaim, namespace: shop2, name: data}
  hostPath: {path: /data}
`
	with := func(text, policy string) string { return replace(text, "%s", policy) }
	run(t, []testCase{{
		name: "retained comes back for its claim", resource: "persistentvolumes",
		in: with(bound, "Retain"), want: with(free, "Retain"),
	}, {
		name: "deleted with its claim", resource: "persistentvolumes", problems: 1,
		in:       with(bound, "Delete"),
		decision: transform.Decision{Reprovision: true, Skip: "its claim gets a new volume (reclaim policy Delete)"},
	}, {
		name: "CSI snapshot", resource: "persistentvolumes", problems: 1, options: backedUp(transform.VolumeCSISnapshot),
		in:       with(bound, "Retain"),
		decision: transform.Decision{Reprovision: true, Skip: "its claim gets a new volume (backed up by CSISnapshot)"},
	}, {
		name: "file-system backup", resource: "persistentvolumes", problems: 1, options: backedUp(transform.VolumePodVolumeBackup),
		in:       with(bound, "Retain"),
		decision: transform.Decision{Reprovision: true, Skip: "its claim gets a new volume (backed up by PodVolumeBackup)"},
	}, {
		name: "disk snapshot", resource: "persistentvolumes", problems: 1, options: backedUp(transform.VolumeNativeSnapshot),
		in:       with(bound, "Delete"),
		decision: transform.Decision{Reprovision: true, Skip: "its claim gets a new volume (backed up by NativeSnapshot)"},
	}, {
		name: "disk snapshot, object only", resource: "persistentvolumes",
		options: func(o *transform.Options) { backedUp(transform.VolumeNativeSnapshot)(o); o.RestoreVolumes = false },
		in:      with(bound, "Delete"), want: with(free, "Delete"),
	}, {
		name: "unclaimed", resource: "persistentvolumes",
		in: `spec: {persistentVolumeReclaimPolicy: Retain}`,
	}})
}

func TestLostDataIsAnError(t *testing.T) {
	t.Parallel()
	for _, restoreVolumes := range []bool{true, false} {
		opts := options(backedUp(transform.VolumeCSISnapshot), func(o *transform.Options) { o.RestoreVolumes = restoreVolumes })
		d, err := transform.New(opts).Apply(schema.GroupResource{Resource: "persistentvolumes"}, parse(t, `spec: {}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(d.Errors) == 1; got != restoreVolumes {
			t.Errorf("with RestoreVolumes %t: errors %v, warnings %v", restoreVolumes, d.Errors, d.Warnings)
		}
	}
}

func TestPersistentVolumeClaim(t *testing.T) {
	t.Parallel()
	const bound = `
metadata:
  finalizers: [kubernetes.io/pvc-protection]
  annotations:
    pv.kubernetes.io/bind-completed: "yes"
    pv.kubernetes.io/bound-by-controller: "yes"
    volume.kubernetes.io/storage-provisioner: p
    volume.beta.kubernetes.io/storage-provisioner: p
    volume.kubernetes.io/selected-node: node1
    velero.io/volume-snapshot-name: v
    velero.io/data-upload-name: d
    mine: m
spec: {volumeName: pv1, storageClassName: manual}
status: {phase: Bound}
`
	const meta = `metadata: {finalizers: [kubernetes.io/pvc-protection], annotations: {mine: m}}`
	run(t, []testCase{{
		name: "bound to the volume it had", resource: "persistentvolumeclaims",
		in: bound, want: meta + "\nspec: {volumeName: pv1, storageClassName: manual}",
	}, {
		name: "bound to a new volume", resource: "persistentvolumeclaims",
		options: func(o *transform.Options) { o.Volumes = transform.NewVolumes(nil); o.Volumes.Reprovision("pv1") },
		in:      bound, want: meta + "\nspec: {storageClassName: manual}",
	}})
}

func TestVolumeSnapshotsStayOut(t *testing.T) {
	t.Parallel()
	skip := transform.Decision{Skip: "this version restores no CSI snapshots"}
	run(t, []testCase{
		{name: "snapshot", resource: "volumesnapshots.snapshot.storage.k8s.io", in: `{}`, decision: skip},
		{name: "content", resource: "volumesnapshotcontents.snapshot.storage.k8s.io", in: `{}`, decision: skip},
	})
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		resource schema.GroupResource
		in       string
		want     []transform.Place
	}{{
		name: "pod", resource: transform.Pods,
		in: `{metadata: {namespace: shop}, spec: {priorityClassName: high, volumes: [{name: a, emptyDir: {}}, {name: b, persistentVolumeClaim: {claimName: data}}]}}`,
		want: []transform.Place{
			{Resource: transform.Claims, Namespace: "shop", Name: "data"},
			{Resource: transform.PriorityClasses, Name: "high"},
		},
	}, {
		name: "bound claim", resource: transform.Claims,
		in:   `{metadata: {namespace: shop}, spec: {volumeName: pv1}, status: {phase: Bound}}`,
		want: []transform.Place{{Resource: transform.PersistentVolumes, Name: "pv1"}},
	}, {
		name: "pending claim", resource: transform.Claims,
		in: `{spec: {volumeName: pv1}, status: {phase: Pending}}`,
	}, {
		name: "other kind", resource: schema.GroupResource{Resource: "configmaps"}, in: `{}`,
	}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := transform.Needs(tc.resource, parse(t, tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("needs (-want +got):\n%s", diff)
			}
		})
	}
}
