//go:build integration

package roundtrip

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// backedUp is a world with a backup of claims, each of which had its name as data,
// and has "later" now.
func backedUp(t *testing.T, names ...string) (*world, *testenv.CSI, *saved) {
	t.Helper()
	kubeconfig := testenv.Kubeconfig(t)
	w := newWorld(t, kubeconfig, testenv.S3(t))
	c := testenv.StartCSI(t, kubeconfig, testenv.CSIOptions{Provisioner: true})
	b := &saved{}
	for _, name := range names {
		v := c.Volume(t, w.app, name, "1Mi", "app", name)
		c.Write(t, v.Handle, "file", name)
		w.save(b, c, name)
		c.Write(t, v.Handle, "file", "later")
	}
	return w, c, b
}

// has checks what is in the volume of a claim.
func (w *world) has(c *testenv.CSI, namespace, claim, want string) testenv.CSIVolume {
	w.Helper()
	v := c.Claimed(w.T, namespace, claim)
	if got := c.Read(w.T, v.Handle, "file"); got != want {
		w.Errorf("claim %s/%s has %q, want %q", namespace, claim, got, want)
	}
	return v
}

func TestClaimsComeBackWithTheirData(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one", "two")
	w.write(b)
	target := w.app + "-copy"
	summary := w.restore("mapped", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}}, nil)
	warnings, errs := w.texts("mapped")
	if summary.Outcome != report.Completed || len(warnings) > 0 {
		t.Fatalf("summary %+v, warnings %q, errors %q", summary, warnings, errs)
	}
	for _, name := range []string{"one", "two"} {
		w.has(c, w.app, name, "later")
		v := w.has(c, target, name, name)
		pv := w.get(volumes, "", v.PV)
		policy, _, _ := unstructured.NestedString(pv.Object, "spec", "persistentVolumeReclaimPolicy")
		if labels := pv.GetLabels(); policy != "Retain" || labels["tier"] != "gold" || labels["topology.kubernetes.io/zone"] != "" {
			t.Errorf("volume %s has policy %s and labels %v", v.PV, policy, labels)
		}
		w.drop(name)
	}
	var infos []volume.RestoreInfo
	w.must(catalog.New(w.bucket).GetJSON(t.Context(), catalog.RestoreFile("mapped", catalog.RestoreVolumeInfo), &infos))
	if len(infos) != 2 || infos[0].PVCName != "one" || infos[0].PVCNamespace != target || infos[0].Method != volume.CSISnapshot ||
		infos[0].CSI.SnapshotHandle != b.infos[0].CSI.SnapshotHandle || infos[0].CSI.ContentName == b.infos[0].CSI.ContentName {
		t.Errorf("volume info %+v", infos)
	}

	summary = w.restore("again", velerov1.RestoreSpec{}, nil)
	if warnings, errs := w.texts("again"); summary.Outcome != report.Completed || len(warnings) > 0 {
		t.Fatalf("summary %+v, warnings %q, errors %q", summary, warnings, errs)
	}
	w.has(c, w.app, "one", "one")
	w.has(c, w.app, "two", "two")

	summary = w.restore("third", velerov1.RestoreSpec{}, nil) // over claims that are there
	warnings, _ = w.texts("third")
	if summary.Outcome != report.Completed || len(warnings) != 2 {
		t.Errorf("over claims that exist: %+v, warnings %q", summary, warnings)
	}
	w.said(warnings, "one", "the cluster has the claim")
	for name, namespace := range map[string]string{"mapped": target, "again": w.app, "third": w.app} {
		w.eventually("objects of snapshots are gone", func() bool {
			return len(w.restored(snapshots, namespace, name))+len(w.restored(contents, "", name)) == 0
		})
	}
	if left := c.Snapshots(t); len(left) != 2 {
		t.Errorf("the driver has snapshots %q, want those of the backup", left)
	}
}

