//go:build integration

package restore_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// TestFixtureOfVelero restores what Velero 1.18 wrote and compares it with the
// cluster as it was before the backup.
func TestFixtureOfVelero(t *testing.T) {
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
	w.compareWithBefore()
	w.checkVolume()
	w.restoreAgain()
}

// notRestored are the objects that don't come back, with the reason.
var notRestored = map[string]string{
	"configmaps/kube-root-ca.crt":                        "every cluster publishes its own",
	"configmaps/skip-me":                                 "excluded from the backup by its label",
	"jobs.batch/migrate":                                 "the Job has completed",
	"pods/migrate-qjwxv":                                 "the pod has ended",
	"endpoints/db":                                       "computed by the cluster",
	"endpoints/lb":                                       "computed by the cluster",
	"endpoints/web":                                      "computed by the cluster",
	"endpoints/web-nodeport":                             "computed by the cluster",
	"endpointslices.discovery.k8s.io/db-rlsp6":           "computed by the cluster",
	"endpointslices.discovery.k8s.io/lb-n8kq6":           "computed by the cluster",
	"endpointslices.discovery.k8s.io/web-gmttq":          "computed by the cluster",
	"endpointslices.discovery.k8s.io/web-nodeport-cxqzm": "computed by the cluster",
}

// compareWithBefore compares each object of the namespace with what it was.
func (w *world) compareWithBefore() {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(fixtures, "state-before", "*", "*.json"))
	w.must(err)
	compared := 0
	for _, path := range files {
		resource := filepath.Base(filepath.Dir(path))
		if resource == "_cluster" {
			continue
		}
		body, err := os.ReadFile(path)
		w.must(err)
		var before unstructured.Unstructured
		w.must(before.UnmarshalJSON(body))
		key := resource + "/" + before.GetName()
		live := w.get(resource, "shop", before.GetName())
		if reason := notRestored[key]; reason != "" {
			if live != nil {
				w.t.Errorf("%s is there: %s", key, reason)
			}
			continue
		}
		if live == nil {
			w.t.Errorf("%s is not there", key)
			continue
		}
		if live.GetLabels()[velerov1.RestoreNameLabel] != "r1" || live.GetLabels()[velerov1.BackupNameLabel] != "shop" {
			w.t.Errorf("%s: labels %v", key, live.GetLabels())
		}
		if diff := cmp.Diff(comparable(&before), comparable(live)); diff != "" {
			w.t.Errorf("%s (-before +after):\n%s", key, diff)
		}
		compared++
	}
	if compared < 25 {
		w.t.Errorf("only %d objects compared", compared)
	}
}

// comparable takes out what two lives of an object don't share.
func comparable(u *unstructured.Unstructured) map[string]any {
	for _, path := range [][]string{
		{"status"}, {"metadata", "uid"}, {"metadata", "resourceVersion"}, {"metadata", "generation"}, {"metadata", "creationTimestamp"},
		{"metadata", "managedFields"}, {"metadata", "generateName"}, {"metadata", "ownerReferences"},
		{"metadata", "labels", velerov1.BackupNameLabel}, {"metadata", "labels", velerov1.RestoreNameLabel},
		{"metadata", "annotations", "pv.kubernetes.io/bind-completed"}, {"metadata", "annotations", "pv.kubernetes.io/bound-by-controller"},
		{"metadata", "annotations", "kubernetes.io/service-account.uid"},
		{"metadata", "annotations", "kubernetes.io/limit-ranger"}, // the restored LimitRange judges pods anew
		{"spec", "clusterIP"}, {"spec", "clusterIPs"}, {"spec", "healthCheckNodePort"},
		{"spec", "nodeName"},
	} {
		unstructured.RemoveNestedField(u.Object, path...)
	}
	for _, field := range []string{"labels", "annotations"} {
		if m, _, _ := unstructured.NestedMap(u.Object, "metadata", field); len(m) == 0 {
			unstructured.RemoveNestedField(u.Object, "metadata", field)
		}
	}
	switch u.GetKind() {
	case "Secret":
		if kind, _, _ := unstructured.NestedString(u.Object, "type"); kind == "kubernetes.io/service-account-token" {
			unstructured.RemoveNestedField(u.Object, "data", "token")
			unstructured.RemoveNestedField(u.Object, "data", "ca.crt")
		}
	case "Service":
		clearGivenPorts(u)
	case "Pod":
		clearLimits(u)
	}
	return u.Object
}

// clearGivenPorts removes node ports that nobody asked for: all but 31234.
func clearGivenPorts(u *unstructured.Unstructured) {
	ports, _, _ := unstructured.NestedSlice(u.Object, "spec", "ports")
	for _, port := range ports {
		if p := port.(map[string]any); p["nodePort"] != int64(31234) {
			delete(p, "nodePort")
		}
	}
	_ = unstructured.SetNestedSlice(u.Object, ports, "spec", "ports")
}

// clearLimits removes what the LimitRange adds to pods that are created after it.
func clearLimits(u *unstructured.Unstructured) {
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "containers")
	for _, container := range containers {
		container.(map[string]any)["resources"] = map[string]any{}
	}
	_ = unstructured.SetNestedSlice(u.Object, containers, "spec", "containers")
}

// checkVolume looks at the retained volume and its claim.
func (w *world) checkVolume() {
	w.t.Helper()
	pv := w.get("persistentvolumes", "", "shop-data")
	claim, _, _ := unstructured.NestedMap(pv.Object, "spec", "claimRef")
	want := map[string]any{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data"}
	if diff := cmp.Diff(want, claim); diff != "" {
		w.t.Errorf("claimRef (-want +got):\n%s", diff)
	}
	pvc := w.get("persistentvolumeclaims", "shop", "data")
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
	// The LimitRange, which is younger than these pods, changed them when they
	// were restored.
	want := []string{}
	for _, pod := range []string{"agent-pxgj8", "db-0", "web-bbfb676d-425d2"} {
		want = append(want, `shop/pods/`+pod+`: could not restore, Pod "`+pod+`" already exists. Warning: the in-cluster version is different than the backed-up version`)
	}
	got := w.results("r2").Warnings.Namespaces["shop"]
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("warnings of the second restore (-want +got):\n%s", diff)
	}
}

// TestSelectedFixtureOfVelero restores a backup that was made by label, with
// its cluster-scoped objects, into another namespace.
func TestSelectedFixtureOfVelero(t *testing.T) {
	w := newWorld(t)
	w.putFixture("shop-selected")
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "shop-selected", NamespaceMapping: map[string]string{"shop": w.app}}, nil)
	// The selector left the pod's account out of the backup.
	errs := w.results("r").Errors.Namespaces[w.app]
	if summary.Errors != 1 || len(errs) != 1 || !strings.Contains(errs[0], `serviceaccount "web" not found`) {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	if w.get("deployments.apps", w.app, "web") == nil || w.get("configmaps", w.app, "web-config") == nil {
		t.Error("the selected objects are not there")
	}
}
