//go:build integration

package restore_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// in replaces APP by the world's namespace.
func (w *world) in(manifests ...string) []string {
	for i := range manifests {
		manifests[i] = strings.ReplaceAll(manifests[i], "APP", w.app)
	}
	return manifests
}

// live creates the objects in the cluster, the namespace first.
func (w *world) live(manifests ...string) {
	w.t.Helper()
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + w.app + `, labels: {live: "yes"}}}`)
	for _, manifest := range w.in(manifests...) {
		w.apply(manifest)
	}
}

// restored is restore of a backup b with the objects.
func (w *world) restored(spec velerov1.RestoreSpec, manifests ...string) report.Summary {
	w.t.Helper()
	w.putBackup("b", w.in(manifests...)...)
	spec.BackupName = "b"
	summary, _ := w.restore("r", spec, nil)
	return summary
}

// A restore into a namespace that exists leaves its labels alone.
func TestExistingNamespaceKeepsItsLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(`{apiVersion: v1, kind: ConfigMap, metadata: {name: same, namespace: APP}, data: {a: b}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: APP}, data: {a: live}}`)
	summary := w.restored(velerov1.RestoreSpec{},
		`{apiVersion: v1, kind: Namespace, metadata: {name: APP, labels: {live: "no", archived: "yes"}, annotations: {archived: "yes"}}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: same, namespace: APP}, data: {a: b}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: APP}, data: {a: archived}}`)
	if summary.Outcome != report.Completed || summary.Warnings != 1 {
		t.Errorf("summary %+v", summary)
	}
	w.said(w.warnings("r"), "other", "already exists", "different")
	namespace := w.get("namespaces", "", w.app)
	if diff := cmp.Diff(map[string]string{"live": "yes", "kubernetes.io/metadata.name": w.app}, namespace.GetLabels()); diff != "" || len(namespace.GetAnnotations()) > 0 {
		t.Errorf("annotations %v, labels (-want +got):\n%s", namespace.GetAnnotations(), diff)
	}
	for _, name := range []string{"same", "other"} {
		if labels := w.get("configmaps", w.app, name).GetLabels(); len(labels) > 0 {
			t.Errorf("%s got labels %v", name, labels)
		}
	}
	data, _, _ := unstructured.NestedString(w.get("configmaps", w.app, "other").Object, "data", "a")
	if data != "live" {
		t.Errorf("the existing object was changed: %q", data)
	}
}

const (
	livePod  = `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: APP}, spec: {serviceAccountName: default, automountServiceAccountToken: false, containers: [{name: c, image: x}]}}`
	theirAcc = `{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: APP}}`
)

// With the policy update an object becomes what the backup holds; of an equal one
// only the two labels change.
func TestUpdateOfExistingObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(theirAcc, livePod, `{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: APP, labels: {live: "yes"}}, stringData: {a: live, more: x}}`)
	before := w.get("pods", w.app, "p")
	pod := before.DeepCopy()
	unstructured.RemoveNestedField(pod.Object, "metadata", "managedFields")
	body, err := pod.MarshalJSON()
	w.must(err)
	summary := w.restored(velerov1.RestoreSpec{ExistingResourcePolicy: velerov1.PolicyTypeUpdate}, string(body),
		`{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: APP, labels: {archived: "yes"}}, type: Opaque, data: {a: YXJjaGl2ZWQ=}}`)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	secret := w.get("secrets", w.app, "s")
	if diff := cmp.Diff(map[string]any{"a": "YXJjaGl2ZWQ="}, secret.Object["data"]); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	want := map[string]string{"archived": "yes", velerov1.BackupNameLabel: "b", velerov1.RestoreNameLabel: "r"}
	if diff := cmp.Diff(want, secret.GetLabels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	after := w.get("pods", w.app, "p")
	delete(want, "archived")
	if diff := cmp.Diff(want, after.GetLabels()); diff != "" {
		t.Errorf("labels of the pod (-want +got):\n%s", diff)
	}
	if after.GetUID() != before.GetUID() || !cmp.Equal(before.Object["spec"], after.Object["spec"]) {
		t.Error("the pod is another one")
	}
}

