package transform_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

const stateBefore = "../../testdata/fixtures/velero-1.18.0/state-before"

// clusterScoped are the kinds of the fixture's objects without a namespace, by
// the beginnings of their files' names.
var clusterScoped = map[string]string{
	"clusterrole": "clusterroles.rbac.authorization.k8s.io", "clusterrolebinding": "clusterrolebindings.rbac.authorization.k8s.io",
	"crd": "customresourcedefinitions.apiextensions.k8s.io", "ns": "namespaces", "priorityclass": "priorityclasses.scheduling.k8s.io",
	"pv": "persistentvolumes", "region": "regions.shop.example.com", "sc": "storageclasses.storage.k8s.io",
	"validatingwebhookconfiguration": "validatingwebhookconfigurations.admissionregistration.k8s.io",
}

type fixture struct {
	resource schema.GroupResource
	body     []byte // without needless white space
}

// fixtures are the objects of a real cluster.
func fixtures(t testing.TB) map[string]fixture {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(stateBefore, "*", "*.json"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	all := map[string]fixture{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		if err := json.Compact(&body, raw); err != nil {
			t.Fatal(err)
		}
		resource := filepath.Base(filepath.Dir(file))
		if resource == "_cluster" {
			prefix, _, _ := strings.Cut(filepath.Base(file), "_")
			resource = clusterScoped[prefix]
		}
		name := resource + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
		all[name] = fixture{schema.ParseGroupResource(resource), body.Bytes()}
	}
	return all
}

// A real cluster's objects move as a whole: nothing in them is left behind, and
// nothing only looks so.
func TestFixturesMove(t *testing.T) {
	t.Parallel()
	transformer := transform.New(options(func(o *transform.Options) { o.Mentions = true }))
	want := map[string]bool{ // what stays out
		"configmaps/kube-root-ca.crt": true, "endpoints/db": true, "endpoints/lb": true, "endpoints/web": true,
		"endpoints/web-nodeport": true, "endpointslices.discovery.k8s.io/db-rlsp6": true, "endpointslices.discovery.k8s.io/lb-n8kq6": true,
		"endpointslices.discovery.k8s.io/web-gmttq": true, "endpointslices.discovery.k8s.io/web-nodeport-cxqzm": true,
		"jobs.batch/migrate": true, "pods/migrate-qjwxv": true,
	}
	got := map[string]bool{}
	for name, f := range fixtures(t) {
		obj, err := transform.Parse(f.body)
		if err != nil {
			t.Fatal(err)
		}
		decision, err := transformer.Apply(f.resource, obj)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if decision.Skip != "" {
			got[name] = true
			continue
		}
		if len(decision.Mentions)+len(decision.Warnings)+len(decision.Errors) > 0 {
			t.Errorf("%s: %+v", name, decision)
		}
		if obj.Namespace() != "" && obj.Namespace() != "shop2" {
			t.Errorf("%s is in namespace %q", name, obj.Namespace())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
}
