//go:build integration

package roundtrip

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// setDefault makes a storage class the cluster's only default one, or none for an empty
// name, and waits until claims get it. Other tests' claims name their classes.
func (w *world) setDefault(name string, classes ...string) {
	w.Helper()
	for _, class := range classes {
		mark := "false"
		if class == name {
			mark = "true"
		}
		_, err := w.kube.StorageV1().StorageClasses().Patch(w.Context(), class, mergePatch,
			[]byte(`{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"`+mark+`"}}}`), patchOptions)
		w.must(err)
	}
	probe := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "probe"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}
	w.eventually("claims get class "+name, func() bool {
		got, err := w.kube.CoreV1().PersistentVolumeClaims(w.app).Create(w.Context(), probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		w.must(err)
		return got.Spec.StorageClassName == nil && name == "" || got.Spec.StorageClassName != nil && *got.Spec.StorageClassName == name
	})
}

// A claim that names no class gets its data if the default class is of its snapshot's
// driver. Else it gets no volume, rather than an empty one.
func TestClaimWithoutAClass(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one")
	another := testenv.StartCSI(t, w.kubeconfig, testenv.CSIOptions{Provisioner: true})
	unstructured.RemoveNestedField(b.objects[3].Object, "spec", "storageClassName")
	w.write(b)
	into := func(name string) velerov1.RestoreSpec {
		return velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: w.app + "-" + name}}
	}
	for name, tc := range map[string]struct{ class, said string }{
		"foreign": {another.Driver, another.Driver},
		"none":    {"", "no default class"},
	} {
		w.setDefault(tc.class, c.Driver, another.Driver)
		items, _ := w.preview(into(name))
		if got := items["PersistentVolumeClaim one"]; got.Action != report.PreviewRefuse {
			t.Errorf("%s: preview %+v", name, got)
		}
		summary := w.restore(name, into(name), nil)
		_, errs := w.texts(name)
		if summary.Outcome != report.PartiallyFailed || len(errs) != 1 {
			t.Errorf("%s: summary %+v, errors %q", name, summary, errs)
		}
		w.said(errs, "claims/one", tc.said, "resource modifier", "rather than with an empty one")
		pvc := w.get(claims, w.app+"-"+name, "one")
		if phase, _, _ := unstructured.NestedString(pvc.Object, "status", "phase"); phase != "Pending" {
			t.Errorf("%s: the claim is %s", name, phase)
		}
	}
	w.setDefault(c.Driver, c.Driver, another.Driver)
	summary := w.restore("own", into("own"), nil)
	if warnings, errs := w.texts("own"); summary.Outcome != report.Completed || len(warnings) > 0 {
		t.Fatalf("summary %+v, warnings %q, errors %q", summary, warnings, errs)
	}
	w.has(c, w.app+"-own", "one", "one")

	// What a first attempt has kept without a volume stays so in the second.
	_, err := w.client.Restores(w.velero).Patch(t.Context(), "foreign", mergePatch, []byte(`{"status":{"phase":"InProgress","completionTimestamp":null}}`), patchOptions)
	w.must(err)
	summary = w.run(t.Context(), "foreign", func(cfg *restore.Config) { cfg.Attempt = 2 })
	_, errs := w.texts("foreign")
	if summary.Outcome != report.PartiallyFailed || len(errs) != 1 {
		t.Errorf("second attempt: summary %+v, errors %q", summary, errs)
	}
	w.said(errs, "claims/one", "an earlier attempt kept it without a volume")
	for _, call := range another.Calls(t) {
		if call.Method == "CreateVolume" {
			t.Errorf("the other driver made volume %s", call.Volume)
		}
	}
}

// A claim that is deleted while it waits is told and leaves nothing; one that somebody
// took the restore's labels from gets its data all the same.
func TestClaimsThatAreTouchedMeanwhile(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "bare", "deleted")
	w.write(b)
	c.KillDriver(t)
	target := w.app + "-copy"
	done := make(chan report.Summary, 1)
	go func() {
		defer close(done) // also when the restore ends the test
		done <- w.restore("touched", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}},
			func(cfg *restore.Config) { cfg.ProvisionTimeout = 3 * time.Minute })
	}()
	for _, name := range []string{"bare", "deleted"} {
		w.eventually("claim "+name+" is there", func() bool { return w.get(claims, target, name) != nil })
	}
	w.must(w.dynamic.Resource(claims).Namespace(target).Delete(t.Context(), "deleted", metav1.DeleteOptions{}))
	w.gone(claims, target, "deleted")
	_, err := w.dynamic.Resource(claims).Namespace(target).Patch(t.Context(), "bare", mergePatch,
		[]byte(`{"metadata":{"labels":{"`+velerov1.RestoreNameLabel+`":null}}}`), patchOptions)
	w.must(err)
	c.StartDriver(t)
	summary := <-done
	warnings, errs := w.texts("touched")
	if summary.Outcome != report.PartiallyFailed || len(warnings) > 0 || len(errs) != 1 {
		t.Errorf("summary %+v, warnings %q, errors %q", summary, warnings, errs)
	}
	w.said(errs, "claims/deleted", "deleted before it had a volume")
	w.has(c, target, "bare", "bare")
	w.eventually("objects of snapshots are gone", func() bool {
		return len(w.restored(snapshots, target, "touched"))+len(w.restored(contents, "", "touched")) == 0
	})
}

// A free volume of the driver that fits a claim isn't taken for one with its data.
func TestClaimThatFindsAFreeVolume(t *testing.T) {
	t.Parallel()
	w, c, b := backedUp(t, "one")
	w.write(b)
	name := w.app + "-free"
	free := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"capacity": map[string]any{"storage": "1Mi"}, "accessModes": []any{"ReadWriteOnce"}, "persistentVolumeReclaimPolicy": "Retain",
			"storageClassName": c.Driver, "csi": map[string]any{"driver": c.Driver, "volumeHandle": "somebody-elses"},
		},
	}}
	_, err := w.dynamic.Resource(volumes).Create(t.Context(), free, metav1.CreateOptions{})
	w.must(err)
	w.eventually("the volume is free", func() bool {
		phase, _, _ := unstructured.NestedString(w.get(volumes, "", name).Object, "status", "phase")
		return phase == "Available"
	})
	target := w.app + "-copy"
	summary := w.restore("r", velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: target}}, nil)
	_, errs := w.texts("r")
	if summary.Outcome != report.PartiallyFailed || len(errs) != 1 {
		t.Errorf("summary %+v, errors %q", summary, errs)
	}
	w.said(errs, "claims/one", name, "was there before")
}
