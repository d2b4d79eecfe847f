package transform_test

import (
	stdcmp "cmp"
	"errors"
	"regexp"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

func backedUp(method transform.VolumeMethod) func(*transform.Options) {
	return recorded(transform.VolumeData{Method: method})
}

// recorded is a backup that says this of the volume x.
func recorded(data transform.VolumeData) func(*transform.Options) {
	return func(o *transform.Options) {
		o.Volumes = transform.NewVolumes(map[string]transform.VolumeData{"x": data}, nil)
	}
}

// objectsOnly restores no data of volumes.
func objectsOnly(change func(*transform.Options)) func(*transform.Options) {
	return func(o *transform.Options) { change(o); o.RestoreVolumes = false }
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
		name: "CSI snapshot", resource: "persistentvolumes", options: backedUp(transform.VolumeCSISnapshot),
		in:       with(bound, "Retain"),
		decision: transform.Decision{Reprovision: true, Skip: "its claim gets a volume made from its CSI snapshot"},
	}, {
		name: "CSI snapshot, no data asked for", resource: "persistentvolumes", problems: 1, options: objectsOnly(backedUp(transform.VolumeCSISnapshot)),
		in:       with(bound, "Retain"),
		decision: transform.Decision{Reprovision: true, Skip: "its claim gets a new volume (backed up by CSISnapshot)"},
	}, {
		name: "CSI snapshot that was moved", resource: "persistentvolumes", problems: 1,
		options:  recorded(transform.VolumeData{Method: transform.VolumeCSISnapshot, Moved: true}),
		in:       with(bound, "Retain"),
		decision: transform.Decision{Reprovision: true, Skip: "its claim gets a new volume (backed up by CSISnapshot whose data was moved)"},
	}, {
		name: "CSI snapshot that failed", resource: "persistentvolumes", problems: 1,
		options:  recorded(transform.VolumeData{Method: transform.VolumeCSISnapshot, Failed: true}),
		in:       with(bound, "Retain"),
		decision: transform.Decision{Skip: "its snapshot failed when the backup was made"},
	}, {
		name: "file-system backup", resource: "persistentvolumes", problems: 1, options: backedUp(transform.VolumePodVolumeBackup),
		in:       with(bound, "Retain"),
		decision: transform.Decision{Reprovision: true, Skip: "its claim gets a new volume (backed up by PodVolumeBackup)"},
	}, {
		name: "disk snapshot", resource: "persistentvolumes", options: backedUp(transform.VolumeNativeSnapshot),
		in: with(bound, "Delete"), want: with(free, "Delete"), decision: transform.Decision{Disk: true},
	}, {
		name: "disk snapshot, object only", resource: "persistentvolumes", options: objectsOnly(backedUp(transform.VolumeNativeSnapshot)), problems: 1,
		in: with(bound, "Delete"), want: with(free, "Retain"),
	}, {
		name: "disk snapshot, object only, of a volume that keeps its disk", resource: "persistentvolumes", options: objectsOnly(backedUp(transform.VolumeNativeSnapshot)),
		in: with(bound, "Retain"), want: with(free, "Retain"),
	}, {
		name: "disk snapshot that failed, of a volume that went with its claim", resource: "persistentvolumes", problems: 1,
		options:  recorded(transform.VolumeData{Method: transform.VolumeNativeSnapshot, Failed: true}),
		in:       with(bound, "Delete"),
		decision: transform.Decision{Skip: "its snapshot failed when the backup was made"},
	}, {
		name: "disk snapshot that failed, of a volume that may be there still", resource: "persistentvolumes", problems: 1,
		options: recorded(transform.VolumeData{Method: transform.VolumeNativeSnapshot, Failed: true}),
		in:      with(bound, "Retain"), want: with(free, "Retain"),
	}, {
		name: "known by its claim", resource: "persistentvolumes",
		options: func(o *transform.Options) {
			o.Volumes = transform.NewVolumes(nil, map[transform.Place]transform.VolumeData{
				{Resource: transform.Claims, Namespace: "shop", Name: "data"}: {Method: transform.VolumeCSISnapshot},
			})
		},
		in:       with(bound, "Retain"),
		decision: transform.Decision{Reprovision: true, Skip: "its claim gets a volume made from its CSI snapshot"},
	}, {
		name: "unclaimed", resource: "persistentvolumes",
		in: `spec: {persistentVolumeReclaimPolicy: Retain}`,
	}, {
		name: "another volume has the snapshot", resource: "persistentvolumes",
		options: func(o *transform.Options) {
			o.Volumes = transform.NewVolumes(map[string]transform.VolumeData{"y": {Method: transform.VolumeNativeSnapshot}}, nil)
		},
		in: with(bound, "Retain"), want: with(free, "Retain"),
	}})
}

