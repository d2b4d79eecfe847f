//go:build integration

// Package roundtrip tests the restore of volumes from CSI snapshots with the real
// controllers and a driver of the test-bed. It has an API server of its own: these
// controllers look after all claims.
package roundtrip

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/crds"
	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var (
	claims    = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	volumes   = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	snapshots = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}
	contents  = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}
)

// world is a cluster with an installation, a bucket and a namespace with an
// application.
type world struct {
	*testing.T
	kubeconfig  string
	velero, app string
	location    store.Location
	bucket      store.Bucket
	client      *client.Client
	dynamic     dynamic.Interface
	kube        kubernetes.Interface
}

var worlds atomic.Int32

func newWorld(t *testing.T, kubeconfig string, location store.Location) *world {
	t.Helper()
	n := worlds.Add(1)
	w := &world{T: t, kubeconfig: kubeconfig, velero: fmt.Sprintf("velero-%d", n), app: fmt.Sprintf("app-%d", n), location: location}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	w.must(err)
	config.QPS, config.Burst = -1, -1
	w.dynamic, err = dynamic.NewForConfig(config)
	w.must(err)
	w.client, err = client.New(config)
	w.must(err)
	w.kube, err = kubernetes.NewForConfig(config)
	w.must(err)
	w.bucket, err = store.Open(t.Context(), location)
	w.must(err)
	w.define()
	w.namespace(w.velero)
	w.namespace(w.app)
	_, err = w.client.BackupStorageLocations(w.velero).Create(t.Context(), &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: w.velero},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: "aws", Config: location.Config, Default: true,
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: location.Bucket, CACert: location.CACert},
		},
	}, metav1.CreateOptions{})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) namespace(name string) {
	w.Helper()
	_, err := w.kube.CoreV1().Namespaces().Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	w.must(err)
}

// define makes the kinds of velero.io known.
func (w *world) define() {
	w.Helper()
	all, err := crds.All()
	w.must(err)
	resource := w.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, crd := range all {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(crd)
		w.must(err)
		u := &unstructured.Unstructured{Object: content}
		u.SetAPIVersion("apiextensions.k8s.io/v1")
		u.SetKind("CustomResourceDefinition")
		if _, err := resource.Create(w.Context(), u, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			w.Fatal(err)
		}
	}
	w.eventually("velero.io kinds are served", func() bool {
		_, err := w.client.BackupStorageLocations("default").List(w.Context(), metav1.ListOptions{})
		return err == nil
	})
}

func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("waited too long: %s", what)
		}
	}
}

