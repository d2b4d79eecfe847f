//go:build integration

package restore_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// config puts a ConfigMap into the world's Velero namespace. The action, if any,
// is the label that says what it is for.
func (w *world) config(name, action string, data map[string]string) {
	w.t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	if action != "" {
		cm.Labels = map[string]string{velerov1.PluginConfigLabel: "", action: "RestoreItemAction"}
	}
	_, err := w.kube.CoreV1().ConfigMaps(w.velero).Create(w.t.Context(), cm, metav1.CreateOptions{})
	w.must(err)
}

// modifiers is a spec with the rules, which are in the world's ConfigMap m.
func (w *world) modifiers(rules string) velerov1.RestoreSpec {
	w.t.Helper()
	w.config("m", "", map[string]string{"rules": w.in("version: v1\nresourceModifierRules:\n" + rules)[0]})
	return velerov1.RestoreSpec{ResourceModifier: &corev1.TypedLocalObjectReference{Kind: "ConfigMap", Name: "m"}}
}

// data is that of a ConfigMap which was restored.
func (w *world) data(namespace, name string) map[string]string {
	w.t.Helper()
	cm, err := w.kube.CoreV1().ConfigMaps(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	w.must(err)
	return cm.Data
}

// Rules of each kind change what their conditions hold for, and nothing else.
func TestResourceModifiers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spec := w.modifiers(`
- conditions: {groupResource: configmaps, resourceNameRegex: ^one$, namespaces: [APP]}
  patches:
  - {operation: test, path: /data/a, value: b}
  - {operation: replace, path: /data/a, value: "\"123\""}
  - {operation: add, path: /data/new, value: '"true"'}
- conditions: {groupResource: configmaps, matches: [{path: /data/a, value: b}], labelSelector: {matchLabels: {merge: "yes"}}}
  mergePatches:
  - patchData: '{"data": {"a": null, "merged": "1"}, "metadata": {"labels": {"merge": "done"}}}'
- conditions: {groupResource: deployments.apps}
  strategicPatches:
  - patchData: |
      spec: {template: {spec: {containers: [{name: log, image: "log:2"}]}}}
- conditions: {groupResource: '*.*'}
  mergePatches: [{patchData: '{metadata: {annotations: {modified: "yes"}}}'}]
`)
	spec.NamespaceMapping = map[string]string{w.app: w.app + "-to"}
	summary := w.restored(spec,
		`{apiVersion: v1, kind: Namespace, metadata: {name: APP}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP}, data: {a: b}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: two, namespace: APP, labels: {merge: "yes"}}, data: {a: b}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: APP, labels: {merge: "yes"}}, data: {a: c}}`,
		`{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: APP}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: web, image: "web:1"}, {name: log, image: "log:1"}]}}}}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: APP-role}, rules: []}`)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	target := w.app + "-to"
	for name, want := range map[string]map[string]string{
		"one": {"a": "123", "new": "true"}, "two": {"merged": "1"}, "other": {"a": "c"},
	} {
		if diff := cmp.Diff(want, w.data(target, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := w.get("configmaps", target, "two").GetLabels()["merge"]; got != "done" {
		t.Errorf("label %q", got)
	}
	deployment, err := w.kube.AppsV1().Deployments(target).Get(t.Context(), "d", metav1.GetOptions{})
	w.must(err)
	if diff := cmp.Diff([]string{"web:1", "log:2"}, imagesOf(deployment.Spec.Template.Spec)); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if got := w.get("clusterroles.rbac.authorization.k8s.io", "", w.app+"-role").GetAnnotations()["modified"]; got != "yes" {
		t.Errorf("cluster-scoped object: annotation %q", got)
	}
	if got := w.get("namespaces", "", target).GetAnnotations(); len(got) > 0 {
		t.Errorf("the namespace was changed: %v", got)
	}
}

func imagesOf(spec corev1.PodSpec) []string {
	var images []string
	for _, container := range append(spec.InitContainers, spec.Containers...) {
		images = append(images, container.Image)
	}
	return images
}

// A test that fails leaves the object as it was, and so does a path that isn't
// there in matches; neither is an error.
func TestModifiersThatDontApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	summary := w.restored(w.modifiers(`
- conditions: {groupResource: configmaps}
  patches: [{operation: replace, path: /data/a, value: x}, {operation: test, path: /data/no, value: y}]
- conditions: {groupResource: configmaps, matches: [{path: /data/no/no, value: y}]}
  patches: [{operation: replace, path: /data/a, value: x}]
`), `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP}, data: {a: b}}`)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	if diff := cmp.Diff(map[string]string{"a": "b"}, w.data(w.app, "one")); diff != "" {
		t.Error(diff)
	}
}

// A rule that can't be applied is an error; the object comes back without it.
func TestModifierThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	summary := w.restored(w.modifiers(`
- conditions: {groupResource: configmaps}
  patches: [{operation: add, path: /data/c, value: d}, {operation: remove, path: /data/no}]
- conditions: {groupResource: configmaps}
  patches: [{operation: replace, path: /data/a, value: x}]
- conditions: {groupResource: configmaps}
  mergePatches: [{patchData: '{metadata: {name: thief}}'}]
- conditions: {groupResource: deployments}
  mergePatches: [{patchData: '{}'}]
`), `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP}, data: {a: b}}`)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 2 || summary.Warnings != 1 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	w.said(w.errors("r"), "one", "resourceModifierRules[0] (line 4)", "/data/no", "hint: ")
	w.said(w.errors("r"), "one", "resourceModifierRules[2] (line 8)", "can't change metadata.name")
	w.said(w.warnings("r"), "deployments.apps")
	if diff := cmp.Diff(map[string]string{"a": "x"}, w.data(w.app, "one")); diff != "" {
		t.Error(diff)
	}
	if !w.actions("r")["v1/ConfigMap "+w.app+"/one(created)"] {
		t.Errorf("actions %v", w.actions("r"))
	}
}

// What is wrong with a ConfigMap is told before anything is restored.
func TestBadChangesAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		setUp func(w *world) velerov1.RestoreSpec
		want  []string
	}{
		{"no ConfigMap", func(*world) velerov1.RestoreSpec {
			return velerov1.RestoreSpec{ResourceModifier: &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "m"}}
		}, []string{"resourceModifier", `"m"`}},
		{"another kind", func(*world) velerov1.RestoreSpec {
			return velerov1.RestoreSpec{ResourceModifier: &corev1.TypedLocalObjectReference{Kind: "Secret", Name: "m"}}
		}, []string{"resourceModifier.kind", "Secret"}},
		{"bad rules", func(w *world) velerov1.RestoreSpec {
			return w.modifiers("- conditions: {}\n  mergePatches: [{patchData: '{}'}]\n")
		}, []string{`resourceModifier: ConfigMap "m", key "rules", line 3`, "groupResource"}},
		{"two mappings of storage classes", func(w *world) velerov1.RestoreSpec {
			w.config("a", velerov1.ChangeStorageClassLabel, map[string]string{"gp2": "gp3"})
			w.config("b", velerov1.ChangeStorageClassLabel, map[string]string{"gp2": "gp4"})
			return velerov1.RestoreSpec{}
		}, []string{`"a" and "b"`, velerov1.ChangeStorageClassLabel}},
		{"two mappings of images", func(w *world) velerov1.RestoreSpec {
			w.config("a", velerov1.ChangeImageNameLabel, map[string]string{"a": "x,y"})
			w.config("b", velerov1.ChangeImageNameLabel, nil)
			return velerov1.RestoreSpec{}
		}, []string{`"a" and "b"`, velerov1.ChangeImageNameLabel}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			spec := c.setUp(w)
			w.putBackup("b", w.in(`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP}}`)...)
			spec.BackupName = "b"
			summary, after := w.restore("r", spec, nil)
			if summary.Outcome != report.Usage || after.Status.Phase != velerov1.RestorePhaseFailedValidation {
				t.Errorf("summary %+v", summary)
			}
			w.said(after.Status.ValidationErrors, c.want...)
			if w.get("namespaces", "", w.app) != nil {
				t.Error("something was written")
			}
		})
	}
}