// volume is the archived volume x with a disk snapshot, claimed in a namespace.
func volume(t *testing.T, namespace string) *transform.Object {
	t.Helper()
	return parse(t, `
spec:
  persistentVolumeReclaimPolicy: Delete
  claimRef: {namespace: `+namespace+`, name: data, uid: u}
  csi: {driver: d, volumeHandle: h}
`)
}

// snapshotted is a restore of volume objects only, into a cluster that has the
// volume or not.
func snapshotted(exists bool) transform.Options {
	return options(backedUp(transform.VolumeNativeSnapshot), func(o *transform.Options) {
		o.RestoreVolumes = false
		o.VolumeMoves = func(name, _ string) (bool, error) { return exists && name == "x", nil }
	})
}

// A cluster that doesn't answer has no say in what a volume is called.
func TestVolumeOfAClusterThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	broken := errors.New("no answer")
	opts := snapshotted(false)
	opts.VolumeMoves = func(string, string) (bool, error) { return false, broken }
	transformer := transform.New(opts)
	if _, err := transformer.Apply(transform.PersistentVolumes, volume(t, "shop")); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	// Its claim must not name the original, which may be in use.
	claim := func() *transform.Object {
		return parse(t, `{metadata: {namespace: shop, name: data}, spec: {volumeName: x}}`)
	}
	if _, err := transformer.Apply(transform.Claims, claim()); !errors.Is(err, broken) {
		t.Errorf("error about the claim: %v", err)
	}
	broken = nil
	if _, err := transformer.Apply(transform.PersistentVolumes, volume(t, "shop")); err != nil {
		t.Error(err)
	}
	if _, err := transformer.Apply(transform.Claims, claim()); err != nil {
		t.Errorf("of the claim, when it answers: %v", err)
	}
}

func TestVolumeBesideItsOriginal(t *testing.T) {
	t.Parallel()
	opts := snapshotted(true)
	transformer := transform.New(opts)
	obj := volume(t, "shop")
	decision, err := transformer.Apply(transform.PersistentVolumes, obj)
	if err != nil {
		t.Fatal(err)
	}
	if decision.Skip != "" || len(decision.Warnings) != 1 || len(decision.Errors) != 0 {
		t.Errorf("decision %+v", decision)
	}
	name, ok := opts.Volumes.Renamed("x")
	if !ok || name != obj.Name() || !regexp.MustCompile(`^velero-clone-[0-9a-f-]{36}$`).MatchString(name) {
		t.Errorf("renamed to %q (%t), its name is %q", name, ok, obj.Name())
	}
	want := decode(t, toJSON(t, `
metadata: {name: `+name+`, annotations: {velero.io/original-pv-name: x}}
spec:
  persistentVolumeReclaimPolicy: Retain
  claimRef: {namespace: shop2, name: data}
  csi: {driver: d, volumeHandle: h}
`))
	if diff := cmp.Diff(want, encode(t, obj)); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
	claim := parse(t, `{metadata: {namespace: shop}, spec: {volumeName: x, accessModes: [ReadWriteOnce]}}`)
	if _, err := transformer.Apply(transform.Claims, claim); err != nil {
		t.Fatal(err)
	}
	want = decode(t, toJSON(t, `{metadata: {namespace: shop2}, spec: {volumeName: `+name+`, accessModes: [ReadWriteOnce]}}`))
	if diff := cmp.Diff(want, encode(t, claim)); diff != "" {
		t.Errorf("claim (-want +got):\n%s", diff)
	}
}

// A copy with a disk of its own is like the original.
func TestVolumeWithDiskBesideItsOriginal(t *testing.T) {
	t.Parallel()
	opts := snapshotted(true)
	opts.RestoreVolumes = true
	obj := volume(t, "shop")
	decision, err := transform.New(opts).Apply(transform.PersistentVolumes, obj)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(transform.Decision{Disk: true}, decision); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
	want := decode(t, toJSON(t, `
metadata: {name: `+obj.Name()+`, annotations: {velero.io/original-pv-name: x}}
spec:
  persistentVolumeReclaimPolicy: Delete
  claimRef: {namespace: shop2, name: data}
  csi: {driver: d, volumeHandle: h}
`))
	if name, ok := opts.Volumes.Renamed("x"); !ok || name != obj.Name() {
		t.Errorf("renamed to %q (%t), its name is %q", name, ok, obj.Name())
	}
	if diff := cmp.Diff(want, encode(t, obj)); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
}