// Snapshots come with their claims, whatever the filters say of their kinds.
func TestFiltersTakeSnapshotsAlong(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one", "two")
	w.write(b)
	no := false
	for name, spec := range map[string]velerov1.RestoreSpec{
		"by-kind":  {IncludedResources: []string{"persistentvolumeclaims"}, LabelSelector: selector("app", "one")},
		"by-label": {LabelSelector: selector("app", "one")},
		"by-scope": {IncludeClusterResources: &no, IncludedNamespaces: []string{w.app}, LabelSelector: selector("app", "one")},
	} {
		target := w.app + "-" + name
		spec.NamespaceMapping = map[string]string{w.app: target}
		summary := w.restore(name, spec, nil)
		warnings, errs := w.texts(name)
		if summary.Outcome != report.Completed || len(warnings) > 0 {
			t.Fatalf("%s: summary %+v, warnings %q, errors %q", name, summary, warnings, errs)
		}
		w.has(c, target, "one", "one")
		if w.get(claims, target, "two") != nil {
			t.Errorf("%s: a claim came along", name)
		}
	}
}

func TestWithoutTheData(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one")
	w.write(b)
	target := w.app + "-copy"
	summary := w.restore("r", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}, RestorePVs: new(bool)}, nil)
	warnings, _ := w.texts("r")
	if summary.Outcome != report.Completed || len(warnings) != 1 {
		t.Errorf("summary %+v, warnings %q", summary, warnings)
	}
	w.said(warnings, b.infos[0].PVName, "empty volume")
	v := c.Claimed(t, target, "one")
	for _, call := range c.Calls(t) {
		if call.Method == "CreateVolume" && call.Snapshot != "" {
			t.Errorf("volume %s was made from snapshot %s", v.Handle, call.Snapshot)
		}
	}
	if made := w.restored(snapshots, target, "r"); len(made) > 0 {
		t.Errorf("snapshots %q", made)
	}
}

// Backups of Velero before 1.13 don't say how volumes were saved; the claims do.
// Those before 1.9 have snapshots in a version that is served no more.
func TestOldBackup(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one")
	old := *b
	old.infos = nil
	for _, u := range b.objects[:2] {
		u.SetAPIVersion("snapshot.storage.k8s.io/v1beta1")
	}
	w.write(&old)
	w.must(catalog.New(w.bucket).PutJSON(t.Context(), catalog.BackupFile("b", "csi-volumesnapshots.json.gz"), []any{b.objects[1].Object}))
	target := w.app + "-copy"
	summary := w.restore("r", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}}, nil)
	if warnings, errs := w.texts("r"); summary.Outcome != report.Completed || len(warnings) > 0 {
		t.Errorf("summary %+v, warnings %q, errors %q", summary, warnings, errs)
	}
	w.has(c, target, "one", "one")
}

// Another cluster sees the same storage; it may have no class for snapshots.
func TestIntoAnotherCluster(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one")
	w.write(b)
	other := newWorld(t, testenv.OtherKubeconfig(t), w.location)
	other.addBackup("b")
	target := other.app + "-copy"
	spec := velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}}

	summary := other.restore("no-driver", spec, func(cfg *restore.Config) { cfg.ProvisionTimeout = time.Second })
	_, errs := other.texts("no-driver")
	if summary.Outcome != report.PartiallyFailed {
		t.Errorf("without the driver: %+v", summary)
	}
	other.said(errs, "persistentvolumeclaims/one", "install the CSI snapshot controller")

	there := testenv.StartCSI(t, other.kubeconfig, testenv.CSIOptions{Provisioner: true, NoClass: true, Storage: c})
	spec.NamespaceMapping[w.app] = target + "-2"
	summary = other.restore("r", spec, nil)
	if warnings, errs := other.texts("r"); summary.Outcome != report.Completed || len(warnings) > 0 {
		t.Fatalf("summary %+v, warnings %q, errors %q", summary, warnings, errs)
	}
	other.has(there, target+"-2", "one", "one")
}

// What can't be brought back is said, with the words of the driver.
func TestSnapshotThatIsGone(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "gone", "kept")
	if err := unstructured.SetNestedField(b.objects[0].Object, "snap-nowhere", "status", "snapshotHandle"); err != nil {
		t.Fatal(err)
	}
	w.write(b)
	target := w.app + "-copy"
	summary := w.restore("r", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}}, func(cfg *restore.Config) { cfg.ProvisionTimeout = 5 * time.Second })
	_, errs := w.texts("r")
	if summary.Outcome != report.PartiallyFailed || len(errs) != 1 {
		t.Errorf("summary %+v, errors %q", summary, errs)
	}
	w.said(errs, "gone", "snap-nowhere")
	w.has(c, target, "kept", "kept")
	if made := w.restored(snapshots, target, "r"); len(made) != 1 {
		t.Errorf("snapshots %q: want that of the claim which waits", made)
	}
}