// An update that isn't possible is an error, not a warning.
func TestUpdateThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(`{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: APP}, immutable: true, data: {a: live}}`)
	summary := w.restored(velerov1.RestoreSpec{ExistingResourcePolicy: velerov1.PolicyTypeUpdate},
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: APP}, immutable: true, data: {a: archived}}`)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 1 {
		t.Errorf("summary %+v", summary)
	}
	w.said(w.errors("r"), "fixed", "immutable")
	if !w.actions("r")["v1/ConfigMap "+w.app+"/fixed(failed)"] {
		t.Errorf("actions %v", w.actions("r"))
	}
}

// With the policy recreate what can't be changed is made anew, and what is equal
// is left alone.
func TestRecreateOfExistingObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(`{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: APP}, immutable: true, data: {a: live}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: same, namespace: APP}, data: {a: b}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: APP}, spec: {clusterIP: None, ports: [{port: 80}]}}`)
	same, fixed := w.get("configmaps", w.app, "same").GetUID(), w.get("configmaps", w.app, "fixed").GetUID()
	summary := w.restored(velerov1.RestoreSpec{ExistingResourcePolicy: velerov1.PolicyTypeRecreate},
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: APP}, immutable: true, data: {a: archived}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: same, namespace: APP}, data: {a: b}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: APP}, spec: {clusterIP: 10.0.0.9, type: ClusterIP, ports: [{port: 80, protocol: TCP, targetPort: 80}]}}`)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	recreated := w.get("configmaps", w.app, "fixed")
	if data, _, _ := unstructured.NestedString(recreated.Object, "data", "a"); data != "archived" || recreated.GetUID() == fixed {
		t.Errorf("data %q, the UID has changed: %t", data, recreated.GetUID() != fixed)
	}
	if w.get("configmaps", w.app, "same").GetUID() != same {
		t.Error("the equal one was made anew, too")
	}
	if ip, _, _ := unstructured.NestedString(w.get("services", w.app, "web").Object, "spec", "clusterIP"); ip == "None" {
		t.Error("the headless service is still there")
	}
}

// What recreate deletes is not lost when the new one is refused.
func TestRecreateThatIsRefusedLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: APP}, spec: {ports: [{port: 80}]}}`)
	summary := w.restored(velerov1.RestoreSpec{ExistingResourcePolicy: velerov1.PolicyTypeRecreate},
		`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: APP}, spec: {type: Nonsense, ports: [{port: 80}]}}`)
	if summary.Outcome != report.PartiallyFailed {
		t.Errorf("summary %+v", summary)
	}
	w.said(w.errors("r"), "web", "Nonsense")
	if w.get("services", w.app, "web") == nil {
		t.Error("the existing service is gone, and nothing came in its place")
	}
}

// A service account is merged whatever the policy: what lives wins.
func TestServiceAccountIsMerged(t *testing.T) {
	t.Parallel()
	for _, policy := range []velerov1.PolicyType{"", velerov1.PolicyTypeNone, velerov1.PolicyTypeUpdate} {
		t.Run("policy "+string(policy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.live(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: sa, namespace: APP, labels: {a: live}, annotations: {x: live}}
secrets: [{name: mine}]
imagePullSecrets: [{name: pull}]`)
			summary := w.restored(velerov1.RestoreSpec{ExistingResourcePolicy: policy}, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: sa, namespace: APP, labels: {a: archived, b: archived}, annotations: {x: archived, z: archived}}
