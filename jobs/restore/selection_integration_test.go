//go:build integration

package restore_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
)

// restoredObjects are what a restore made, without Namespaces: "kind name".
func (w *world) restoredObjects(name string) []string {
	w.t.Helper()
	var list []string
	for action := range maps.Keys(w.actions(name)) {
		if action, ok := strings.CutSuffix(action, "(created)"); ok && !strings.HasPrefix(action, "v1/Namespace ") {
			list = append(list, strings.ReplaceAll(action, w.app, "APP"))
		}
	}
	slices.Sort(list)
	return list
}

// Each filter, in both families and by name, takes what it says and no more.
func TestSelections(t *testing.T) {
	t.Parallel()
	objects := []string{
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP, labels: {app: web}}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: two, namespace: APP, labels: {app: db}}}`,
		`{apiVersion: v1, kind: Secret, metadata: {name: one, namespace: APP}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP-b}}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: APP}, rules: []}`,
		`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: APP}, value: 1000}`,
	}
	const (
		one, two, secret = "v1/ConfigMap APP/one", "v1/ConfigMap APP/two", "v1/Secret APP/one"
		other            = "v1/ConfigMap APP-b/one"
		role, class      = "rbac.authorization.k8s.io/v1/ClusterRole APP", "scheduling.k8s.io/v1/PriorityClass APP"
	)
	for name, tc := range map[string]struct {
		spec        velerov1.RestoreSpec
		annotations []string
		want        []string
	}{
		"everything":             {want: []string{role, class, other, one, two, secret}},
		"a namespace":            {spec: velerov1.RestoreSpec{IncludedNamespaces: []string{"APP"}}, want: []string{one, two, secret}},
		"a pattern":              {spec: velerov1.RestoreSpec{IncludedNamespaces: []string{"APP-*"}}, want: []string{other}},
		"no namespace":           {spec: velerov1.RestoreSpec{ExcludedNamespaces: []string{"APP*"}}, want: nil},
		"a kind":                 {spec: velerov1.RestoreSpec{IncludedResources: []string{"cm"}}, want: []string{other, one, two}},
		"not a kind":             {spec: velerov1.RestoreSpec{ExcludedResources: []string{"configmaps"}}, want: []string{role, class, secret}},
		"unknown kinds":          {spec: velerov1.RestoreSpec{IncludedResources: []string{"gears"}}, want: nil},
		"not an unknown kind":    {spec: velerov1.RestoreSpec{ExcludedResources: []string{"gears"}}, want: []string{role, class, other, one, two, secret}},
		"cluster-scoped":         {spec: velerov1.RestoreSpec{IncludedNamespaces: []string{"APP-b"}, IncludeClusterResources: ptr(true)}, want: []string{role, class, other}},
		"not cluster-scoped":     {spec: velerov1.RestoreSpec{IncludeClusterResources: ptr(false)}, want: []string{other, one, two, secret}},
		"label":                  {spec: velerov1.RestoreSpec{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}, want: []string{one}},
		"labels":                 {spec: velerov1.RestoreSpec{OrLabelSelectors: []*metav1.LabelSelector{{MatchLabels: map[string]string{"app": "web"}}, {MatchLabels: map[string]string{"app": "db"}}}}, want: []string{one, two}},
		"newer family":           {annotations: []string{velerov1.IncludedNamespaceScopedResourcesAnnotation, "secrets", velerov1.IncludedClusterScopedResourcesAnnotation, "clusterroles"}, want: []string{role, secret}},
		"newer family without":   {annotations: []string{velerov1.ExcludedNamespaceScopedResourcesAnnotation, "secrets", velerov1.ExcludedClusterScopedResourcesAnnotation, "*"}, want: []string{other, one, two}},
		"by name":                {annotations: []string{velerov1.IncludeObjectsAnnotation, "APP/configmap/two,APP/secret/one"}, want: []string{two, secret}},
		"by pattern":             {annotations: []string{velerov1.IncludeObjectsAnnotation, "APP*/cm/o*"}, want: []string{other, one}},
		"cluster-scoped by name": {annotations: []string{velerov1.IncludeObjectsAnnotation, "clusterrole/APP"}, want: []string{role}},
		"not by name":            {annotations: []string{velerov1.ExcludeObjectsAnnotation, "APP/cm/one"}, want: []string{role, class, other, two, secret}},
	} {
		for _, indexed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, index %t", name, indexed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.indexed = indexed
				w.putBackup("b", w.in(slices.Clone(objects)...)...)
				spec := *tc.spec.DeepCopy()
				spec.BackupName = "b"
				spec.IncludedNamespaces, spec.ExcludedNamespaces = w.in(spec.IncludedNamespaces...), w.in(spec.ExcludedNamespaces...)
				w.addRestore("r", spec, w.in(slices.Clone(tc.annotations)...)...)
				summary, after := w.run("r", nil)
				if summary.Outcome != report.Completed || summary.Errors != 0 {
					t.Fatalf("summary %+v, %v, results %+v", summary, after.Status.ValidationErrors, w.results("r"))
				}
				slices.Sort(tc.want)
				if diff := cmp.Diff(tc.want, w.restoredObjects("r")); diff != "" {
					t.Errorf("restored (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// By name only the parts of the archive are read that can hold the objects.
func TestByNameReadsLittle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.indexed = true
	noise := make([]byte, 30<<10)
	random := rand.NewChaCha8([32]byte{3})
	var items []archive.Item
	for n := range 200 {
		_, _ = random.Read(noise) // never fails
		items = append(items, archive.Item{
			Resource: schema.GroupResource{Resource: "secrets"}, Version: "v1", Preferred: true, Namespace: w.app, Name: fmt.Sprintf("s%03d", n),
			Body: fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s%03d","namespace":%q},"data":{"a":%q}}`, n, w.app, base64.StdEncoding.EncodeToString(noise)),
		})
	}
	w.putItems("b", items...)
	archived, err := w.bucket.Stat(t.Context(), "backups/b/b.tar.gz")
	w.must(err)
	var read atomic.Int64
	w.addRestore("r", velerov1.RestoreSpec{BackupName: "b"}, velerov1.IncludeObjectsAnnotation, w.app+"/secret/s100")
	summary, _ := w.run("r", func(c *restore.Config) {
		open := c.OpenStore
		c.OpenStore = func(ctx context.Context, bsl *velerov1.BackupStorageLocation) (store.Bucket, error) {
			bucket, err := open(ctx, bsl)
			return counted{bucket, &read}, err
		}
	})
	if diff := cmp.Diff([]string{"v1/Secret APP/s100"}, w.restoredObjects("r")); diff != "" || summary.Outcome != report.Completed {
		t.Errorf("summary %+v, restored (-want +got):\n%s", summary, diff)
	}
	if read.Load() > archived.Size/4 {
		t.Errorf("%d bytes of an archive of %d were read", read.Load(), archived.Size)
	}
}

