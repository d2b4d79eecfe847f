//go:build integration

package restore_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// Two namespaces may become one; of two objects that have one place then, the one
// that isn't restored is told, unless it is the same.
func TestTwoNamespacesBecomeOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.app+"-a", w.app+"-b"
	object := func(namespace, name, data string) string {
		return fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: %s}, data: {from: %s}}`, name, namespace, data)
	}
	w.putBackup("b", object(a, "only-a", "a"), object(a, "both", "a"), object(a, "same", "x"),
		object(b, "only-b", "b"), object(b, "both", "b"), object(b, "same", "x"))
	w.restore("r", velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{a: w.app, b: w.app}}, nil)
	told := append(w.errors("r"), w.warnings("r")...)
	w.said(told, "both")
	if len(told) != 1 {
		t.Errorf("told: %q", told)
	}
	if diff := cmp.Diff(map[string]bool{"only-a": true, "only-b": true, "both": true, "same": true}, w.configMaps()); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
}

// A namespace may take the name of another that moves away.
func TestNamespacesSwapNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.app+"-a", w.app+"-b"
	binding := func(namespace, account string) string {
		return fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x, namespace: %s}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}, subjects: [{kind: ServiceAccount, name: sa, namespace: %s}, {kind: User, apiGroup: rbac.authorization.k8s.io, name: "system:serviceaccount:%s:sa"}]}`, namespace, account, account)
	}
	w.putBackup("b",
		fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {was: a}}}`, a), fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {was: b}}}`, b),
		binding(a, b), binding(b, a))
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{a: b, b: a}}, nil)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Fatalf("summary %+v, results %+v", summary, w.results("r"))
	}
	for namespace, want := range map[string]string{a: "b", b: "a"} {
		if got := w.get("namespaces", "", namespace).GetLabels()["was"]; got != want {
			t.Errorf("namespace %s was %q", namespace, got)
		}
		other := map[string]string{a: b, b: a}[namespace]
		subjects, _, _ := unstructured.NestedSlice(w.get("rolebindings.rbac.authorization.k8s.io", namespace, "x").Object, "subjects")
		wantSubjects := []any{
			map[string]any{"kind": "ServiceAccount", "name": "sa", "namespace": other},
			map[string]any{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "system:serviceaccount:" + other + ":sa"},
		}
		if diff := cmp.Diff(wantSubjects, subjects); diff != "" {
			t.Errorf("subjects in %s (-want +got):\n%s", namespace, diff)
		}
	}
}

// What still names a namespace that was mapped, in a place that can't be known to
// mean it, is told with its path.
func TestMentionsOfMappedNamespaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source := w.app + "-old"
	w.putBackup("b",
		fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: url, namespace: %[1]s}, data: {database: "db.%[1]s.svc.cluster.local"}}`, source),
		fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: plain, namespace: %s}, data: {database: db}}`, source))
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{source: w.app}}, nil)
	if summary.Outcome != report.Completed {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	w.said(w.warnings("r"), "url", "database")
	if got := w.configMaps(); !got["url"] || !got["plain"] {
		t.Errorf("restored: %v", got)
	}
}

// Existing objects in many namespaces at once, listed together.
func TestExistingObjectsInManyNamespaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const namespaces, each = 8, 6
	var manifests []string
	for n := range namespaces {
		namespace := fmt.Sprintf("%s-%d", w.app, n)
		w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + namespace + `}}`)
		for i := range each {
			manifest := fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d, namespace: %s}, data: {a: "%d"}}`, i, namespace, n)
			if (n+i)%3 > 0 { // two of three are there
				w.apply(manifest)
			}
			manifests = append(manifests, manifest)
		}
	}
	w.putBackup("b", manifests...)
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	counts := map[bool]int{}
	for n := range namespaces {
		for i := range each {
			live := w.get("configmaps", fmt.Sprintf("%s-%d", w.app, n), fmt.Sprintf("c%d", i))
			if live == nil {
				t.Fatalf("c%d of namespace %d is not there", i, n)
			}
			restored := live.GetLabels()[velerov1.RestoreNameLabel] == "r"
			if restored != ((n+i)%3 == 0) {
				t.Errorf("c%d of namespace %d was restored: %t", i, n, restored)
			}
			counts[restored]++
		}
	}
	if counts[true] != namespaces*each/3 {
		t.Errorf("restored and not: %v", counts)
	}
}