secrets: [{name: mine}, {name: theirs}]
imagePullSecrets: [{name: more}]`)
			if summary.Outcome != report.Completed || summary.Warnings != 0 {
				t.Errorf("summary %+v, results %+v", summary, w.results("r"))
			}
			sa := w.get("serviceaccounts", w.app, "sa")
			labels := sa.GetLabels()
			delete(labels, velerov1.BackupNameLabel)
			delete(labels, velerov1.RestoreNameLabel)
			got := map[string]any{
				"labels": labels, "annotations": sa.GetAnnotations(), "secrets": sa.Object["secrets"], "imagePullSecrets": sa.Object["imagePullSecrets"],
			}
			want := map[string]any{
				"labels": map[string]string{"a": "live", "b": "archived"}, "annotations": map[string]string{"x": "live", "z": "archived"},
				"secrets":          []any{map[string]any{"name": "mine"}, map[string]any{"name": "theirs"}},
				"imagePullSecrets": []any{map[string]any{"name": "pull"}, map[string]any{"name": "more"}},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("account (-want +got):\n%s", diff)
			}
		})
	}
}

// What has ended stays ended, and what the kubelet makes by itself is its own.
func TestFinishedAndMirrorPodsAreNotRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := func(name, more, status string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: APP` + more + `}, spec: {containers: [{name: c, image: x}], serviceAccountName: default}, status: {` + status + `}}`
	}
	job := func(name, status string) string {
		return `{apiVersion: batch/v1, kind: Job, metadata: {name: ` + name + `, namespace: APP}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}, status: {` + status + `}}`
	}
	summary := w.restored(velerov1.RestoreSpec{}, theirAcc,
		pod("succeeded", "", "phase: Succeeded"), pod("failed", "", "phase: Failed"),
		pod("mirror", `, annotations: {kubernetes.io/config.mirror: x}`, "phase: Running"),
		pod("running", "", "phase: Running"), pod("pending", "", "phase: Pending"),
		job("done", `completionTime: "2026-01-01T00:00:00Z"`), job("runs", "active: 1"))
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	for name, want := range map[string]bool{"succeeded": false, "failed": false, "mirror": false, "running": true, "pending": true} {
		if got := w.get("pods", w.app, name) != nil; got != want {
			t.Errorf("pod %q is there: %t, want %t", name, got, want)
		}
	}
	for name, want := range map[string]bool{"done": false, "runs": true} {
		if got := w.get("jobs.batch", w.app, name) != nil; got != want {
			t.Errorf("Job %q is there: %t, want %t", name, got, want)
		}
	}
}

// What belonged to the old life of an object stays there.
func TestOldLifeOfAnObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	summary := w.restored(velerov1.RestoreSpec{}, `
apiVersion: v1
kind: ConfigMap
metadata:
  name: x-abcde
  generateName: x-
  namespace: APP
  uid: 11111111-1111-1111-1111-111111111111
  resourceVersion: "7"
  generation: 9
  creationTimestamp: "2020-01-01T00:00:00Z"
  finalizers: [example.com/hold]
  labels: {app: web}
  annotations: {note: kept}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: 22222222-2222-2222-2222-222222222222}]
`, `{apiVersion: v1, kind: Service, metadata: {name: lb, namespace: APP}, spec: {type: LoadBalancer, ports: [{port: 80}]}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}`)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Fatalf("summary %+v, results %+v", summary, w.results("r"))
	}
	live := w.get("configmaps", w.app, "x-abcde")
	if len(live.GetOwnerReferences()) > 0 || live.GetGenerateName() != "" || live.GetCreationTimestamp().Year() == 2020 || strings.HasPrefix(string(live.GetUID()), "1111") {
		t.Errorf("metadata %v", live.Object["metadata"])
	}
	if live.GetAnnotations()["note"] != "kept" || live.GetLabels()["app"] != "web" || len(live.GetFinalizers()) != 1 {
		t.Errorf("metadata %v", live.Object["metadata"])
	}
	if ingress, found, _ := unstructured.NestedSlice(w.get("services", w.app, "lb").Object, "status", "loadBalancer", "ingress"); found {
		t.Errorf("status came back unasked: %v", ingress)
	}
}