// counted counts the bytes that are read.
type counted struct {
	store.Bucket
	read *atomic.Int64
}

func (c counted) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := c.Bucket.Get(ctx, key)
	return countedBody{body, c.read}, err
}

func (c counted) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	body, err := c.Bucket.GetRange(ctx, key, offset, length)
	return countedBody{body, c.read}, err
}

type countedBody struct {
	io.ReadCloser
	read *atomic.Int64
}

func (c countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func ptr[T any](value T) *T { return &value }

// A restore by name of something that isn't in the backup is refused before
// anything is written.
func TestObjectThatIsNotInTheBackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b", w.in(`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP}}`)...)
	w.addRestore("r", velerov1.RestoreSpec{BackupName: "b"}, velerov1.IncludeObjectsAnnotation, w.app+"/cm/one,"+w.app+"/cm/missing")
	summary, after := w.run("r", nil)
	if summary.Outcome != report.Usage || after.Status.Phase != velerov1.RestorePhaseFailedValidation {
		t.Errorf("summary %+v", summary)
	}
	w.said(after.Status.ValidationErrors, "missing")
	if w.get("namespaces", "", w.app) != nil {
		t.Error("something was written")
	}
}

// The kinds named first come first, those named after "-" last: objects of the
// cluster are numbered in the order of their writes.
func TestPriorities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kinds := map[string]string{"configmaps": "ConfigMap", "secrets": "Secret", "services": "Service", "serviceaccounts": "ServiceAccount"}
	var manifests []string
	for _, kind := range kinds {
		for n := range 20 {
			manifests = append(manifests, fmt.Sprintf(`{apiVersion: v1, kind: %s, metadata: {name: x%d, namespace: APP}, spec: {clusterIP: None, ports: [{port: 80}]}}`, kind, n))
			if kind != "Service" {
				manifests[len(manifests)-1] = fmt.Sprintf(`{apiVersion: v1, kind: %s, metadata: {name: x%d, namespace: APP}}`, kind, n)
			}
		}
	}
	w.putBackup("b", w.in(manifests...)...)
	w.addRestore("r", velerov1.RestoreSpec{BackupName: "b"}, velerov1.ResourcePrioritiesAnnotation, "services,configmaps,-,serviceaccounts")
	if summary, _ := w.run("r", nil); summary.Outcome != report.Completed {
		t.Fatalf("summary %+v, results %+v", summary, w.results("r"))
	}
	type span struct{ first, last int }
	spans := map[string]span{}
	for resource := range kinds {
		list, err := w.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource}).Namespace(w.app).List(t.Context(), metav1.ListOptions{})
		w.must(err)
		s := span{first: 1 << 62}
		for _, item := range list.Items {
			version, err := strconv.Atoi(item.GetResourceVersion())
			w.must(err)
			s.first, s.last = min(s.first, version), max(s.last, version)
		}
		spans[resource] = s
	}
	order := []string{"services", "configmaps", "secrets", "serviceaccounts"}
	for i := range len(order) - 1 {
		if spans[order[i]].last > spans[order[i+1]].first {
			t.Errorf("%s were not all there before the first of %s: %v", order[i], order[i+1], spans)
		}
	}
}

