//go:build integration

package backup_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/crds"
	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// fixture is a namespace of Velero's with one location in a bucket of its own,
// and a namespace to back up. The API server is shared by all tests. Those that
// back up the whole cluster, or break something for all of it, run one after the
// other, before those that keep to their namespace and run side by side. All take
// down what would disturb others.
type fixture struct {
	t        *testing.T
	velero   string
	app      string
	location store.Location
	// kubeconfig is the executor's way to the cluster.
	kubeconfig string
	config     *rest.Config
	client     *client.Client
	dynamic    dynamic.Interface
	// buckets are those that were opened, by server and name.
	buckets *sync.Map
}

var counter atomic.Int32

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cfg := testenv.APIServer(t)
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	velero, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := counter.Add(1)
	f := &fixture{
		t: t, velero: fmt.Sprintf("velero-%d", n), app: fmt.Sprintf("app-%d-x", n), location: testenv.S3(t),
		kubeconfig: testenv.Kubeconfig(t), config: cfg, client: velero, dynamic: dyn, buckets: &sync.Map{},
	}
	f.installCRDs()
	f.create("namespaces", "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.velero}})
	f.create("namespaces", "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.app, Labels: map[string]string{"app": "yes"}}})
	f.addLocation("default", f.location.Bucket, f.location.Config)
	return f
}

func (f *fixture) installCRDs() {
	f.t.Helper()
	all, err := crds.All()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, crd := range all {
		f.create("customresourcedefinitions.apiextensions.k8s.io", "", crd)
	}
	f.until("the velero.io kinds are served", func() error {
		_, err := f.client.BackupStorageLocations("default").List(f.t.Context(), metav1.ListOptions{})
		return err
	})
}

// until tries again for a minute, which only a failure takes.
func (f *fixture) until(what string, try func() error) {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("wait until %s: %v", what, err)
		}
	}
}

// create makes an object; one that exists is fine.
func (f *fixture) create(resource, namespace string, obj any) {
	f.t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		f.t.Fatal(err)
	}
	gr := schema.ParseGroupResource(resource)
	_, err = f.dynamic.Resource(gr.WithVersion("v1")).Namespace(namespace).
		Create(f.t.Context(), withKind(content, gr, obj), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		f.t.Fatalf("create %s: %v", resource, err)
	}
}

func withKind(content map[string]any, gr schema.GroupResource, obj any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: content}
	if u.GetKind() == "" {
		name := fmt.Sprintf("%T", obj)
		u.SetGroupVersionKind(gr.WithVersion("v1").GroupVersion().WithKind(name[strings.LastIndex(name, ".")+1:]))
	}
	return u
}

func (f *fixture) addLocation(name, bucket string, config map[string]string) {
	f.t.Helper()
	_, err := f.client.BackupStorageLocations(f.velero).Create(f.t.Context(), &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: f.velero},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: "aws", Config: config, Default: name == "default",
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: bucket, Prefix: f.location.Prefix, CACert: f.location.CACert},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) configMap(name string, labels map[string]string) {
	f.t.Helper()
	f.create("configmaps", f.app, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: f.app, Labels: labels}, Data: map[string]string{"k": "<&> ü"}})
}

// manifests applies YAML documents separated by "---", each with its plural on
// a first line "# plural". APP stands for the fixture's namespace; what is
// cluster-scoped goes when the test ends.
func (f *fixture) manifests(documents string) {
	f.t.Helper()
	for document := range strings.SplitSeq(strings.ReplaceAll(documents, "APP", f.app), "---\n") {
		first, manifest, _ := strings.Cut(strings.TrimSpace(document), "\n")
		plural, ok := strings.CutPrefix(first, "# ")
		if !ok {
			f.t.Fatalf("no plural in front of %q", document)
		}
		f.applyUntilServed(manifest, plural)
	}
}

func (f *fixture) apply(manifest, plural string) {
	f.t.Helper()
	if err := f.tryApply(manifest, plural); err != nil && !apierrors.IsAlreadyExists(err) {
		f.t.Fatal(err)
	}
}

func (f *fixture) applyUntilServed(manifest, plural string) {
	f.t.Helper()
	f.until(plural+" are served", func() error {
		if err := f.tryApply(manifest, plural); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		return nil
	})
}

func (f *fixture) tryApply(manifest, plural string) error {
	var u unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		return err
	}
	resource := f.dynamic.Resource(u.GroupVersionKind().GroupVersion().WithResource(plural))
	_, err := resource.Namespace(u.GetNamespace()).Create(f.t.Context(), &u, metav1.CreateOptions{})
	// A definition bears the fixture's name and stays: a kind that goes in the middle
	// of somebody else's backup is a warning there.
	if err == nil && u.GetNamespace() == "" && plural != "namespaces" && plural != "customresourcedefinitions" {
		f.t.Cleanup(func() { _ = resource.Delete(context.Background(), u.GetName(), metav1.DeleteOptions{}) }) // gone is as good
	}
	return err
}

