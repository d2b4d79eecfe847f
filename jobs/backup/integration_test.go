//go:build integration

package backup_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestBackupOfANamespace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.configMap("kept", map[string]string{"app": "web"})
	f.configMap("left-out", map[string]string{velerov1.ExcludeFromBackupLabel: "true"})
	f.add("one", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	summary, after := f.run("one", nil)
	if summary.Outcome != report.Completed || after.Status.Phase != velerov1.BackupPhaseCompleted {
		t.Fatalf("summary %+v, phase %s", summary, after.Status.Phase)
	}
	f.expect("one", "namespaces=/APP configmaps=APP/kept")
	if diff := cmp.Diff(filesOf("one"), f.keys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	f.checkRecord(after)
}

// checkRecord compares the Backup in the cluster with that in the bucket.
func (f *fixture) checkRecord(after *velerov1.Backup) {
	f.t.Helper()
	stored, err := catalog.New(f.bucket()).ReadBackup(f.t.Context(), after.Name)
	if err != nil {
		f.t.Fatal(err)
	}
	if diff := cmp.Diff(after.Status, stored.Status); diff != "" {
		f.t.Errorf("status in cluster and bucket differ (-cluster +bucket):\n%s", diff)
	}
	status := after.Status
	if status.FormatVersion != "1.1.0" || status.Version != 1 || status.Expiration == nil || status.StartTimestamp == nil ||
		status.CompletionTimestamp == nil || status.Progress.ItemsBackedUp != 2 || status.Progress.TotalItems != 2 {
		f.t.Errorf("status %+v", status)
	}
	if after.Labels[velerov1.StorageLocationLabel] != "default" || stored.Annotations[velerov1.SourceClusterK8sMajorVersionAnnotation] != "1" {
		f.t.Errorf("labels %v, annotations %v", after.Labels, stored.Annotations)
	}
	if _, ok := stored.Annotations[velerov1.HeartbeatAnnotation]; ok {
		f.t.Error("the marker holds signs of life")
	}
}

func TestUnfilteredBackupHoldsAllClusterScopedObjects(t *testing.T) {
	f := newFixture(t)
	f.create("storageclasses.storage.k8s.io", "", &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "manual"}, Provisioner: "kubernetes.io/no-provisioner"})
	f.create("priorityclasses.scheduling.k8s.io", "", &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "shop-high"}, Value: 1000})
	f.apply(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: shop-check}}`, "validatingwebhookconfigurations")
	f.apply(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: regions.shop.example.com}
spec:
  group: shop.example.com
  scope: Cluster
  names: {plural: regions, singular: region, kind: Region}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]`, "customresourcedefinitions")
	f.applyUntilServed(`{apiVersion: shop.example.com/v1, kind: Region, metadata: {name: eu-west}}`, "regions")
	f.add("all", velerov1.BackupSpec{})
	if summary, _ := f.run("all", nil); summary.Outcome != report.Completed {
		t.Fatalf("summary %+v", summary)
	}
	items := f.items("all")
	for _, want := range []string{
		"storageclasses.storage.k8s.io /manual", "priorityclasses.scheduling.k8s.io /shop-high",
		"validatingwebhookconfigurations.admissionregistration.k8s.io /shop-check",
		"customresourcedefinitions.apiextensions.k8s.io /regions.shop.example.com", "regions.shop.example.com /eu-west",
		"clusterroles.rbac.authorization.k8s.io /cluster-admin", "namespaces /" + f.app,
	} {
		if !slices.Contains(items, want) {
			t.Errorf("the archive lacks %s", want)
		}
	}
}