// A volume that could not be snapshotted is named, and so is a snapshot without
// handle, or without content.
func TestSnapshotsThatFailed(t *testing.T) {
	t.Parallel()
	w, _, b := backedUp(t, "failed", "unnamed", "alone")
	b.infos[0].Result = volume.Failed
	unstructured.RemoveNestedField(b.objects[4].Object, "status", "snapshotHandle")
	b.objects = append(b.objects[2:8:8], b.objects[9:]...) // without what failed, and without a content
	w.write(b)
	target := w.app + "-copy"
	summary := w.restore("r", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}}, func(cfg *restore.Config) { cfg.ProvisionTimeout = 5 * time.Second })
	_, errs := w.texts("r")
	if summary.Outcome != report.PartiallyFailed {
		t.Errorf("summary %+v", summary)
	}
	w.said(errs, b.infos[0].PVName, "isn't in the backup")
	w.said(errs, "volumesnapshotcontents", "how the storage calls")
	w.said(errs, target, "unnamed", "its data isn't restored")
	w.said(errs, target, "alone", "its data isn't restored")
	w.said(errs, target, "claims/failed", "its data isn't restored")
	if len(errs) != 5 {
		t.Errorf("errors %q", errs)
	}
	for _, name := range []string{"failed", "unnamed", "alone"} {
		pvc := w.get(claims, target, name)
		if phase, _, _ := unstructured.NestedString(pvc.Object, "status", "phase"); phase != "Pending" {
			t.Errorf("claim %s is %s", name, phase)
		}
	}
}

// A restore that was cut off goes on: what it made is its own.
func TestSecondAttempt(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one")
	w.write(b)
	c.KillDriver(t)
	target := w.app + "-copy"
	first := w.restore("r", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}}, func(cfg *restore.Config) {
		cfg.LastAttempt, cfg.ProvisionTimeout = false, time.Second
	})
	if first.Outcome != report.PartiallyFailed {
		t.Errorf("first attempt: %+v", first)
	}
	c.StartDriver(t)
	_, err := w.client.Restores(w.velero).Patch(t.Context(), "r", mergePatch, []byte(`{"status":{"phase":"InProgress","completionTimestamp":null}}`), patchOptions)
	w.must(err)
	second := w.run(t.Context(), "r", func(cfg *restore.Config) { cfg.Attempt = 2 })
	if warnings, errs := w.texts("r"); second.Outcome != report.Completed || len(warnings) > 0 {
		t.Errorf("second attempt: %+v, warnings %q, errors %q", second, warnings, errs)
	}
	w.has(c, target, "one", "one")
}

// Claims that wait for a pod don't hold up the restore, unless a pod mounts them.
func TestClaimThatWaitsForAPod(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one", "mounted")
	class := w.lateClass(c)
	w.must(unstructured.SetNestedField(b.objects[3].Object, class, "spec", "storageClassName"))
	w.must(unstructured.SetNestedField(b.objects[7].Object, class, "spec", "storageClassName"))
	b.objects = append(b.objects, w.podOf("mounted")...)
	w.write(b)
	target := w.app + "-copy"
	summary := w.restore("r", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}}, func(cfg *restore.Config) { cfg.ProvisionTimeout = 4 * time.Second })
	warnings, errs := w.texts("r")
	if summary.Outcome != report.PartiallyFailed || len(warnings) != 1 || len(errs) != 1 {
		t.Errorf("summary %+v, warnings %q, errors %q", summary, warnings, errs)
	}
	w.said(warnings, "one", "when a pod uses it")
	w.said(errs, "claims/mounted", "no volume after 4s")
	if diff := cmp.Diff(2, len(w.restored(snapshots, target, "r"))); diff != "" {
		t.Errorf("the snapshots that they wait for (-want +got):\n%s", diff)
	}
}

