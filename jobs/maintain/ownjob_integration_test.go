//go:build integration

package maintain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/installed"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// TestTheAccountMayStartTheJobOfALocation does so with the rights of service
// account velero and no more.
func TestTheAccountMayStartTheJobOfALocation(t *testing.T) {
	t.Parallel()
	i := installed.New(t)
	i.Env.JobName = "velero-maintenance-1"
	west := &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "west"},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: "aws", ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "b"},
			Credential: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "west"}, Key: "cloud"},
		},
	}
	if _, err := i.Velero.BackupStorageLocations(i.Namespace).Create(t.Context(), west, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := maintained(t, i, time.Hour); got.Outcome != report.PartiallyFailed || !strings.Contains(got.Reason, `names Secret "west", which doesn't exist`) {
		t.Errorf("without the Secret: %+v", got)
	}
	_, err := i.Kube.CoreV1().Secrets(i.Namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "west"}, Data: map[string][]byte{"cloud": []byte("x")},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := maintained(t, i, time.Hour); got.Outcome != report.Completed {
			t.Errorf("%+v", got)
		}
	}
	list, err := i.Kube.BatchV1().Jobs(i.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: velerov1.NameLabel + "=west"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%d Jobs, %v", len(list.Items), err)
	}
	pod := list.Items[0].Spec.Template.Spec
	want := []string{"maintain", "--location", "west", "--start-timeout", "1h0m0s"}
	if diff := cmp.Diff(want, pod.Containers[0].Args); diff != "" {
		t.Error(diff)
	}
	hash := ""
	for _, env := range pod.Containers[0].Env {
		if env.Name == launch.LocationMountsVariable {
			hash = env.Value
		}
	}
	if hash == "" || hash != launch.MountsOf(west).Hash() {
		t.Errorf("mounts %q", hash)
	}
}