// The storage classes of claims, volumes and templates are changed to such as
// exist, be it only through the restore; an object whose new class doesn't exist
// is an error.
func TestStorageClassesAreChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fast := w.app + "-fast"
	w.config("classes", velerov1.ChangeStorageClassLabel, map[string]string{"gp2": fast, "slow": w.app + "-none"})
	claim := `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: NAME, namespace: APP}, spec: {storageClassName: CLASS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`
	claimOf := func(name, class string) string {
		return strings.NewReplacer("NAME", name, "CLASS", class).Replace(claim)
	}
	summary := w.restored(velerov1.RestoreSpec{IncludeClusterResources: ptrTo(true)},
		`{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: APP-fast}, provisioner: example.org/none}`,
		claimOf("mapped", "gp2"), claimOf("kept", "other"), claimOf("missing", "slow"),
		`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: APP}, spec: {serviceName: db, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}, volumeClaimTemplates: [{metadata: {name: data}, spec: {storageClassName: gp2, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}}`)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 1 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	w.said(w.errors("r"), "missing", w.app+"-none", "doesn't exist")
	for name, want := range map[string]string{"mapped": fast, "kept": "other"} {
		claim, err := w.kube.CoreV1().PersistentVolumeClaims(w.app).Get(t.Context(), name, metav1.GetOptions{})
		w.must(err)
		if got := *claim.Spec.StorageClassName; got != want {
			t.Errorf("claim %s has class %q, want %q", name, got, want)
		}
	}
	if w.get("persistentvolumeclaims", w.app, "missing") != nil {
		t.Error("the claim whose class is missing was restored")
	}
	set, err := w.kube.AppsV1().StatefulSets(w.app).Get(t.Context(), "db", metav1.GetOptions{})
	w.must(err)
	if got := *set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName; got != fast {
		t.Errorf("the template has class %q", got)
	}
}

