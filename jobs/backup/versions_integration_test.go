//go:build integration

package backup_test

import (
	"slices"
	"strings"
	"testing"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

const twoVersions = `# customresourcedefinitions
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: books.APP.example.com}
spec:
  group: APP.example.com
  scope: Namespaced
  names: {plural: books, singular: book, kind: Book}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v1beta1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
# books
{apiVersion: APP.example.com/v1beta1, kind: Book, metadata: {name: novel, namespace: APP}}
---
# horizontalpodautoscalers
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: APP}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}
`

// versionPaths lists the entries of two kinds.
func (f *fixture) versionPaths(name string) []string {
	f.t.Helper()
	var paths []string
	for _, e := range f.entries(name) {
		if strings.HasPrefix(e.path, "resources/books.") || strings.HasPrefix(e.path, "resources/horizontalpodautoscalers.") {
			paths = append(paths, strings.ReplaceAll(e.path, f.app, "APP"))
		}
	}
	slices.Sort(paths)
	return paths
}

func TestThePreferredVersionIsStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.manifests(twoVersions)
	f.backUp("one", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	want := []string{
		"resources/books.APP.example.com/namespaces/APP/novel.json",
		"resources/books.APP.example.com/v1-preferredversion/namespaces/APP/novel.json",
		"resources/horizontalpodautoscalers.autoscaling/namespaces/APP/web.json",
		"resources/horizontalpodautoscalers.autoscaling/v2-preferredversion/namespaces/APP/web.json",
	}
	if got := f.versionPaths("one"); !slices.Equal(got, want) {
		t.Errorf("entries\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEnableAPIGroupVersionsStoresAllServedVersions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.manifests(twoVersions)
	f.add("all", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	summary, _ := f.run("all", func(e *run.Env) { e.Features = []string{"EnableCSI", "EnableAPIGroupVersions"} })
	if summary.Outcome != report.Completed {
		t.Fatalf("summary %+v", summary)
	}
	want := []string{
		"resources/books.APP.example.com/namespaces/APP/novel.json",
		"resources/books.APP.example.com/v1-preferredversion/namespaces/APP/novel.json",
		"resources/books.APP.example.com/v1beta1/namespaces/APP/novel.json",
		"resources/horizontalpodautoscalers.autoscaling/namespaces/APP/web.json",
		"resources/horizontalpodautoscalers.autoscaling/v1/namespaces/APP/web.json",
		"resources/horizontalpodautoscalers.autoscaling/v2-preferredversion/namespaces/APP/web.json",
	}
	if got := f.versionPaths("all"); !slices.Equal(got, want) {
		t.Errorf("entries\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, o := range f.objects("all") {
		if apiVersion, _ := o.header(t); !strings.HasSuffix(apiVersion, o.version) {
			t.Errorf("%s at %s is %s", o, o.version, apiVersion)
		}
	}
}

// The audit of all versions of all kinds is the test.
func TestEnableAPIGroupVersionsOfTheWholeCluster(t *testing.T) {
	f := newFixture(t)
	f.manifests(twoVersions)
	f.add("all", velerov1.BackupSpec{SnapshotVolumes: new(bool)})
	if summary, _ := f.run("all", func(e *run.Env) { e.Features = []string{"EnableAPIGroupVersions"} }); summary.Outcome != report.Completed {
		t.Fatalf("summary %+v", summary)
	}
}