// get returns an object of the cluster; nil when it isn't there.
func (w *world) get(resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	w.Helper()
	u, err := w.dynamic.Resource(resource).Namespace(namespace).Get(w.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return u
}

// restored lists the objects of a kind that restores have made, by name.
func (w *world) restored(resource schema.GroupVersionResource, namespace, restore string) []string {
	w.Helper()
	list, err := w.dynamic.Resource(resource).Namespace(namespace).List(w.Context(), metav1.ListOptions{LabelSelector: velerov1.RestoreNameLabel + "=" + restore})
	w.must(err)
	var names []string
	for _, item := range list.Items {
		names = append(names, item.GetName())
	}
	return names
}

func (w *world) gone(resource schema.GroupVersionResource, namespace, name string) {
	w.Helper()
	w.eventually(resource.Resource+" "+name+" is gone", func() bool { return w.get(resource, namespace, name) == nil })
}

// saved is a backup as it is written: objects, and what it says of volumes.
type saved struct {
	objects []*unstructured.Unstructured
	infos   []volume.Info
}

// save adds a claim of the driver to the backup as Velero does it: the objects of the
// snapshot go, the data stays in the driver.
func (w *world) save(b *saved, c *testenv.CSI, claim string) {
	w.Helper()
	name := "velero-" + claim + "-x"
	vs := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
		"metadata": map[string]any{"name": name, "namespace": w.app, "labels": map[string]any{velerov1.BackupNameLabel: "b", velerov1.BackupUIDLabel: "u"}},
		"spec":     map[string]any{"source": map[string]any{"persistentVolumeClaimName": claim}, "volumeSnapshotClassName": c.Driver},
	}}
	_, err := w.dynamic.Resource(snapshots).Namespace(w.app).Create(w.Context(), vs, metav1.CreateOptions{})
	w.must(err)
	w.eventually("snapshot is ready", func() bool {
		vs = w.get(snapshots, w.app, name)
		ready, _, _ := unstructured.NestedBool(vs.Object, "status", "readyToUse")
		return ready
	})
	contentName, _, _ := unstructured.NestedString(vs.Object, "status", "boundVolumeSnapshotContentName")
	content := w.get(contents, "", contentName)
	content.SetLabels(map[string]string{velerov1.BackupNameLabel: "b"})
	pvc := w.get(claims, w.app, claim)
	volumeName, _, _ := unstructured.NestedString(pvc.Object, "spec", "volumeName")
	pv := w.get(volumes, "", volumeName)
	pvc.SetAnnotations(merged(pvc.GetAnnotations(), map[string]string{velerov1.VolumeSnapshotNameLabel: name}))
	pvc.SetLabels(merged(pvc.GetLabels(), map[string]string{velerov1.VolumeSnapshotNameLabel: name, velerov1.BackupNameLabel: "b"}))
	handle, _, _ := unstructured.NestedString(content.Object, "status", "snapshotHandle")
	b.objects = append(b.objects, content, vs, pv, pvc)
	b.infos = append(b.infos, volume.Info{
		PVCName: claim, PVCNamespace: w.app, PVName: volumeName, Method: volume.CSISnapshot, Result: volume.Succeeded, PreserveLocalSnapshot: true,
		CSI: &volume.CSIInfo{SnapshotHandle: handle, Driver: c.Driver, ContentName: contentName},
		PV:  &volume.PVInfo{ReclaimPolicy: "Retain", Labels: map[string]string{"tier": "gold", "topology.kubernetes.io/zone": "gone"}},
	})
	_, err = w.dynamic.Resource(contents).Patch(w.Context(), contentName, types.MergePatchType, []byte(`{"spec":{"deletionPolicy":"Retain"}}`), metav1.PatchOptions{})
	w.must(err)
	w.must(w.dynamic.Resource(snapshots).Namespace(w.app).Delete(w.Context(), name, metav1.DeleteOptions{}))
	w.must(w.dynamic.Resource(contents).Delete(w.Context(), contentName, metav1.DeleteOptions{}))
	w.gone(contents, "", contentName)
}

func merged(maps ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range maps {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// write writes the backup b. Without infos it is one of Velero before 1.13.
func (w *world) write(b *saved) {
	w.Helper()
	var body bytes.Buffer
	writer, err := archive.NewWriter(&body, time.Now())
	w.must(err)
	for _, u := range b.objects {
		gvk := u.GroupVersionKind()
		resource := gvk.GroupVersion().WithResource(strings.ToLower(gvk.Kind) + "s")
		object, err := json.Marshal(u.Object)
		w.must(err)
		kind, err := writer.Kind(resource.GroupResource(), resource.Version, true)
		w.must(err)
		w.must(kind.Write(u.GetNamespace(), u.GetName(), object))
		w.must(kind.Close())
	}
	_, err = writer.Close()
	w.must(err)
	c := catalog.New(w.bucket)
	w.must(c.PutArchive(w.Context(), "b", bytes.NewReader(body.Bytes())))
	if b.infos != nil {
		w.must(c.PutJSON(w.Context(), catalog.BackupFile("b", catalog.VolumeInfo), b.infos))
	}
	marker := &velerov1.Backup{
		TypeMeta:   metav1.TypeMeta{APIVersion: velerov1.SchemeGroupVersion.String(), Kind: "Backup"},
		ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: w.velero},
	}
	marker.Status.Phase, marker.Status.FormatVersion = velerov1.BackupPhaseCompleted, archive.FormatVersion
	w.must(c.Commit(w.Context(), marker))
	w.addBackup("b")
}

// addBackup makes a Backup that is in the bucket known.
func (w *world) addBackup(name string) {
	w.Helper()
	_, err := w.client.Backups(w.velero).Create(w.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.velero},
		Spec:       velerov1.BackupSpec{StorageLocation: "default"}, Status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseCompleted},
	}, metav1.CreateOptions{})
	w.must(err)
}