// Without the feature a version that the cluster lacks is told and left; with it
// the best common one is restored.
func TestVersionsOfAKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	scaler := func(version string, preferred bool) archive.Item {
		spec := map[string]string{
			"v2beta9": `{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},"maxReplicas":3}`,
			"v1":      `{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},"maxReplicas":4}`,
		}[version]
		return archive.Item{
			Resource: schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}, Version: version, Preferred: preferred, Namespace: w.app, Name: "web",
			Body: fmt.Appendf(nil, `{"apiVersion":"autoscaling/%s","kind":"HorizontalPodAutoscaler","metadata":{"name":"web","namespace":%q},"spec":%s}`, version, w.app, spec),
		}
	}
	w.putItems("b", scaler("v2beta9", true), scaler("v1", false))
	summary, _ := w.restore("without", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if summary.Outcome != report.PartiallyFailed {
		t.Errorf("without the feature: %+v", summary)
	}
	w.said(w.errors("without"), "horizontalpodautoscalers.autoscaling", "v2beta9", "only in", "v1")
	summary, _ = w.restore("with", velerov1.RestoreSpec{BackupName: "b"}, func(c *restore.Config) { c.Features = []string{"EnableAPIGroupVersions"} })
	if summary.Outcome != report.Completed {
		t.Fatalf("with the feature: %+v, %+v", summary, w.results("with"))
	}
	scalers, err := w.kube.AutoscalingV1().HorizontalPodAutoscalers(w.app).Get(t.Context(), "web", metav1.GetOptions{})
	w.must(err)
	if scalers.Spec.MaxReplicas != 4 {
		t.Errorf("restored with maxReplicas %d", scalers.Spec.MaxReplicas)
	}
}

// A location that nobody may write to can be restored from.
func TestReadOnlyLocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putBackup("b", w.in(`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP}}`)...)
	_, err := w.client.BackupStorageLocations(w.velero).Patch(t.Context(), "default", "application/merge-patch+json", []byte(`{"spec":{"accessMode":"ReadOnly"}}`), metav1.PatchOptions{})
	w.must(err)
	summary, after := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if summary.Outcome != report.Completed || after.Status.Phase != velerov1.RestorePhaseCompleted || !w.configMaps()["one"] {
		t.Errorf("summary %+v", summary)
	}
}
