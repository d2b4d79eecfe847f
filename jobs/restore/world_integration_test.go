//go:build integration

package restore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/crds"
	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

const fixtures = "../../testdata/fixtures/velero-1.18.0"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		os.Exit(runChild(os.Args[2:]))
	}
	testenv.Main(m)
}

// world is a namespace of Velero's with one location in a bucket of its own,
// and a namespace for what is restored.
type world struct {
	t          *testing.T
	kubeconfig string
	velero     string
	app        string
	location   store.Location
	bucket     store.Bucket
	client     *client.Client
	dynamic    dynamic.Interface
	kube       kubernetes.Interface
	// indexed says that backups have an index, as ours do and Velero's don't.
	indexed bool
}

var worlds atomic.Int32

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, testenv.Kubeconfig(t), testenv.S3(t))
}

// newWorldIn is a world in the cluster and the bucket.
func newWorldIn(t *testing.T, kubeconfig string, location store.Location) *world {
	t.Helper()
	n := worlds.Add(1)
	w := &world{t: t, kubeconfig: kubeconfig, velero: fmt.Sprintf("velero-%d", n), app: fmt.Sprintf("app-%d", n), location: location}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	w.must(err)
	cfg.QPS, cfg.Burst = -1, -1
	w.dynamic, err = dynamic.NewForConfig(cfg)
	w.must(err)
	w.client, err = client.New(cfg)
	w.must(err)
	w.kube, err = kubernetes.NewForConfig(cfg)
	w.must(err)
	w.bucket, err = store.Open(t.Context(), w.location)
	w.must(err)
	w.installCRDs()
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + w.velero + `}}`)
	_, err = w.client.BackupStorageLocations(w.velero).Create(t.Context(), &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: w.velero},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: "aws", Config: w.location.Config, Default: true,
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: w.location.Bucket, CACert: w.location.CACert},
		},
	}, metav1.CreateOptions{})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) installCRDs() {
	w.t.Helper()
	all, err := crds.All()
	w.must(err)
	resource := w.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, crd := range all {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(crd)
		w.must(err)
		u := &unstructured.Unstructured{Object: content}
		u.SetAPIVersion("apiextensions.k8s.io/v1")
		u.SetKind("CustomResourceDefinition")
		if _, err := resource.Create(w.t.Context(), u, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			w.t.Fatal(err)
		}
	}
	w.eventually("velero.io kinds are served", func() bool {
		_, err := w.client.BackupStorageLocations("default").List(w.t.Context(), metav1.ListOptions{})
		return err == nil
	})
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited too long: %s", what)
		}
	}
}

// resourceOf is the resource of a kind of the objects in these tests.
func resourceOf(u *unstructured.Unstructured) schema.GroupVersionResource {
	gvk := u.GroupVersionKind()
	plural := strings.ToLower(gvk.Kind)
	switch {
	case gvk.Kind == "Endpoints":
	case strings.HasSuffix(plural, "ss"):
		plural += "es"
	case strings.HasSuffix(plural, "cy"):
		plural = strings.TrimSuffix(plural, "y") + "ies"
	default:
		plural += "s"
	}
	return gvk.GroupVersion().WithResource(plural)
}

func object(manifest string) *unstructured.Unstructured {
	body, err := yaml.YAMLToJSON([]byte(manifest))
	var u unstructured.Unstructured
	if err == nil {
		err = u.UnmarshalJSON(body)
	}
	if err != nil {
		panic(err)
	}
	return &u
}

// apply creates an object in the cluster.
func (w *world) apply(manifest string) {
	w.t.Helper()
	u := object(manifest)
	_, err := w.dynamic.Resource(resourceOf(u)).Namespace(u.GetNamespace()).Create(w.t.Context(), u, metav1.CreateOptions{})
	w.must(err)
}

// get returns an object of the cluster; nil when it isn't there.
func (w *world) get(resource, namespace, name string) *unstructured.Unstructured {
	w.t.Helper()
	gr := schema.ParseGroupResource(resource)
	version := map[string]string{"horizontalpodautoscalers": "v2"}[gr.Resource]
	if version == "" {
		version = "v1"
	}
	u, err := w.dynamic.Resource(gr.WithVersion(version)).Namespace(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return u
}

// putFixture puts what Velero wrote into the bucket and makes the Backup.
func (w *world) putFixture(name string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(fixtures, name, "*"))
	w.must(err)
	for _, path := range files {
		body, err := os.ReadFile(path)
		w.must(err)
		w.must(w.bucket.Put(w.t.Context(), "backups/"+name+"/"+filepath.Base(path), bytes.NewReader(body)))
	}
	w.addBackup(name)
}

// putBackup writes a backup that holds the objects.
func (w *world) putBackup(name string, manifests ...string) {
	w.t.Helper()
	var items []archive.Item
	for _, manifest := range manifests {
		u := object(manifest)
		body, err := json.Marshal(u.Object)
		w.must(err)
		items = append(items, archive.Item{
			Resource: resourceOf(u).GroupResource(), Version: resourceOf(u).Version, Preferred: true,
			Namespace: u.GetNamespace(), Name: u.GetName(), Body: body,
		})
	}
	w.putItems(name, items...)
}

