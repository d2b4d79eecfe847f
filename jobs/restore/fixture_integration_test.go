//go:build integration

package restore_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// TestFixtureOfVelero restores what Velero 1.18 wrote and compares it with the
// cluster as it was before the backup.
func TestFixtureOfVelero(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putFixture("shop")
	summary, after := w.restore("r1", velerov1.RestoreSpec{BackupName: "shop"}, nil)
	if summary.Outcome != report.Completed || after.Status.Phase != velerov1.RestorePhaseCompleted {
		t.Fatalf("summary %+v, status %+v, results %+v", summary, after.Status, w.results("r1"))
	}
	if diff := cmp.Diff(report.Results{}, w.results("r1")); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	wantKeys := []string{
		"restores/r1/r1-volumeinfo.json.gz", "restores/r1/restore-r1-itemoperations.json.gz", "restores/r1/restore-r1-logs.gz",
		"restores/r1/restore-r1-resource-list.json.gz", "restores/r1/restore-r1-results.gz",
	}
	if diff := cmp.Diff(wantKeys, w.keys("restores/")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if p := after.Status.Progress; p == nil || p.TotalItems != 47 || p.ItemsRestored != 47 || after.Status.CompletionTimestamp == nil {
		t.Errorf("status %+v, progress %+v", after.Status, p)
	}
	w.compareWithBefore("shop", "r1")
	w.checkVolume("shop")
	w.restoreAgain()
	t.Run("selected", testSelectedFixtureOfVelero) // it has the same cluster-scoped objects
}

// TestMappedFixtureOfVelero restores it under another name in another cluster:
// what refers to the namespace follows it.
func TestMappedFixtureOfVelero(t *testing.T) {
	t.Parallel()
	w := newWorldIn(t, testenv.OtherKubeconfig(t), testenv.S3(t))
	w.putFixture("shop")
	summary, _ := w.restore("r1", velerov1.RestoreSpec{BackupName: "shop", NamespaceMapping: map[string]string{"shop": "copy"}}, nil)
	if summary.Outcome != report.Completed || summary.Errors != 0 {
		t.Fatalf("summary %+v, results %+v", summary, w.results("r1"))
	}
	w.compareWithBefore("copy", "r1")
	w.checkVolume("copy")
	if w.get("namespaces", "", "shop") != nil {
		t.Error("the namespace was made under its old name, too")
	}
}

// compareWithBefore compares each object that was in the namespace, and each
// cluster-scoped one beside it, with what it was. The namespace is now target.
func (w *world) compareWithBefore(target, restore string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(fixtures, "state-before", "*", "*.json"))
	w.must(err)
	compared := 0
	for _, path := range files {
		body, err := os.ReadFile(path)
		w.must(err)
		var before unstructured.Unstructured
		w.must(before.UnmarshalJSON(body))
		resource := resourceOf(&before)
		key := resource.GroupResource().String() + "/" + before.GetName()
		follow(before.Object, "shop", target)
		live, err := w.dynamic.Resource(resource).Namespace(before.GetNamespace()).Get(w.t.Context(), before.GetName(), metav1.GetOptions{})
		if reason := notRestored[key]; reason != "" {
			if err == nil {
				w.t.Errorf("%s is there: %s", key, reason)
			}
			continue
		}
		if err != nil {
			w.t.Errorf("%s: %v", key, err)
			continue
		}
		if kind := before.GetKind(); kind != "Namespace" && (live.GetLabels()[velerov1.RestoreNameLabel] != restore || live.GetLabels()[velerov1.BackupNameLabel] != "shop") {
			w.t.Errorf("%s: labels %v", key, live.GetLabels())
		}
		if diff := cmp.Diff(exceptFor(exceptions, &before), exceptFor(exceptions, live)); diff != "" {
			w.t.Errorf("%s (-before +after):\n%s", key, diff)
		}
		compared++
	}
	if compared < 30 {
		w.t.Errorf("only %d objects compared", compared)
	}
}

// checkVolume looks at the retained volume and its claim.
func (w *world) checkVolume(namespace string) {
	w.t.Helper()
	pv := w.get("persistentvolumes", "", "shop-data")
	claim, _, _ := unstructured.NestedMap(pv.Object, "spec", "claimRef")
	want := map[string]any{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": "data"}
	if diff := cmp.Diff(want, claim); diff != "" {
		w.t.Errorf("claimRef (-want +got):\n%s", diff)
	}
	pvc := w.get("persistentvolumeclaims", namespace, "data")
	if name, _, _ := unstructured.NestedString(pvc.Object, "spec", "volumeName"); name != "shop-data" {
		w.t.Errorf("the claim names volume %q", name)
	}
}

// restoreAgain restores over what is there: nothing changes; a warning for each
// object that differs.
func (w *world) restoreAgain() {
	w.t.Helper()
	summary, _ := w.restore("r2", velerov1.RestoreSpec{BackupName: "shop"}, nil)
	if summary.Outcome != report.Completed {
		w.t.Errorf("second restore: %+v", summary)
	}
	// The LimitRange, which is younger than these pods, changed them when they were
	// restored: those that the API server had seen it for by then, and says so of.
	want := []string{}
	for _, pod := range []string{"agent-pxgj8", "db-0", "web-bbfb676d-425d2"} {
		live := w.get("pods", "shop", pod)
		if live == nil || live.GetAnnotations()["kubernetes.io/limit-ranger"] != "" {
			want = append(want, `shop/pods/`+pod+`: could not restore, Pod "`+pod+`" already exists. Warning: the in-cluster version is different than the backed-up version`)
		}
	}
	got := w.results("r2").Warnings.Namespaces["shop"]
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("warnings of the second restore (-want +got):\n%s", diff)
	}
}

// testSelectedFixtureOfVelero restores a backup that was made by label, with
// its cluster-scoped objects, into another namespace.
func testSelectedFixtureOfVelero(t *testing.T) {
	w := newWorld(t)
	w.putFixture("shop-selected")
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "shop-selected", NamespaceMapping: map[string]string{"shop": w.app}}, nil)
	// The selector left the pod's account out of the backup.
	errs := w.results("r").Errors.Namespaces[w.app]
	if summary.Errors != 2 || len(errs) != 1 || !strings.Contains(errs[0], `serviceaccount "web" not found`) {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	w.said(w.errors("r"), "shop-data", "belongs to claim shop/data", w.app+"/data")
	if w.get("deployments.apps", w.app, "web") == nil || w.get("configmaps", w.app, "web-config") == nil {
		t.Error("the selected objects are not there")
	}
}