// A second attempt must not make a second copy.
func TestVolumeBesideItsOriginalKeepsItsName(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for range 2 {
		obj := volume(t, "shop")
		if _, err := transform.New(snapshotted(true)).Apply(transform.PersistentVolumes, obj); err != nil {
			t.Fatal(err)
		}
		names[obj.Name()] = true
	}
	if len(names) != 1 {
		t.Errorf("names %v", names)
	}
}

func TestVolumeKeepsItsName(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		options   transform.Options
		namespace string
	}{
		"it isn't in the cluster":        {snapshotted(false), "shop"},
		"its claim doesn't move":         {snapshotted(true), "other"},
		"there is no way to know":        {options(backedUp(transform.VolumeNativeSnapshot), func(o *transform.Options) { o.RestoreVolumes = false }), "shop"},
		"it has no snapshot, and exists": {options(func(o *transform.Options) { o.VolumeMoves = func(string, string) (bool, error) { return true, nil } }), "shop"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.options.Volumes = stdcmp.Or(tc.options.Volumes, transform.NewVolumes(nil, nil))
			obj := volume(t, tc.namespace)
			if _, err := transform.New(tc.options).Apply(transform.PersistentVolumes, obj); err != nil {
				t.Fatal(err)
			}
			if _, renamed := tc.options.Volumes.Renamed("x"); obj.Name() != "x" || renamed {
				t.Errorf("it became %q", obj.Name())
			}
		})
	}
}

func TestLostDataIsAnError(t *testing.T) {
	t.Parallel()
	for _, restoreVolumes := range []bool{true, false} {
		opts := options(backedUp(transform.VolumePodVolumeBackup), func(o *transform.Options) { o.RestoreVolumes = restoreVolumes })
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
  finalizers: [kubernetes.io/pvc-protection, snapshot.storage.kubernetes.io/pvc-as-source-protection]
  annotations:
    pv.kubernetes.io/bind-completed: "yes"
    pv.kubernetes.io/bound-by-controller: "yes"
    volume.kubernetes.io/storage-provisioner: p
    volume.beta.kubernetes.io/storage-provisioner: p
    volume.kubernetes.io/selected-node: node1
    backup.velero.io/must-include-additional-items: "true"
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
		options: func(o *transform.Options) { o.Volumes = transform.NewVolumes(nil, nil); o.Volumes.Reprovision("pv1") },
		in:      bound, want: meta + "\nspec: {storageClassName: manual}",
	}, {
		name: "never bound", resource: "persistentvolumeclaims",
		in: `spec: {storageClassName: fast, resources: {requests: {storage: 1Gi}}}`,
	}})
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
		name: "claim with a snapshot", resource: transform.Claims,
		in:   `{metadata: {namespace: shop, annotations: {velero.io/volume-snapshot-name: s}}, spec: {}}`,
		want: []transform.Place{{Resource: transform.VolumeSnapshots, Namespace: "shop", Name: "s"}},
	}, {
		name: "claim whose data was moved", resource: transform.Claims,
		in: `{metadata: {namespace: shop, annotations: {velero.io/volume-snapshot-name: s, velero.io/data-upload-name: velero/d}}, spec: {}}`,
	}, {
		name: "snapshot", resource: transform.VolumeSnapshots,
		in:   `{metadata: {namespace: shop}, status: {boundVolumeSnapshotContentName: c}}`,
		want: []transform.Place{{Resource: transform.VolumeSnapshotContents, Name: "c"}},
	}, {
		name: "snapshot that was never cut", resource: transform.VolumeSnapshots, in: `{metadata: {namespace: shop}}`,
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

// A claim that is looked at in the meantime sees either that the name of its volume
// isn't known or the name.
func TestVolumeIsDecidedWithItsName(t *testing.T) {
	t.Parallel()
	for range 200 {
		opts := snapshotted(true)
		opts.Volumes.Decide("x", errors.New("no answer"))
		applied := make(chan error, 1)
		obj := volume(t, "shop")
		go func() {
			_, err := transform.New(opts).Apply(transform.PersistentVolumes, obj)
			applied <- err
		}()
		for opts.Volumes.Undecided("x") != nil {
			runtime.Gosched()
		}
		if _, renamed := opts.Volumes.Renamed("x"); !renamed {
			t.Fatal("it is decided, and has no name")
		}
		if err := <-applied; err != nil {
			t.Fatal(err)
		}
	}
}
