//go:build integration

package roundtrip

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// putFixture puts what Velero 1.18.0 wrote of a StatefulSet with two volumes into the
// bucket.
func (w *world) putFixture(name string) {
	w.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", name, "*"))
	w.must(err)
	for _, path := range files {
		body, err := os.ReadFile(path)
		w.must(err)
		w.must(w.bucket.Put(w.Context(), "backups/"+name+"/"+filepath.Base(path), bytes.NewReader(body)))
	}
	w.addBackup(name)
}

// veleroDriver is the driver of the fixtures, with the snapshots that Velero left in
// it; its storage class has the name that it had.
func (w *world) veleroDriver() *testenv.CSI {
	w.Helper()
	data := w.TempDir()
	for claim, handle := range map[string]string{
		"data-records-0": "snapshot-6dda99d9-ef84-4fde-908a-72e87fffc0aa", "data-records-1": "snapshot-fbed3769-ce98-4a5c-8f02-37003d05fcc8",
	} {
		folder := filepath.Join(data, "snapshots", handle)
		w.must(os.MkdirAll(folder, 0o755))
		w.must(os.WriteFile(filepath.Join(folder, "file"), []byte(claim), 0o600))
		record, err := json.Marshal(map[string]any{"id": handle, "size": 64 << 20, "created": time.Now(), "source": "vol-" + claim})
		w.must(err)
		w.must(os.WriteFile(folder+".json", record, 0o600))
	}
	const driver = "probe.csi.example.com"
	c := testenv.StartCSI(w.T, w.kubeconfig, testenv.CSIOptions{Provisioner: true, Storage: &testenv.CSI{Driver: driver, Data: data}})
	_, err := w.kube.StorageV1().StorageClasses().Create(w.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "csi-dir"}, Provisioner: driver,
	}, metav1.CreateOptions{})
	w.must(err)
	w.Cleanup(func() {
		w.must(w.kube.StorageV1().StorageClasses().Delete(context.WithoutCancel(w.Context()), "csi-dir", metav1.DeleteOptions{}))
	})
	return c
}

// The volumes that Velero 1.18.0 saved come back by the same rules as ours.
func TestFixturesOfVelero(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testenv.Kubeconfig(t), testenv.S3(t))
	c := w.veleroDriver()
	w.putFixture("vols-csi")
	for restore, namespace := range map[string]string{"same": "vols", "mapped": "vols-copy"} {
		summary := w.restore(restore, velerov1.RestoreSpec{BackupName: "vols-csi", NamespaceMapping: map[string]string{"vols": namespace}}, nil)
		if warnings, errs := w.texts(restore); summary.Outcome != report.Completed || len(warnings) > 0 {
			t.Fatalf("%s: summary %+v, warnings %q, errors %q", restore, summary, warnings, errs)
		}
		for _, claim := range []string{"data-records-0", "data-records-1"} {
			w.has(c, namespace, claim, claim)
		}
	}
	t.Run("file-system backup", func(t *testing.T) {
		w := newWorld(t, w.kubeconfig, testenv.S3(t))
		w.putFixture("vols-fs")
		summary := w.restore("files", velerov1.RestoreSpec{BackupName: "vols-fs", NamespaceMapping: map[string]string{"vols": "vols-files"}}, nil)
		_, errs := w.texts("files")
		if summary.Outcome != report.PartiallyFailed || len(errs) != 2 {
			t.Errorf("summary %+v, errors %q", summary, errs)
		}
		for _, volume := range []string{"pvc-17fa96d1-2438-442f-895f-242316c65000", "pvc-f6611723-7fa0-4ba1-ac00-72e5df4e25b9"} {
			w.said(errs, volume, "restores no PodVolumeBackup", "empty volume")
		}
	})
}