// Labels hold names in the form that Velero gives to those of more than 63
// characters.
func TestLongNamesInLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("long-name-", 8)
	backup, name := "b-"+long+"b", "r-"+long+"r"
	w.putBackup(backup, w.in(`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP}}`)...)
	summary, _ := w.restore(name, velerov1.RestoreSpec{BackupName: backup}, nil)
	if summary.Outcome != report.Completed {
		t.Fatalf("summary %+v", summary)
	}
	labels := w.get("configmaps", w.app, "one").GetLabels()
	for key, full := range map[string]string{velerov1.BackupNameLabel: backup, velerov1.RestoreNameLabel: name} {
		if got := labels[key]; len(got) != 63 || got[:57] != full[:57] || got != velerov1.ValidName(full) {
			t.Errorf("label %s is %q", key, got)
		}
	}
}

// Status comes back where the spec or the object's own annotation asks for it;
// the annotation wins.
func TestRestoreOfStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	service := func(name, annotation string) string {
		return `{apiVersion: v1, kind: Service, metadata: {name: ` + name + `, namespace: APP, annotations: {` + annotation + `}}, spec: {type: LoadBalancer, ports: [{port: 80}]}, status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}}`
	}
	const key = "velero.io/restore-status: "
	w.putBackup("b", w.in(service("plain", ""), service("unwanted", key+`" FALSE "`), service("odd", key+`"maybe"`))...)
	w.putBackup("c", w.in(service("wanted", key+`"True"`), service("unasked", ""))...)
	status := &velerov1.RestoreStatusSpec{IncludedResources: []string{"services"}}
	if summary, _ := w.restore("all", velerov1.RestoreSpec{BackupName: "b", RestoreStatus: status}, nil); summary.Outcome != report.Completed {
		t.Errorf("summary %+v, results %+v", summary, w.results("all"))
	}
	if summary, _ := w.restore("some", velerov1.RestoreSpec{BackupName: "c"}, nil); summary.Outcome != report.Completed {
		t.Errorf("summary %+v, results %+v", summary, w.results("some"))
	}
	for name, want := range map[string]bool{"plain": true, "unwanted": false, "odd": true, "wanted": true, "unasked": false} {
		if _, got, _ := unstructured.NestedSlice(w.get("services", w.app, name).Object, "status", "loadBalancer", "ingress"); got != want {
			t.Errorf("service %q has its status: %t, want %t", name, got, want)
		}
	}
	w.said(w.warnings("all"), "odd", "maybe")
}

// Our own Jobs don't come back, and a Schedule comes back without running.
func TestNeverOurselves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ours := `labels: {component: velero, app.kubernetes.io/managed-by: kubectl-velero, kubectl-velero.io/operation: backup, kubectl-velero.io/name: x}`
	manifests := []string{
		`{apiVersion: batch/v1, kind: Job, metadata: {name: backup-x, namespace: VELERO, ` + ours + `}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}`,
		`{apiVersion: batch/v1, kind: CronJob, metadata: {name: velero-maintenance, namespace: VELERO, labels: {component: velero}}, spec: {schedule: "@hourly", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}}}`,
		`{apiVersion: velero.io/v1, kind: Schedule, metadata: {name: daily, namespace: VELERO}, spec: {schedule: "0 3 * * *", template: {}}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: theirs, namespace: APP}}`,
	}
	for i := range manifests {
		manifests[i] = strings.ReplaceAll(manifests[i], "VELERO", w.velero)
	}
	summary := w.restored(velerov1.RestoreSpec{}, manifests...)
	if summary.Outcome != report.Completed {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	if w.get("jobs.batch", w.velero, "backup-x") != nil || w.get("cronjobs.batch", w.velero, "velero-maintenance") != nil {
		t.Error("a Job of ours was restored")
	}
	schedule, err := w.client.Schedules(w.velero).Get(t.Context(), "daily", metav1.GetOptions{})
	w.must(err)
	if !schedule.Spec.Paused {
		t.Error("the Schedule would run")
	}
	w.said(w.warnings("r"), "daily", "paused", "hint: kubectl")
	if log := w.log("r"); !strings.Contains(log, "velero-maintenance") {
		t.Error("the log doesn't say what was left out")
	}
}