// podOf is a pod of the backup that mounts a claim, and its account.
func (w *world) podOf(claim string) []*unstructured.Unstructured {
	meta := map[string]any{"name": claim, "namespace": w.app}
	account := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}}
	return []*unstructured.Unstructured{account, {Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": meta,
		"spec": map[string]any{
			"serviceAccountName": claim, "automountServiceAccountToken": false,
			"containers": []any{map[string]any{"name": "c", "image": "example.com/i"}},
			"volumes":    []any{map[string]any{"name": "v", "persistentVolumeClaim": map[string]any{"claimName": claim}}},
		},
	}}}
}

// Two claims of the backup that become one have two snapshots: one makes the volume,
// and none is left.
func TestClaimsThatBecomeOne(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one")
	second := w.app + "-second"
	for _, u := range b.objects[:4] {
		u = u.DeepCopy()
		if u.GetNamespace() != "" {
			u.SetNamespace(second)
		} else {
			u.SetName(u.GetName() + "-second")
		}
		switch u.GetKind() {
		case "VolumeSnapshotContent":
			w.must(unstructured.SetNestedField(u.Object, second, "spec", "volumeSnapshotRef", "namespace"))
		case "VolumeSnapshot":
			w.must(unstructured.SetNestedField(u.Object, b.objects[0].GetName()+"-second", "status", "boundVolumeSnapshotContentName"))
		case "PersistentVolume":
			w.must(unstructured.SetNestedField(u.Object, second, "spec", "claimRef", "namespace"))
		case "PersistentVolumeClaim":
			w.must(unstructured.SetNestedField(u.Object, b.objects[2].GetName()+"-second", "spec", "volumeName"))
		}
		b.objects = append(b.objects, u)
	}
	info := b.infos[0]
	info.PVName, info.PVCNamespace = info.PVName+"-second", second
	b.infos = append(b.infos, info)
	w.write(b)
	target := w.app + "-copy"
	summary := w.restore("become-one", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target, second: target}}, nil)
	warnings, errs := w.texts("become-one")
	if summary.Outcome != report.Completed || len(warnings) != 1 {
		t.Errorf("summary %+v, warnings %q, errors %q", summary, warnings, errs)
	}
	w.has(c, target, "one", "one")
	for _, resource := range []schema.GroupVersionResource{snapshots, contents} {
		list, err := w.dynamic.Resource(resource).List(t.Context(), metav1.ListOptions{LabelSelector: velerov1.RestoreNameLabel + "=become-one"})
		w.must(err)
		for _, u := range list.Items {
			if u.GetDeletionTimestamp() == nil {
				t.Errorf("%s %s is left", u.GetKind(), u.GetName())
			}
		}
	}
}

// A claim whose class can't make the volume is no riddle.
func TestClaimsOfWrongClasses(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "nowhere", "foreign", "driverless")
	another := testenv.StartCSI(t, w.kubeconfig, testenv.CSIOptions{})
	w.must(unstructured.SetNestedField(b.objects[3].Object, "no-such-class", "spec", "storageClassName"))
	w.must(unstructured.SetNestedField(b.objects[7].Object, another.Driver, "spec", "storageClassName"))
	b.infos[2].CSI.Driver = "gone.example.com"
	w.write(b)
	spec := velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: w.app + "-copy"}}
	items, _ := w.preview(spec)
	for _, name := range []string{"nowhere", "foreign", "driverless"} {
		if got := items["PersistentVolumeClaim "+name]; got.Action != report.PreviewRefuse || got.Reason == "" {
			t.Errorf("the preview says of claim %s: %+v", name, got)
		}
	}
	summary := w.restore("r", spec, nil)
	_, errs := w.texts("r")
	if summary.Outcome != report.PartiallyFailed || len(errs) != 3 {
		t.Errorf("summary %+v, errors %q", summary, errs)
	}
	w.said(errs, "driverless", "gone.example.com", "isn't installed")
	w.said(errs, "nowhere", "no-such-class", "doesn't exist", "change-storage-class")
	w.said(errs, "foreign", c.Driver, another.Driver, "rather than with an empty one")
	for name, kept := range map[string]bool{"foreign": true, "nowhere": false, "driverless": true} {
		pvc := w.get(claims, w.app+"-copy", name)
		if volume, _, _ := unstructured.NestedString(pvc.Object, "spec", "volumeName"); (volume != "") != kept {
			t.Errorf("claim %s names volume %q", name, volume)
		}
	}
}

