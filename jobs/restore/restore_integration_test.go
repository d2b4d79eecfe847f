//go:build integration

package restore_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
)

func TestRetriedJobKnowsItsObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b", `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: `+w.app+`}, data: {a: b}}`)
	w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	// As the first attempt would have left it when it was killed, with an
	// object that somebody has changed since.
	_, err := w.client.Restores(w.velero).Patch(t.Context(), "r", "application/merge-patch+json",
		[]byte(`{"status":{"phase":"InProgress","completionTimestamp":null}}`), metav1.PatchOptions{})
	w.must(err)
	live := w.get("configmaps", w.app, "one")
	live.Object["data"] = map[string]any{"a": "changed"}
	_, err = w.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(w.app).Update(t.Context(), live, metav1.UpdateOptions{})
	w.must(err)
	summary, after := w.run("r", func(c *restore.Config) { c.Attempt = 2 })
	if summary.Outcome != report.Completed || summary.Warnings != 0 || after.Annotations[velerov1.AttemptAnnotation] != "2" {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	if !w.actions("r")["v1/ConfigMap "+w.app+"/one(created)"] {
		t.Errorf("actions %v", w.actions("r"))
	}
	if _, ended := w.run("r", nil); ended.Status.Phase != velerov1.RestorePhaseCompleted {
		t.Errorf("a third run changed the end to %s", ended.Status.Phase)
	}
}

func TestExistingObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manifest := func(value string) string {
		return `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: ` + w.app + `}, data: {a: ` + value + `, both: x}}`
	}
	account := func(secrets, label string) string {
		return `{apiVersion: v1, kind: ServiceAccount, metadata: {name: sa, namespace: ` + w.app + `, labels: {` + label + `}}, secrets: [` + secrets + `]}`
	}
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + w.app + `}}`)
	w.apply(strings.Replace(manifest("live"), "both: x", "both: x, extra: z", 1))
	w.apply(strings.Replace(manifest("same"), "name: one", "name: same", 1))
	w.apply(account("{name: mine}", "a: live"))
	w.putBackup("b", manifest("archived"), strings.Replace(manifest("same"), "name: one", "name: same", 1), account("{name: theirs}", "a: archived, b: archived"))

	summary, _ := w.restore("none", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if summary.Outcome != report.Completed || summary.Warnings != 1 {
		t.Errorf("policy none: %+v, %+v", summary, w.results("none"))
	}
	wantActions := map[string]bool{
		"v1/Namespace " + w.app + "(skipped)":    true,
		"v1/ConfigMap " + w.app + "/one(failed)": true, "v1/ConfigMap " + w.app + "/same(skipped)": true, "v1/ServiceAccount " + w.app + "/sa(updated)": true,
	}
	if diff := cmp.Diff(wantActions, w.actions("none")); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	sa := w.get("serviceaccounts", w.app, "sa")
	if diff := cmp.Diff(map[string]string{"a": "live", "b": "archived"}, sa.GetLabels()); diff != "" {
		t.Errorf("labels of the account (-want +got):\n%s", diff)
	}
	if secrets, _, _ := unstructured.NestedSlice(sa.Object, "secrets"); len(secrets) != 2 {
		t.Errorf("secrets of the account %v", secrets)
	}

	summary, _ = w.restore("update", velerov1.RestoreSpec{BackupName: "b", ExistingResourcePolicy: velerov1.PolicyTypeUpdate}, nil)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Errorf("policy update: %+v, %+v", summary, w.results("update"))
	}
	one := w.get("configmaps", w.app, "one")
	if diff := cmp.Diff(map[string]any{"a": "archived", "both": "x"}, one.Object["data"]); diff != "" {
		t.Errorf("data after update (-want +got):\n%s", diff)
	}
	for _, name := range []string{"one", "same"} {
		if got := w.get("configmaps", w.app, name).GetLabels()[velerov1.RestoreNameLabel]; got != "update" {
			t.Errorf("%s has restore-name %q", name, got)
		}
	}
}

func TestDefinitionAndObjectsInOneRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	definition := `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.` + w.app + `.example.com}
spec:
  group: ` + w.app + `.example.com
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`
	gear := `{apiVersion: ` + w.app + `.example.com/v1, kind: Gear, metadata: {name: big, namespace: ` + w.app + `}, spec: {big: 123456789012345678, f: 1.5}}`
	w.putBackup("b", gear, definition)
	// With a filter by namespace too: the kind is brought because it is needed.
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b", IncludedNamespaces: []string{w.app}}, nil)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Fatalf("summary %+v, results %+v", summary, w.results("r"))
	}
	spec, _, _ := unstructured.NestedMap(w.get("gears."+w.app+".example.com", w.app, "big").Object, "spec")
	if diff := cmp.Diff(map[string]any{"big": int64(123456789012345678), "f": 1.5}, spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

// A definition whose names another one has never gets served: that is told, and
// its objects with it.
func TestDefinitionThatIsNeverServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(w.in(gears)[0])
	cogs := strings.NewReplacer("gears.APP", "cogs.APP", "plural: gears", "plural: cogs", "singular: gear", "singular: cog").Replace(gears)
	w.putBackup("b", w.in(cogs,
		`{apiVersion: APP.example.com/v1, kind: Cog, metadata: {name: one, namespace: APP}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: beside, namespace: APP}}`)...)
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, func(c *restore.Config) { c.ResourceTimeout = 2 * time.Second })
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 2 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	w.said(w.errors("r"), "customresourcedefinitions", "cogs.APP.example.com", "already in use")
	w.said(w.errors("r"), "doesn't serve", "cogs.APP.example.com")
	if !w.configMaps()["beside"] {
		t.Error("the rest was not restored")
	}
}

func TestKindsThatTheClusterDoesNotServe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b",
		`{apiVersion: apps/v1beta1, kind: Deployment, metadata: {name: one, namespace: `+w.app+`}}`,
		`{apiVersion: apps/v1beta1, kind: Deployment, metadata: {name: two, namespace: `+w.app+`}}`,
		`{apiVersion: nowhere.example.com/v1, kind: Thing, metadata: {name: x, namespace: `+w.app+`}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: fine, namespace: `+w.app+`}}`)
	summary, after := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if summary.Outcome != report.PartiallyFailed || after.Status.Errors != 2 {
		t.Errorf("summary %+v", summary)
	}
	want := []string{
		"error restoring deployments.apps: 2 objects not restored: the cluster doesn't serve deployments.apps in version v1beta1, only in v1",
		"error restoring things.nowhere.example.com: 1 objects not restored: the cluster doesn't serve things.nowhere.example.com in version v1, nor in any other",
	}
	if diff := cmp.Diff(want, w.results("r").Errors.Cluster); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if w.get("configmaps", w.app, "fine") == nil {
		t.Error("the rest was not restored")
	}
	log := w.log("r")
	planned, begun := strings.Index(log, "objects not restored"), strings.Index(log, "namespace done")
	if planned < 0 || planned > begun {
		t.Error("the log doesn't say so before something is written")
	}
}

func TestServerSideApplyOwnershipComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b", `
apiVersion: v1
kind: ConfigMap
metadata:
  name: applied
  namespace: `+w.app+`
  managedFields:
  - {apiVersion: v1, fieldsType: FieldsV1, manager: gitops, operation: Apply, time: "2026-01-02T03:04:05Z", fieldsV1: {"f:data": {"f:a": {}}}}
data: {a: b}
`, `
apiVersion: v1
kind: ConfigMap
metadata:
  name: updated
  namespace: `+w.app+`
  managedFields:
  - {apiVersion: v1, fieldsType: FieldsV1, manager: editor, operation: Update, time: "2026-01-02T03:04:05Z", fieldsV1: {"f:data": {"f:a": {}}}}