// The objects that the selected ones can't do without come along, and nothing
// else that is cluster-scoped.
func TestBackupOfANamespaceTakesWhatItsObjectsNeed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.apply(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.needs.example.com}
spec:
  group: needs.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]`, "customresourcedefinitions")
	inApp := func(manifest string) string { return strings.ReplaceAll(manifest, "APP", f.app) }
	f.applyUntilServed(inApp(`{apiVersion: needs.example.com/v1, kind: Widget, metadata: {name: gear, namespace: APP}, spec: {big: 12345678901234567890}}`), "widgets")
	for plural, manifest := range map[string]string{
		"serviceaccounts":        `{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: APP}}`,
		"clusterroles":           `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: APP-reader}, rules: []}`,
		"clusterrolebindings":    `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: APP-reader}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: APP-reader}, subjects: [{kind: ServiceAccount, name: web, namespace: APP}]}`,
		"priorityclasses":        `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: APP-high}, value: 1000}`,
		"persistentvolumes":      `{apiVersion: v1, kind: PersistentVolume, metadata: {name: APP-data}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}, persistentVolumeReclaimPolicy: Retain, claimRef: {namespace: APP, name: data}}}`,
		"persistentvolumeclaims": `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: APP}, spec: {accessModes: [ReadWriteOnce], volumeName: APP-data, resources: {requests: {storage: 1Gi}}}}`,
	} {
		f.apply(inApp(manifest), plural)
	}
	bound := []byte(`{"status":{"phase":"Bound"}}`)
	claims := schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	if _, err := f.dynamic.Resource(claims).Namespace(f.app).Patch(t.Context(), "data", types.MergePatchType, bound, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	f.apply(inApp(`{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: APP}, spec: {priorityClassName: APP-high, serviceAccountName: web, containers: [{name: c, image: x}], volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]}}`), "pods")
	f.add("needs", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	summary, _ := f.run("needs", nil)
	if summary.Outcome != report.Completed || summary.Warnings != 1 {
		t.Fatalf("summary %+v; one warning, about the volume's data, is due", summary)
	}
	got := f.items("needs")
	slices.Sort(got)
	want := strings.Fields(inApp("clusterrolebindings.rbac.authorization.k8s.io /APP-reader clusterroles.rbac.authorization.k8s.io /APP-reader " +
		"customresourcedefinitions.apiextensions.k8s.io /widgets.needs.example.com namespaces /APP persistentvolumeclaims APP/data " +
		"persistentvolumes /APP-data pods APP/web priorityclasses.scheduling.k8s.io /APP-high serviceaccounts APP/web widgets.needs.example.com APP/gear"))
	if diff := cmp.Diff(want, strings.Fields(strings.Join(got, " "))); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	wrong := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(wrong, []byte("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	down := map[string]string{"s3Url": "http://127.0.0.1:9", "s3ForcePathStyle": "true", "region": "us-east-1"}
	f.addLocation("no-bucket", "there-is-no-such-bucket", f.location.Config)
	f.addLocation("down", f.location.Bucket, down)
	only := []string{f.app}
	for _, c := range []struct {
		name   string
		spec   velerov1.BackupSpec
		change func(*run.Env)
		phase  velerov1.BackupPhase
		want   string
	}{
		{"missing-namespace", velerov1.BackupSpec{IncludedNamespaces: []string{f.app, "nowhere"}}, nil, velerov1.BackupPhasePartiallyFailed, `namespace "nowhere" doesn't exist`},
		{"nothing", velerov1.BackupSpec{IncludedResources: []string{"secrets"}, IncludedNamespaces: only}, nil, velerov1.BackupPhasePartiallyFailed, "the selection matches nothing"},
		{"unknown-location", velerov1.BackupSpec{StorageLocation: "nope"}, nil, velerov1.BackupPhaseFailedValidation, `storageLocation: "nope" doesn't exist; there are: default, down, no-bucket`},
		{"bad-namespace", velerov1.BackupSpec{IncludedNamespaces: []string{"Shop"}}, nil, velerov1.BackupPhaseFailedValidation, `includedNamespaces: "Shop" is no namespace name`},
		{"bucket-missing", velerov1.BackupSpec{StorageLocation: "no-bucket", IncludedNamespaces: only}, nil, velerov1.BackupPhaseFailed, "there-is-no-such-bucket"},
		{"store-down", velerov1.BackupSpec{StorageLocation: "down", IncludedNamespaces: only}, nil, velerov1.BackupPhaseFailed, "127.0.0.1:9"},
		{"wrong-credentials", velerov1.BackupSpec{IncludedNamespaces: only}, func(e *run.Env) {
			e.OpenStore = func(ctx context.Context, _ *velerov1.BackupStorageLocation) (store.Bucket, error) {
				l := f.location
				l.CredentialsFile = wrong
				return store.Open(ctx, l)
			}
		}, velerov1.BackupPhaseFailed, "credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.add(c.name, c.spec)
			summary, after := f.run(c.name, c.change)
			if after.Status.Phase != c.phase || !strings.Contains(summary.Reason, c.want) {
				t.Errorf("phase %s, reason %q, want %s with %q", after.Status.Phase, summary.Reason, c.phase, c.want)
			}
			recorded := after.Status.FailureReason + strings.Join(after.Status.ValidationErrors, "; ") + after.Annotations[velerov1.TopCausesAnnotation]
			if !strings.Contains(recorded, c.want) {
				t.Errorf("the Backup itself doesn't say why: %q", recorded)
			}
			if strings.Contains(recorded, "nothing\n") {
				t.Error("a secret is in the Backup")
			}
		})
	}
}

func TestStoreDownIsRetriedOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.addLocation("down", f.location.Bucket, map[string]string{"s3Url": "http://127.0.0.1:9", "s3ForcePathStyle": "true", "region": "us-east-1"})
	f.add("down", velerov1.BackupSpec{StorageLocation: "down"})
	summary, after := f.run("down", func(e *run.Env) { e.LastAttempt = false })
	if summary.Outcome != report.Temporary || after.Status.Phase != velerov1.BackupPhaseInProgress {
		t.Errorf("first attempt: %+v, phase %s", summary, after.Status.Phase)
	}
	summary, after = f.run("down", nil)
	if summary.Outcome != report.Failed || after.Status.Phase != velerov1.BackupPhaseFailed {
		t.Errorf("last attempt: %+v, phase %s", summary, after.Status.Phase)
	}
}

func TestNameTakenInTheBucket(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add("taken", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	f.run("taken", nil)
	before := f.content("backups/taken/")
	if err := f.client.Backups(f.velero).Delete(t.Context(), "taken", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.add("taken", velerov1.BackupSpec{})
	summary, after := f.run("taken", nil)
	if summary.Outcome != report.Failed || !strings.Contains(after.Status.FailureReason, `"taken"`) {
		t.Errorf("summary %+v", summary)
	}
	if diff := cmp.Diff(before, f.content("backups/taken/")); diff != "" {
		t.Errorf("the backup that was there changed:\n%s", diff)
	}
}

func TestAnAttemptThatDiedIsTakenOver(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.configMap("kept", nil)
	f.add("again", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	current, err := f.client.Backups(f.velero).Get(t.Context(), "again", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := catalog.New(f.bucket())
	if err := c.Claim(t.Context(), "again", catalog.Claim{BackupUID: string(current.UID), Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.PutArchive(t.Context(), "again", strings.NewReader("half an archive")); err != nil {
		t.Fatal(err)
	}
	if summary, _ := f.run("again", nil); summary.Outcome != report.Completed || len(f.items("again")) != 2 {
		t.Errorf("summary %+v", summary)
	}
}

func TestAnAttemptThatDiedAfterTheMarkerIsAdopted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add("adopt", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	_, done := f.run("adopt", nil)
	patch := []byte(`{"status":{"phase":"InProgress","completionTimestamp":null,"progress":null}}`)
	if _, err := f.client.Backups(f.velero).Patch(t.Context(), "adopt", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	summary, after := f.run("adopt", nil)
	if summary.Outcome != report.Completed {
		t.Errorf("summary %+v", summary)
	}
	if diff := cmp.Diff(done.Status, after.Status); diff != "" {
		t.Errorf("status (-first +adopted):\n%s", diff)
	}
}

func TestAnInterruptedBackupLeavesNoMarker(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.add("cut", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	ctx, cancel := context.WithCancel(t.Context())
	_, stop, env, err := run.Start(ctx, run.Options{Namespace: f.velero, Kubeconfig: testenv.Kubeconfig(t), CredentialsFile: f.location.CredentialsFile}, "backup", "cut")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	open := env.OpenStore
	env.OpenStore = func(ctx context.Context, l *velerov1.BackupStorageLocation) (store.Bucket, error) {
		defer cancel()
		return open(ctx, l)
	}
	summary, err := backup.Run(ctx, backup.Config{Env: env, Name: "cut"})
	if err != nil {
		t.Fatal(err)
	}
	after, err := f.client.Backups(f.velero).Get(t.Context(), "cut", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if summary.Outcome != report.Cancelled || after.Status.Phase != velerov1.BackupPhaseFailed || after.Status.FailureReason == "" {
		t.Errorf("summary %+v, phase %s", summary, after.Status.Phase)
	}
	if slices.Contains(f.keys(), "backups/cut/velero-backup.json") {
		t.Error("an interrupted backup has a marker")
	}
}