// A provisioner that doesn't look at snapshots makes no empty volume, and one that made
// a claim's volume all the same is found out.
func TestVolumesOfOthers(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "foreign", "classless")
	another := testenv.StartCSI(t, w.kubeconfig, testenv.CSIOptions{Provisioner: true})
	for _, u := range b.objects[:2] { // whose driver only the snapshot's content tells
		u.SetAPIVersion("snapshot.storage.k8s.io/v1beta1")
	}
	b.objects[4].SetAPIVersion("snapshot.storage.k8s.io/v1beta1")
	b.objects[5].SetAPIVersion("snapshot.storage.k8s.io/v1beta1")
	b.infos = nil
	w.must(unstructured.SetNestedField(b.objects[3].Object, another.Driver, "spec", "storageClassName"))
	w.must(unstructured.SetNestedField(b.objects[7].Object, "", "spec", "storageClassName"))
	w.write(b)
	w.must(catalog.New(w.bucket).PutJSON(t.Context(), catalog.BackupFile("b", "csi-volumesnapshots.json.gz"), []any{b.objects[1].Object, b.objects[5].Object}))
	w.handVolume("classless")
	target := w.app + "-copy"
	summary := w.restore("r", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}}, nil)
	_, errs := w.texts("r")
	if summary.Outcome != report.PartiallyFailed || len(errs) != 2 {
		t.Errorf("summary %+v, errors %q", summary, errs)
	}
	w.said(errs, "foreign", c.Driver, another.Driver, "rather than with an empty one")
	w.said(errs, "classless", "isn't of CSI driver", c.Driver)
	if pvc := w.get(claims, target, "foreign"); pvc.Object["status"].(map[string]any)["phase"] != "Pending" {
		t.Errorf("claim foreign: %v", pvc.Object["status"])
	}
	if made := w.restored(snapshots, target, "r"); len(made) != 2 {
		t.Errorf("snapshots %q: want those of both claims", made)
	}
}

// handVolume makes a volume of no driver and no class, for a claim that has the same size as
// those of the driver.
func (w *world) handVolume(name string) {
	w.Helper()
	pv := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": w.app + "-" + name},
		"spec": map[string]any{
			"capacity": map[string]any{"storage": "1Mi"}, "accessModes": []any{"ReadWriteOnce"}, "persistentVolumeReclaimPolicy": "Retain",
			"hostPath": map[string]any{"path": "/x"},
			"claimRef": map[string]any{"namespace": w.app + "-copy", "name": name},
		},
	}}
	_, err := w.dynamic.Resource(volumes).Create(w.Context(), pv, metav1.CreateOptions{})
	w.must(err)
}

// A preview names all that would come back and makes nothing.
func TestPreview(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one")
	w.write(b)
	before := len(c.Calls(t))
	items, end := w.preview(velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: w.app + "-copy"}})
	if end.Reason != "" || len(end.Errors)+len(end.Warnings) > 0 {
		t.Errorf("end %+v", end)
	}
	actions := map[string]int{}
	for _, item := range items {
		actions[item.Kind+" "+string(item.Action)]++
	}
	want := map[string]int{
		"Namespace create": 1, "PersistentVolume skip": 1, "PersistentVolumeClaim unchecked": 1,
		"VolumeSnapshot unchecked": 1, "VolumeSnapshotContent create": 1,
	}
	if diff := cmp.Diff(want, actions); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	items, _ = w.preview(velerov1.RestoreSpec{}) // into the namespace that is there
	if got := items["PersistentVolumeClaim one"]; len(got.Warnings) != 1 {
		t.Errorf("of a claim that is there: %+v", got)
	}
	if calls := c.Calls(t)[before:]; len(calls) > 0 {
		t.Errorf("the driver was called: %+v", calls)
	}
}