func (w *world) putItems(name string, items ...archive.Item) {
	w.t.Helper()
	var body bytes.Buffer
	writer, err := archive.NewWriter(&body, time.Now())
	w.must(err)
	for _, item := range items {
		kind, err := writer.Kind(item.Resource, item.Version, item.Preferred)
		w.must(err)
		w.must(kind.Write(item.Namespace, item.Name, item.Body))
		w.must(kind.Close())
	}
	index, err := writer.Close()
	w.must(err)
	w.putArchive(name, body.Bytes())
	if w.indexed {
		w.must(catalog.New(w.bucket).PutJSON(w.t.Context(), catalog.BackupFile(name, catalog.Index), index))
	}
}

// putArchive makes a backup of an archive, whatever it is.
func (w *world) putArchive(name string, body []byte) {
	w.t.Helper()
	c := catalog.New(w.bucket)
	w.must(c.PutArchive(w.t.Context(), name, bytes.NewReader(body)))
	marker := &velerov1.Backup{
		TypeMeta:   metav1.TypeMeta{APIVersion: velerov1.SchemeGroupVersion.String(), Kind: "Backup"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.velero},
	}
	marker.Status.Phase, marker.Status.FormatVersion = velerov1.BackupPhaseCompleted, archive.FormatVersion
	w.must(c.Commit(w.t.Context(), marker))
	w.addBackup(name)
}

func (w *world) addBackup(name string) {
	w.t.Helper()
	_, err := w.client.Backups(w.velero).Create(w.t.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.velero},
		Spec:       velerov1.BackupSpec{StorageLocation: "default"},
		Status:     velerov1.BackupStatus{Phase: velerov1.BackupPhaseCompleted},
	}, metav1.CreateOptions{})
	w.must(err)
}

// addRestore creates a Restore as the plugin does; annotations are pairs of key
// and value.
func (w *world) addRestore(name string, spec velerov1.RestoreSpec, annotations ...string) {
	w.t.Helper()
	restore := &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.velero, Annotations: map[string]string{velerov1.AttemptAnnotation: "0"}},
		Spec:       spec, Status: velerov1.RestoreStatus{Phase: velerov1.RestorePhaseInProgress},
	}
	for pair := range slices.Chunk(annotations, 2) {
		restore.Annotations[pair[0]] = pair[1]
	}
	_, err := w.client.Restores(w.velero).Create(w.t.Context(), restore, metav1.CreateOptions{})
	w.must(err)
}

// run carries out a Restore in this process and returns it as it is afterwards.
func (w *world) run(name string, change func(*restore.Config)) (report.Summary, *velerov1.Restore) {
	w.t.Helper()
	return w.runWith(w.t.Context(), name, change)
}

func (w *world) runWith(ctx context.Context, name string, change func(*restore.Config)) (report.Summary, *velerov1.Restore) {
	w.t.Helper()
	ctx, cancel, env, err := run.Start(ctx, run.Options{
		Namespace: w.velero, Kubeconfig: w.kubeconfig, CredentialsFile: w.location.CredentialsFile,
	}, "restore", name)
	w.must(err)
	defer cancel()
	cfg := restore.Config{Env: env, Name: name, RetryFor: 2 * time.Second}
	if change != nil {
		change(&cfg)
	}
	summary, err := restore.Run(ctx, cfg)
	w.must(err)
	after, err := w.client.Restores(w.velero).Get(w.t.Context(), name, metav1.GetOptions{})
	w.must(err)
	return summary, after
}

// restore is addRestore and run.
func (w *world) restore(name string, spec velerov1.RestoreSpec, change func(*restore.Config)) (report.Summary, *velerov1.Restore) {
	w.t.Helper()
	w.addRestore(name, spec)
	return w.run(name, change)
}

// output decodes a file of a restore.
func (w *world) output(name string, kind catalog.RestoreFileKind, into any) {
	w.t.Helper()
	w.must(catalog.New(w.bucket).GetJSON(w.t.Context(), catalog.RestoreFile(name, kind), into))
}

func (w *world) results(name string) report.Results {
	w.t.Helper()
	var results report.Results
	w.output(name, catalog.RestoreResults, &results)
	return results
}

// actions is the resource list of a restore as one line per object.
func (w *world) actions(name string) map[string]bool {
	w.t.Helper()
	var list map[string][]string
	w.output(name, catalog.RestoreResourceList, &list)
	actions := map[string]bool{}
	for kind, entries := range list {
		for _, entry := range entries {
			actions[kind+" "+entry] = true
		}
	}
	return actions
}

func (w *world) log(name string) string {
	w.t.Helper()
	body, err := catalog.New(w.bucket).Open(w.t.Context(), catalog.RestoreFile(name, catalog.RestoreLogs))
	w.must(err)
	defer body.Close()
	text, err := io.ReadAll(body)
	w.must(err)
	return string(text)
}

func (w *world) keys(prefix string) []string {
	w.t.Helper()
	var keys []string
	for info, err := range w.bucket.List(w.t.Context(), prefix) {
		w.must(err)
		keys = append(keys, info.Key)
	}
	return keys
}

// forget removes a namespace where no controller does it.
func (w *world) forget(namespace string) {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	live, err := w.kube.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	w.must(err)
	if live.DeletionTimestamp == nil {
		w.must(w.kube.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}))
		live, err = w.kube.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		w.must(err)
	}
	live.Spec.Finalizers = []corev1.FinalizerName{}
	_, err = w.kube.CoreV1().Namespaces().Finalize(ctx, live, metav1.UpdateOptions{})
	w.must(err)
}