// patchStatus sets an object's status, as a controller would.
func (f *fixture) patchStatus(gvr schema.GroupVersionResource, namespace, name, status string) {
	f.t.Helper()
	patch := []byte(`{"status":` + status + `}`)
	if _, err := f.dynamic.Resource(gvr).Namespace(namespace).Patch(f.t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		f.t.Fatal(err)
	}
}

// add creates a Backup as the plugin does.
func (f *fixture) add(name string, spec velerov1.BackupSpec) {
	f.t.Helper()
	f.annotated(name, spec, nil)
}

// annotated is add for a Backup with annotations.
func (f *fixture) annotated(name string, spec velerov1.BackupSpec, annotations map[string]string) {
	f.t.Helper()
	_, err := f.client.Backups(f.velero).Create(f.t.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: f.velero, Annotations: annotations}, Spec: spec,
		Status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}, metav1.CreateOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
}

// run carries out a Backup in this process and returns it as it is afterwards.
// A backup that exists is audited.
func (f *fixture) run(name string, change func(*run.Env)) (report.Summary, *velerov1.Backup) {
	f.t.Helper()
	return f.runIn(f.t.Context(), name, change)
}

// runIn is run with a context of the test's choice.
func (f *fixture) runIn(ctx context.Context, name string, change func(*run.Env)) (report.Summary, *velerov1.Backup) {
	f.t.Helper()
	ctx, cancel, env, err := run.Start(ctx, run.Options{
		Namespace: f.velero, Kubeconfig: f.kubeconfig, CredentialsFile: f.location.CredentialsFile,
	}, "backup", name)
	if err != nil {
		f.t.Fatal(err)
	}
	defer cancel()
	if change != nil {
		change(env)
	}
	summary, err := backup.Run(ctx, backup.Config{Env: env, Name: name})
	if err != nil {
		f.t.Fatal(err)
	}
	after := f.get(name)
	f.audit(after)
	return summary, after
}

// backUp adds and runs a backup and expects an outcome.
func (f *fixture) backUp(name string, want report.Outcome, spec velerov1.BackupSpec) (report.Summary, *velerov1.Backup) {
	f.t.Helper()
	f.add(name, spec)
	summary, after := f.run(name, nil)
	if summary.Outcome != want {
		f.t.Fatalf("backup %q: %+v, want %s", name, summary, want)
	}
	return summary, after
}

func (f *fixture) get(name string) *velerov1.Backup {
	f.t.Helper()
	b, err := f.client.Backups(f.velero).Get(f.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// bucket is the fixture's bucket. It is opened once: that costs more than to read an
// object, and the audit reads many.
func (f *fixture) bucket() store.Bucket {
	f.t.Helper()
	key := f.location.Config["s3Url"] + "/" + f.location.Bucket
	if b, ok := f.buckets.Load(key); ok {
		return b.(store.Bucket)
	}
	b, err := store.Open(f.t.Context(), f.location)
	if err != nil {
		f.t.Fatal(err)
	}
	f.buckets.Store(key, b)
	return b
}

func (f *fixture) keys() []string {
	f.t.Helper()
	var keys []string
	for info, err := range f.bucket().List(f.t.Context(), "") {
		if err != nil {
			f.t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// content maps every key below prefix to its entity tag.
func (f *fixture) content(prefix string) map[string]string {
	f.t.Helper()
	content := map[string]string{}
	for info, err := range f.bucket().List(f.t.Context(), prefix) {
		if err != nil {
			f.t.Fatal(err)
		}
		content[info.Key] = info.ETag + info.ModTime.String()
	}
	return content
}

// items lists what is in the archive, in its order: "resource namespace/name".
func (f *fixture) items(name string) []string {
	f.t.Helper()
	var items []string
	for _, object := range f.objects(name) {
		items = append(items, object.String())
	}
	return items
}

// parallel calls make for 0 to n-1, some at once.
func parallel(t *testing.T, n int, make func(int) error) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error { return make(i) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func toUnstructured(t *testing.T, obj any, apiVersion, kind string) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	return u
}

// emptied removes all objects of a kind from the fixture's namespace when the
// test ends, so that later backups of the whole cluster stay small.
func (f *fixture) emptied(gvr schema.GroupVersionResource) {
	f.t.Cleanup(func() {
		err := f.dynamic.Resource(gvr).Namespace(f.app).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil {
			f.t.Error(err)
		}
	})
}