func ptrTo[T any](value T) *T { return &value }

// Images are renamed before the resource modifiers see them.
func TestImagesAreRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config("images", velerov1.ChangeImageNameLabel, map[string]string{"a": "old.example.org,new.example.org:5000", "b": "example.org,x", "bad": "nothing"})
	spec := w.modifiers(`
- conditions: {groupResource: pods, matches: [{path: /spec/containers/0/image, value: "new.example.org:5000/web:1"}]}
  patches: [{operation: add, path: /metadata/annotations, value: '{"seen": "yes"}'}]
`)
	const pod = `{containers: [{name: c, image: "old.example.org/web:1"}], initContainers: [{name: i, image: "old.example.org/init:1"}]}`
	summary := w.restored(spec, theirAcc,
		`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: APP}, spec: `+pod+`}`,
		`{apiVersion: batch/v1, kind: CronJob, metadata: {name: j, namespace: APP}, spec: {schedule: "0 0 * * *", jobTemplate: {spec: {template: {spec: `+strings.Replace(pod, "{", "{restartPolicy: Never, ", 1)+`}}}}}`)
	if summary.Outcome != report.Completed || summary.Warnings != 1 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	w.said(w.warnings("r"), `key "bad"`, "passed over")
	want := []string{"new.example.org:5000/init:1", "new.example.org:5000/web:1"}
	restored, err := w.kube.CoreV1().Pods(w.app).Get(t.Context(), "p", metav1.GetOptions{})
	w.must(err)
	if diff := cmp.Diff(want, imagesOf(restored.Spec)); diff != "" || restored.Annotations["seen"] != "yes" {
		t.Errorf("annotations %v, images of the pod (-want +got):\n%s", restored.Annotations, diff)
	}
	job, err := w.kube.BatchV1().CronJobs(w.app).Get(t.Context(), "j", metav1.GetOptions{})
	w.must(err)
	if diff := cmp.Diff(want, imagesOf(job.Spec.JobTemplate.Spec.Template.Spec)); diff != "" {
		t.Errorf("images of the cron job (-want +got):\n%s", diff)
	}
}