// drop deletes a claim, and waits until its volume is gone with it.
func (w *world) drop(claim string) {
	w.Helper()
	live := w.get(claims, w.app, claim)
	name, _, _ := unstructured.NestedString(live.Object, "spec", "volumeName")
	w.must(w.dynamic.Resource(claims).Namespace(w.app).Delete(w.Context(), claim, metav1.DeleteOptions{}))
	w.gone(claims, w.app, claim)
	w.gone(volumes, "", name)
}

// restore carries out a restore, of backup b unless spec names another.
func (w *world) restore(name string, spec velerov1.RestoreSpec, change func(*restore.Config)) report.Summary {
	w.Helper()
	spec.BackupName = cmp.Or(spec.BackupName, "b")
	_, err := w.client.Restores(w.velero).Create(w.Context(), &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.velero, Annotations: map[string]string{velerov1.AttemptAnnotation: "0"}},
		Spec:       spec, Status: velerov1.RestoreStatus{Phase: velerov1.RestorePhaseInProgress},
	}, metav1.CreateOptions{})
	w.must(err)
	return w.run(w.Context(), name, change)
}

func (w *world) run(ctx context.Context, name string, change func(*restore.Config)) report.Summary {
	w.Helper()
	ctx, cancel, env, err := run.Start(ctx, run.Options{Namespace: w.velero, Kubeconfig: w.kubeconfig, CredentialsFile: w.location.CredentialsFile}, "restore", name)
	w.must(err)
	defer cancel()
	cfg := restore.Config{Env: env, Name: name, RetryFor: 2 * time.Second, ProvisionTimeout: time.Minute}
	if change != nil {
		change(&cfg)
	}
	summary, err := restore.Run(ctx, cfg)
	w.must(err)
	return summary
}

// preview is what a preview of backup b says of each object, by kind and name.
func (w *world) preview(spec velerov1.RestoreSpec) (map[string]report.PreviewItem, report.PreviewEnd) {
	w.Helper()
	ctx, cancel, env, err := run.Start(w.Context(), run.Options{Namespace: w.velero, Kubeconfig: w.kubeconfig, CredentialsFile: w.location.CredentialsFile})
	w.must(err)
	defer cancel()
	spec.BackupName = "b"
	items := map[string]report.PreviewItem{}
	var mu sync.Mutex
	end := restore.Preview(ctx, restore.Config{Env: env}, &velerov1.Restore{ObjectMeta: metav1.ObjectMeta{Name: "look", Namespace: w.velero}, Spec: spec}, false,
		func(item report.PreviewItem) error {
			mu.Lock()
			defer mu.Unlock()
			items[item.Kind+" "+item.Name] = item
			return nil
		}, func(int) {})
	return items, end
}

// texts are the warnings and errors of a restore.
func (w *world) texts(name string) (warnings, errs []string) {
	w.Helper()
	var results report.Results
	w.must(catalog.New(w.bucket).GetJSON(w.Context(), catalog.RestoreFile(name, catalog.RestoreResults), &results))
	flat := func(r report.Result) []string {
		all := slices.Concat(r.Velero, r.Cluster)
		for _, texts := range r.Namespaces {
			all = append(all, texts...)
		}
		return all
	}
	return flat(results.Warnings), flat(results.Errors)
}

// said checks that exactly one text has all the words.
func (w *world) said(texts []string, words ...string) {
	w.Helper()
	n := 0
	for _, text := range texts {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			n++
		}
	}
	if n != 1 {
		w.Errorf("%d texts have %q, want one:\n%s", n, words, strings.Join(texts, "\n"))
	}
}

const mergePatch = types.MergePatchType

var patchOptions = metav1.PatchOptions{}

func selector(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

// lateClass makes a storage class of the driver whose volumes wait for a pod.
func (w *world) lateClass(c *testenv.CSI) string {
	w.Helper()
	late := storagev1.VolumeBindingWaitForFirstConsumer
	class, err := w.kube.StorageV1().StorageClasses().Create(w.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: c.Driver + "-late"}, Provisioner: c.Driver, VolumeBindingMode: &late,
	}, metav1.CreateOptions{})
	w.must(err)
	return class.Name
}