data: {a: b}
`)
	if summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil); summary.Outcome != report.Completed {
		t.Fatalf("summary %+v", summary)
	}
	managers := func(name string) []string {
		var list []string
		for _, entry := range w.get("configmaps", w.app, name).GetManagedFields() {
			list = append(list, entry.Manager+" "+string(entry.Operation))
		}
		return list
	}
	if diff := cmp.Diff([]string{"gitops Apply"}, managers("applied")); diff != "" {
		t.Errorf("managers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"kubectl-velero Update"}, managers("updated")); diff != "" {
		t.Errorf("managers (-want +got):\n%s", diff)
	}
}

func TestNamespaceMappingAndLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b",
		`{apiVersion: v1, kind: Namespace, metadata: {name: src, labels: {team: x}, annotations: {note: kept}}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: in, namespace: src, labels: {app: web}}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: out, namespace: src}}`,
		`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: src}, spec: {volumeName: pv-`+w.app+`, accessModes: [ReadWriteOnce], storageClassName: m, resources: {requests: {storage: 1Gi}}}, status: {phase: Bound}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: src, labels: {app: web}}, spec: {serviceAccountName: default, containers: [{name: c, image: x}], volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]}}`,
		`{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: src, labels: {app: web}}}`,
		`{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv-`+w.app+`}, spec: {persistentVolumeReclaimPolicy: Retain, accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, storageClassName: m, hostPath: {path: /x}, claimRef: {namespace: src, name: data, uid: u}}}`,
		`{apiVersion: v1, kind: Namespace, metadata: {name: `+w.app+`-untouched}}`)
	summary, _ := w.restore("r", velerov1.RestoreSpec{
		BackupName: "b", NamespaceMapping: map[string]string{"src": w.app},
		LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
	}, nil)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Fatalf("summary %+v, results %+v", summary, w.results("r"))
	}
	namespace := w.get("namespaces", "", w.app)
	if namespace.GetLabels()["team"] != "x" || namespace.GetAnnotations()["note"] != "kept" || namespace.GetLabels()[velerov1.RestoreNameLabel] != "" {
		t.Errorf("namespace has labels %v, annotations %v", namespace.GetLabels(), namespace.GetAnnotations())
	}
	for name, want := range map[string]bool{"in": true, "out": false} {
		if got := w.get("configmaps", w.app, name) != nil; got != want {
			t.Errorf("ConfigMap %q is there: %t, want %t", name, got, want)
		}
	}
	if w.get("namespaces", "", "src") != nil || w.get("namespaces", "", w.app+"-untouched") != nil {
		t.Error("a namespace was made that nothing goes to")
	}
	ref, _, _ := unstructured.NestedStringMap(w.get("persistentvolumes", "", "pv-"+w.app).Object, "spec", "claimRef")
	if ref["namespace"] != w.app || ref["uid"] != "" {
		t.Errorf("claimRef of the volume that came along: %v", ref)
	}
	if w.get("persistentvolumeclaims", w.app, "data") == nil || w.get("pods", w.app, "p") == nil {
		t.Error("pod or the claim that it mounts is not there")
	}
}

func TestTerminatingNamespace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: `+w.app+`}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: two, namespace: `+w.app+`}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: `+w.app+`-b}}`)
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + w.app + `}}`)
	w.must(w.kube.CoreV1().Namespaces().Delete(t.Context(), w.app, metav1.DeleteOptions{}))

	summary, _ := w.restore("r1", velerov1.RestoreSpec{BackupName: "b"}, func(c *restore.Config) { c.TerminatingTimeout = 2 * time.Second })
	want := []string{`namespace "` + w.app + `": timed out waiting for terminating namespace ` + w.app + ` to disappear; hint: see status.conditions of the namespace`}
	if diff := cmp.Diff(want, w.results("r1").Errors.Velero); diff != "" || summary.Outcome != report.PartiallyFailed {
		t.Errorf("outcome %s, errors (-want +got):\n%s", summary.Outcome, diff)
	}
	if waited := strings.Count(w.log("r1"), "namespace is terminating, waiting"); waited != 1 {
		t.Errorf("the namespace was waited for %d times", waited)
	}
	if w.get("configmaps", w.app+"-b", "one") == nil {
		t.Error("the other namespace was not restored")
	}

	time.AfterFunc(3*time.Second, func() { w.forget(w.app) })
	if summary, _ := w.restore("r2", velerov1.RestoreSpec{BackupName: "b"}, nil); summary.Outcome != report.Completed {
		t.Errorf("after the namespace was gone: %+v, %+v", summary, w.results("r2"))
	}
	if w.get("configmaps", w.app, "two") == nil {
		t.Error("its objects were not restored")
	}
}

func TestPodsThatComeBeforeTheirAccountAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + w.app + `}}`)
	w.putBackup("b", `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: `+w.app+`}, spec: {serviceAccountName: late, containers: [{name: c, image: x}]}}`)
	time.AfterFunc(4*time.Second, func() {
		w.apply(`{apiVersion: v1, kind: ServiceAccount, metadata: {name: late, namespace: ` + w.app + `}}`)
	})
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, func(c *restore.Config) { c.RetryFor = 20 * time.Second })
	if summary.Outcome != report.Completed {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	// One that never comes is given up.
	w.putBackup("c", `{apiVersion: v1, kind: Pod, metadata: {name: q, namespace: `+w.app+`}, spec: {serviceAccountName: never, containers: [{name: c, image: x}]}}`)
	summary, _ = w.restore("r2", velerov1.RestoreSpec{BackupName: "c"}, nil)
	if errs := w.results("r2").Errors.Namespaces[w.app]; summary.Outcome != report.PartiallyFailed || len(errs) != 1 || !strings.Contains(errs[0], "given up") {
		t.Errorf("summary %+v, errors %q", summary, errs)
	}
}

func TestNodePortTakenByAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// A port that nobody is given at random: other tests make services, too.
	manifest := `{apiVersion: v1, kind: Service, metadata: {name: NAME, namespace: ` + w.app + `}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30079}]}}`
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + w.app + `}}`)
	w.apply(strings.Replace(manifest, "NAME", "live", 1))
	w.putBackup("b", strings.Replace(manifest, "NAME", "other", 1), strings.Replace(manifest, "NAME", "live", 1))
	preserve := true
	summary, _ := w.restore("kept", velerov1.RestoreSpec{BackupName: "b", PreserveNodePorts: &preserve}, nil)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 1 {
		t.Errorf("ports kept: %+v, %+v", summary, w.results("kept"))
	}
	if summary, _ := w.restore("given", velerov1.RestoreSpec{BackupName: "b"}, nil); summary.Errors != 0 {
		t.Errorf("ports given anew: %+v, %+v", summary, w.results("given"))
	}
}

func TestTornArchiveWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: `+w.app+`}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: two, namespace: `+w.app+`}}`)
	const key = "backups/b/b.tar.gz"
	body, err := w.bucket.Get(t.Context(), key)
	w.must(err)
	whole, err := io.ReadAll(body)
	w.must(err)
	w.must(body.Close())
	for name, content := range map[string][]byte{"cut": whole[:len(whole)-20], "half": whole[:len(whole)/2], "no-gzip": []byte("hello"), "empty": nil} {
		w.must(w.bucket.Put(t.Context(), key, bytes.NewReader(content)))
		summary, after := w.restore(name, velerov1.RestoreSpec{BackupName: "b"}, nil)
		if summary.Outcome != report.Failed || after.Status.Phase != velerov1.RestorePhaseFailed || !strings.Contains(after.Status.FailureReason, "archive") {
			t.Errorf("%s: summary %+v", name, summary)
		}
		if w.get("namespaces", "", w.app) != nil {
			t.Errorf("%s: something was written", name)
		}
	}
}

func TestObjectsThatAreNotWhatTheirPathSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	item := func(resource, name, body string) archive.Item {
		return archive.Item{Resource: schema.ParseGroupResource(resource), Version: "v1", Preferred: true, Namespace: w.app, Name: name, Body: []byte(strings.ReplaceAll(body, "NS", w.app))}
	}
	w.putItems("b",
		item("configmaps", "fine", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"fine","namespace":"NS"}}`),
		item("configmaps", "broken", `{"apiVersion":"v1","kind":`),
		item("configmaps", "other-name", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"NS"}}`),
		item("configmaps", "other-namespace", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other-namespace","namespace":"kube-system"}}`),
		item("configmaps", "other-kind", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"other-kind","namespace":"NS"}}`),
		item("configmaps", "other-group", `{"apiVersion":"apps/v1","kind":"ConfigMap","metadata":{"name":"other-group","namespace":"NS"}}`),
		item("clusterroles.rbac.authorization.k8s.io", "scope", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"scope","namespace":"NS"}}`))
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if errs := w.results("r").Errors.Namespaces[w.app]; summary.Outcome != report.PartiallyFailed || len(errs) != 6 {
		t.Errorf("summary %+v, errors:\n%s", summary, strings.Join(errs, "\n"))
	}
	if w.get("configmaps", w.app, "fine") == nil {
		t.Error("the good one was not restored")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tc := range map[string]struct {
		spec velerov1.RestoreSpec
		want string
	}{
		"no-backup": {velerov1.RestoreSpec{BackupName: "nope"}, `Error retrieving backup: Backup "nope" doesn't exist in namespace "` + w.velero + `"; hint: kubectl velero backup get`},
		"no-source": {velerov1.RestoreSpec{}, "Either a backup or schedule must be specified as a source for the restore, but not both"},
		"schedule":  {velerov1.RestoreSpec{ScheduleName: "daily"}, `scheduleName: schedule "daily" has no backup that is Completed`},
	} {
		summary, after := w.restore(name, tc.spec, nil)
		if summary.Outcome != report.Usage || after.Status.Phase != velerov1.RestorePhaseFailedValidation {
			t.Errorf("%s: summary %+v", name, summary)
		}
		if diff := cmp.Diff([]string{tc.want}, after.Status.ValidationErrors); diff != "" {
			t.Errorf("%s: errors (-want +got):\n%s", name, diff)
		}
	}
	w.addBackup("not-in-bucket")
	summary, after := w.restore("no-marker", velerov1.RestoreSpec{BackupName: "not-in-bucket"}, nil)
	if summary.Outcome != report.Failed || !strings.Contains(after.Status.FailureReason, "was never completed") {
		t.Errorf("no marker: %+v", summary)
	}
}

func TestNewestBackupOfASchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, phase := range map[string]velerov1.BackupPhase{"daily-1": velerov1.BackupPhaseCompleted, "daily-2": velerov1.BackupPhaseCompleted, "daily-3": velerov1.BackupPhasePartiallyFailed} {
		w.putBackup(name, `{apiVersion: v1, kind: ConfigMap, metadata: {name: from, namespace: `+w.app+`}, data: {backup: `+name+`}}`)
		_, err := w.client.Backups(w.velero).Patch(t.Context(), name, "application/merge-patch+json", []byte(`{"metadata":{"labels":{"velero.io/schedule-name":"daily"}},"status":{"phase":"`+string(phase)+`","startTimestamp":"2026-01-0`+name[6:]+`T00:00:00Z"}}`), metav1.PatchOptions{})
		w.must(err)
	}
	summary, after := w.restore("r", velerov1.RestoreSpec{ScheduleName: "daily"}, nil)
	if summary.Outcome != report.Completed || after.Spec.BackupName != "daily-2" {
		t.Errorf("summary %+v, backup %q", summary, after.Spec.BackupName)
	}
	data, _, _ := unstructured.NestedStringMap(w.get("configmaps", w.app, "from").Object, "data")
	if data["backup"] != "daily-2" {
		t.Errorf("restored from %q", data["backup"])
	}
}

func TestEmptyBackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putItems("b")
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if diff := cmp.Diff([]string{"zero items to be restored"}, w.results("r").Warnings.Velero); diff != "" || summary.Outcome != report.Completed {
		t.Errorf("outcome %s, warnings (-want +got):\n%s", summary.Outcome, diff)
	}
	var operations []any
	w.output("r", catalog.RestoreItemOperations, &operations)
	if operations == nil {
		t.Error("item operations are null, not an empty list")
	}
}
