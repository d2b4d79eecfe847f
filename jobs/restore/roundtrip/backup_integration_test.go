//go:build integration

package roundtrip

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// backUp makes backup b of the application with our own engine.
func (w *world) backUp() {
	w.Helper()
	_, err := w.client.Backups(w.velero).Create(w.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: w.velero},
		Spec:       velerov1.BackupSpec{StorageLocation: "default", IncludedNamespaces: []string{w.app}},
		Status:     velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}, metav1.CreateOptions{})
	w.must(err)
	ctx, cancel, env, err := run.Start(w.Context(), run.Options{Namespace: w.velero, Kubeconfig: w.kubeconfig, CredentialsFile: w.location.CredentialsFile}, "backup", "b")
	w.must(err)
	defer cancel()
	summary, err := backup.Run(ctx, backup.Config{Env: env, Name: "b"})
	w.must(err)
	if summary.Outcome != report.Completed {
		w.Fatalf("backup: %+v", summary)
	}
}

// bound waits until a claim and its volume are bound.
func (w *world) bound(claim string) {
	w.Helper()
	w.eventually("claim "+claim+" is bound", func() bool {
		pvc := w.get(claims, w.app, claim)
		name, _, _ := unstructured.NestedString(pvc.Object, "spec", "volumeName")
		pv := w.get(volumes, "", name)
		if pv == nil {
			return false
		}
		claimPhase, _, _ := unstructured.NestedString(pvc.Object, "status", "phase")
		phase, _, _ := unstructured.NestedString(pv.Object, "status", "phase")
		return claimPhase == "Bound" && phase == "Bound"
	})
}

// Claims that were snapshotted by themselves and in a group, through both engines.
func TestOwnBackup(t *testing.T) {
	t.Parallel()
	kubeconfig := testenv.Kubeconfig(t)
	w := newWorld(t, kubeconfig, testenv.S3(t))
	c := testenv.StartCSI(t, kubeconfig, testenv.CSIOptions{Provisioner: true})
	names := map[string][]string{"alone": nil, "left": {velerov1.VolumeGroupLabel, "db"}, "right": {velerov1.VolumeGroupLabel, "db"}}
	for name, labels := range names {
		v := c.Volume(t, w.app, name, "1Mi", labels...)
		c.Write(t, v.Handle, "file", name)
	}
	for name := range names {
		w.bound(name) // the controllers look at it first
	}
	w.backUp()
	for name := range names {
		w.drop(name)
	}
	for restore, namespace := range map[string]string{"same": w.app, "mapped": w.app + "-copy", "filtered": w.app + "-claims"} {
		spec := velerov1.RestoreSpec{NamespaceMapping: map[string]string{w.app: namespace}}
		if restore == "filtered" {
			spec.IncludedResources = []string{"persistentvolumeclaims"}
		}
		summary := w.restore(restore, spec, nil)
		if warnings, errs := w.texts(restore); summary.Outcome != report.Completed || len(warnings) > 0 {
			t.Fatalf("%s: summary %+v, warnings %q, errors %q", restore, summary, warnings, errs)
		}
		for name := range names {
			w.has(c, namespace, name, name)
		}
		groups := schema.GroupVersionResource{Group: "groupsnapshot.storage.k8s.io", Version: "v1beta2", Resource: "volumegroupsnapshotcontents"}
		w.eventually("objects of snapshots are gone", func() bool {
			return len(w.restored(snapshots, namespace, restore))+len(w.restored(contents, "", restore))+len(w.restored(groups, "", restore)) == 0
		})
	}
	if left := c.Snapshots(t); len(left) != 3 {
		t.Errorf("the driver has snapshots %q, want those of the backup", left)
	}
}
