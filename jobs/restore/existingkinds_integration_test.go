//go:build integration

package restore_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
)

// leftAlone are objects of the application that a restore doesn't compare.
func leftAlone(w *world, kind, name string) bool {
	return kind == "ServiceAccount" || // merged: what lives wins
		name == w.app+"-dynamic" // a volume whose data isn't in the backup
}

// Over an application that is there nothing happens; what has drifted since the
// backup is told, or goes back to what it was, for each kind.
func TestExistingApplication(t *testing.T) {
	t.Parallel()
	for _, policy := range []velerov1.PolicyType{velerov1.PolicyTypeNone, velerov1.PolicyTypeUpdate, velerov1.PolicyTypeRecreate} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			manifests := w.deployApplication()
			w.backUp("b", velerov1.BackupSpec{IncludedNamespaces: []string{w.app}, SnapshotVolumes: new(bool)})
			summary, _ := w.restore("unchanged", velerov1.RestoreSpec{BackupName: "b", ExistingResourcePolicy: policy}, nil)
			if summary.Outcome != report.Completed || summary.Warnings != 1 { // the dynamic volume's data
				t.Fatalf("over what is there: %+v, %+v", summary, w.results("unchanged"))
			}
			drift := []byte(`{"metadata":{"annotations":{"drift":"yes"}}}`)
			for _, manifest := range manifests {
				u := object(manifest)
				_, err := w.dynamic.Resource(resourceOf(u)).Namespace(u.GetNamespace()).Patch(t.Context(), u.GetName(), types.MergePatchType, drift, metav1.PatchOptions{})
				w.must(err)
			}
			summary, _ = w.restore("drifted", velerov1.RestoreSpec{BackupName: "b", ExistingResourcePolicy: policy}, func(c *restore.Config) { c.ResourceTimeout = time.Second })
			for _, text := range w.errors("drifted") {
				// What has finalizers, of others or of the garbage collector, stays while
				// there is nobody to remove them.
				if policy != velerov1.PolicyTypeRecreate || !strings.Contains(text, "object is being deleted") {
					t.Errorf("error: %s", text)
				}
			}
			if policy == velerov1.PolicyTypeRecreate {
				return
			}
			warned := strings.Join(w.warnings("drifted"), "\n")
			for _, manifest := range manifests {
				u := object(manifest)
				if leftAlone(w, u.GetKind(), u.GetName()) {
					continue
				}
				live, err := w.dynamic.Resource(resourceOf(u)).Namespace(u.GetNamespace()).Get(t.Context(), u.GetName(), metav1.GetOptions{})
				w.must(err)
				if got, want := live.GetAnnotations()["drift"] == "", policy == velerov1.PolicyTypeUpdate; got != want {
					t.Errorf("%s %s went back to what it was: %t, want %t", u.GetKind(), u.GetName(), got, want)
				}
				told := strings.Contains(warned, "could not restore, "+u.GetKind()+` "`+u.GetName()+`" already exists`)
				if want := policy == velerov1.PolicyTypeNone; told != want {
					t.Errorf("%s %s was told to differ: %t, want %t", u.GetKind(), u.GetName(), told, want)
				}
			}
			if summary.Items < len(manifests) {
				t.Errorf("summary %+v", summary)
			}
		})
	}
}
