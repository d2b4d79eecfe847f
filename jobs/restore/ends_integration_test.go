//go:build integration

package restore_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
)

// hooked is a bucket that asks before each read.
type hooked struct {
	store.Bucket
	get func(key string) error
}

func (h hooked) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := h.get(key); err != nil {
		return nil, err
	}
	return h.Bucket.Get(ctx, key)
}

func withBucket(get func(key string) error) func(*restore.Config) {
	return func(c *restore.Config) {
		open := c.OpenStore
		c.OpenStore = func(ctx context.Context, bsl *velerov1.BackupStorageLocation) (store.Bucket, error) {
			bucket, err := open(ctx, bsl)
			return hooked{bucket, get}, err
		}
	}
}

// bind gives a Restore its rights, as the plugin does.
func (w *world) bind(name string) string {
	w.t.Helper()
	cr, err := w.client.Restores(w.velero).Get(w.t.Context(), name, metav1.GetOptions{})
	w.must(err)
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: launch.BindingName(cr.UID), Labels: map[string]string{velerov1.OperationUIDLabel: string(cr.UID)}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}
	_, err = w.kube.RbacV1().ClusterRoleBindings().Create(w.t.Context(), binding, metav1.CreateOptions{})
	w.must(err)
	return binding.Name
}

func (w *world) bound(binding string) bool {
	return w.get("clusterrolebindings.rbac.authorization.k8s.io", "", binding) != nil
}

func TestRightsEndWithTheRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b", `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: `+w.app+`}}`)
	for name, backup := range map[string]string{"completed": "b", "refused": "nope"} {
		w.addRestore(name, velerov1.RestoreSpec{BackupName: backup})
		binding := w.bind(name)
		if summary, _ := w.run(name, nil); w.bound(binding) {
			t.Errorf("%s: the binding is still there (%+v)", name, summary)
		}
	}
}

func TestStoreThatComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b", `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: `+w.app+`}}`)
	w.addRestore("r", velerov1.RestoreSpec{BackupName: "b"})
	binding := w.bind("r")
	down := withBucket(func(key string) error { return fmt.Errorf("get %s: %w", key, store.ErrUnavailable) })
	summary, after := w.run("r", func(c *restore.Config) { down(c); c.LastAttempt = false })
	if summary.Outcome != report.Temporary || after.Status.Phase != velerov1.RestorePhaseInProgress || !w.bound(binding) {
		t.Errorf("first attempt: %+v, phase %s", summary, after.Status.Phase)
	}
	summary, after = w.run("r", func(c *restore.Config) { c.Attempt = 2 })
	if summary.Outcome != report.Completed || after.Status.Phase != velerov1.RestorePhaseCompleted {
		t.Errorf("second attempt: %+v, phase %s", summary, after.Status.Phase)
	}
	summary, after = w.restore("last", velerov1.RestoreSpec{BackupName: "b"}, down)
	if summary.Outcome != report.Failed || after.Status.FailureReason == "" {
		t.Errorf("last attempt: %+v, %+v", summary, after.Status)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: `+w.app+`}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: `+w.app+`}, spec: {containers: [{name: c, image: x}]}}`)
	w.addRestore("r", velerov1.RestoreSpec{BackupName: "b"})
	ctx, cancel := context.WithCancel(t.Context())
	passes := 0
	summary, after := w.runWith(ctx, "r", withBucket(func(key string) error {
		if strings.HasSuffix(key, ".tar.gz") {
			if passes++; passes == 4 {
				cancel()
			}
		}
		return nil
	}))
	if summary.Outcome != report.Cancelled || after.Status.Phase != velerov1.RestorePhaseFailed || after.Status.FailureReason != "interrupted" {
		t.Errorf("summary %+v, status %+v", summary, after.Status)
	}
	if results := w.results("r"); len(results.Errors.Velero)+len(results.Errors.Namespaces) != 0 {
		t.Errorf("objects that weren't tried are blamed: %+v", results)
	}
	if w.log("r") == "" {
		t.Error("no log was stored")
	}
}

func TestVolumeThatLostItsClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := "pv-" + w.app
	manifest := `{apiVersion: v1, kind: PersistentVolume, metadata: {name: ` + name + `}, spec: {persistentVolumeReclaimPolicy: Retain, accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, volumeMode: Filesystem, storageClassName: m, hostPath: {path: /x, type: ""}, claimRef: {namespace: ` + w.app + `, name: data, uid: u}}}`
	w.apply(manifest)
	live, err := w.kube.CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{})
	w.must(err)
	live.Status.Phase = corev1.VolumeReleased
	_, err = w.kube.CoreV1().PersistentVolumes().UpdateStatus(t.Context(), live, metav1.UpdateOptions{})
	w.must(err)
	w.putBackup("b", manifest)

	_, _ = w.restore("none", velerov1.RestoreSpec{BackupName: "b"}, nil)
	warnings := w.results("none").Warnings.Cluster
	if len(warnings) != 1 || !strings.Contains(warnings[0], "phase Released") || !strings.Contains(warnings[0], "hint: kubectl patch pv "+name) {
		t.Errorf("warnings %q", warnings)
	}
	_, _ = w.restore("update", velerov1.RestoreSpec{BackupName: "b", ExistingResourcePolicy: velerov1.PolicyTypeUpdate}, nil)
	ref, _, _ := unstructured.NestedStringMap(w.get("persistentvolumes", "", name).Object, "spec", "claimRef")
	if diff := cmp.Diff(map[string]string{"namespace": w.app, "name": "data"}, ref); diff != "" {
		t.Errorf("claimRef after update (-want +got):\n%s", diff)
	}
}
