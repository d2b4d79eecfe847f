package maintain_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-velero/kubectl-velero/jobs/maintain"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// ownWorld is a world whose location has credentials of its own, seen from the
// Job that does all chores; only the location's own Job can open it.
func ownWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.location(func(l *velerov1.BackupStorageLocation) {
		l.Spec.Provider = "aws"
		l.Spec.Credential = &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "west"}, Key: "cloud"}
	})
	w.api.Add("/api/v1/namespaces/velero/podtemplates", &corev1.PodTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: launch.TemplateName},
		Template:   corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: launch.ContainerName, Image: "example.com/executor:1"}}}},
	})
	w.env.JobName = "velero-maintenance-1"
	w.env.OpenStore = func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) {
		t.Error("a location that this Job can't open was opened")
		return w.bucket, nil
	}
	return w
}

func (w *world) addSecret(key string) {
	w.api.Add("/api/v1/namespaces/velero/secrets", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "west"}, Data: map[string][]byte{key: []byte("x")}})
}

func TestALocationWithCredentialsOfItsOwnGetsItsJob(t *testing.T) {
	t.Parallel()
	w := ownWorld(t)
	w.addSecret("cloud")
	// Both need the bucket, so both are left to the Job.
	committing := backup(velerov1.CommittingAnnotation, "true")
	w.api.Add(veleroNamespace+"backups", committing)
	w.api.Add(veleroNamespace+"backups", expired(func(b *velerov1.Backup) { b.Name = "old" }))
	if got := w.run(t); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("summary = %+v", got)
	}
	list := w.api.List(jobs)
	if len(list) != 1 {
		t.Fatalf("%d Jobs", len(list))
	}
	containers, _, _ := unstructured.NestedSlice(list[0].Object, "spec", "template", "spec", "containers")
	args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
	if diff := cmp.Diff([]string{"maintain", "--location", "default"}, args); diff != "" {
		t.Error(diff)
	}
	ttl, _, _ := unstructured.NestedFieldNoCopy(list[0].Object, "spec", "ttlSecondsAfterFinished")
	owners := list[0].GetOwnerReferences()
	if ttl == nil || len(owners) != 1 || owners[0].Kind != "BackupStorageLocation" || list[0].GetLabels()[velerov1.OperationLabel] != velerov1.OperationMaintain {
		t.Errorf("Job = %v", list[0].Object)
	}
	if w.status("backups/shop").Phase != "InProgress" || w.status("backups/old").Phase != "Completed" {
		t.Error("the Backups were touched")
	}

	// No other while it runs; another one after it ended.
	w.run(t)
	if n := len(w.api.List(jobs)); n != 1 {
		t.Errorf("%d Jobs after a second run", n)
	}
	w.api.Add(jobs, job(velerov1.OperationMaintain, "x", jobFailed, func(j *batchv1.Job) {
		j.Name = list[0].GetName()
		j.Labels = list[0].GetLabels()
	}))
	w.run(t)
	if n := len(w.api.List(jobs)); n != 2 {
		t.Errorf("%d Jobs after the first had ended", n)
	}
}

func TestNoJobForALocationThatCanNotBeMounted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		setup func(*world)
		want  string
	}{
		"no Secret": {setup: func(*world) {}, want: `storage location "default": its credential names Secret "west", which doesn't exist; hint: `},
		"no key":    {setup: func(w *world) { w.addSecret("other") }, want: `storage location "default": its credential names key "cloud" of Secret "west", which has no such key; hint: `},
		"no claim": {
			setup: func(w *world) {
				w.location(func(l *velerov1.BackupStorageLocation) {
					l.Spec.Provider, l.Spec.Config = "filesystem", map[string]string{"persistentVolumeClaim": "backups"}
				})
			},
			want: `storage location "default": `,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ownWorld(t)
			test.setup(w)
			w.api.Add(veleroNamespace+"backups", expired())
			got := w.run(t)
			if got.Outcome != report.PartiallyFailed || !strings.HasPrefix(strings.Join(got.TopCauses, ""), test.want) {
				t.Errorf("summary = %+v, want %q", got, test.want)
			}
			if n := len(w.api.List(jobs)); n > 0 {
				t.Errorf("%d Jobs", n)
			}
			phase, _, _ := unstructured.NestedString(w.api.Get(locationPath).Object, "status", "phase")
			if phase != "Unavailable" || w.expiry().Label != "BSLCannotGet" {
				t.Errorf("phase %q, %+v", phase, w.expiry())
			}
		})
	}
}

func TestTheJobOfALocationDoesOnlyItsChores(t *testing.T) {
	t.Parallel()
	w := ownWorld(t)
	opened := 0
	w.env.OpenStore = func(_ context.Context, location *velerov1.BackupStorageLocation) (store.Bucket, error) {
		opened++
		if location.Name != "default" {
			t.Errorf("%q was opened", location.Name)
		}
		return w.bucket, nil
	}
	w.api.Add(veleroNamespace+"backupstoragelocations", &velerov1.BackupStorageLocation{ObjectMeta: metav1.ObjectMeta{Name: "other"}})
	w.put(t, markerKey, marker("uid-of-shop", "Completed"))
	w.api.Add(veleroNamespace+"backups", backup(velerov1.CommittingAnnotation, "true"))
	elsewhere := backup(velerov1.CommittingAnnotation, "true")
	elsewhere.Name, elsewhere.Spec.StorageLocation = "elsewhere", "other"
	w.api.Add(veleroNamespace+"backups", elsewhere)
	w.api.Add(bindings, binding("velero-restore-gone", "gone", "velero"))
	summary, err := maintain.Run(t.Context(), maintain.Config{Env: w.env, StartTimeout: maintain.DefaultStartTimeout, Location: "default"})
	if err != nil || summary.Outcome != report.Completed || opened != 1 {
		t.Errorf("%+v, %v, opened %d times", summary, err, opened)
	}
	if w.status("backups/shop").Phase != "Completed" || w.status("backups/elsewhere").Phase != "InProgress" || len(w.api.List(bindings)) != 1 {
		t.Error("not only the location's chores were done")
	}
}
