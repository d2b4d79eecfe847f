package transform_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// hostile are objects that are not what their kinds ask for.
var hostile = []string{
	`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"shop"},"spec":{"serviceAccount":"a","volumes":[{"name":"a-token-"},1],"containers":{},"ports":[{"nodePort":1}]}}`,
	`{"apiVersion":"v1","kind":"Service","metadata":{"name":"x","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"spec\":{\"ports\":[1,{\"name\":1,\"nodePort\":1e9}]}}"}},"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local","ports":[null,{"nodePort":"a"}],"ipFamilies":[1,2],"ipFamilyPolicy":"PreferDualStack","claimRef":1,"conversion":[]},"webhooks":[{}],"subjects":[1]}`,
	`{"apiVersion":"v1","kind":"Service","metadata":{"name":"x","managedFields":[{"fieldsV1":{"f:spec":{"f:ports":{"k:":{"f:nodePort":{}},"k:[]":1}}}},{"operation":"Apply"}]},"spec":{"ports":[{"port":80}]}}`,
	`{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"x","finalizers":[1,"batch.kubernetes.io/job-tracking"]},"spec":{"claimRef":{"namespace":"shop"},"csi":[{"namespace":"shop"}],"persistentVolumeReclaimPolicy":"Delete"},"status":[]}`,
	`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","annotations":{"cert-manager.io/inject-ca-from":"shop/","a":"web.shop.svc"}},"type":"kubernetes.io/service-account-token","data":{"token":{}},"secrets":[{"name":"x-token-1"},1],"parameters":{"secretNamespace":1},"rules":[{"resources":[1],"resourceNames":["shop"]}]}`,
	`{"apiVersion":"a/v1","kind":"A","metadata":{"name":"x","labels":null,"ownerReferences":[{"controller":true,"kind":"Job","apiVersion":"batch/v1"}],"deletionTimestamp":1},"spec":null,"data":"\u0073hop"}`,
}

// kindsToFuzz are those that anything is done to, and one that isn't known.
func kindsToFuzz(t testing.TB) []schema.GroupResource {
	resources := map[schema.GroupResource]bool{{Group: "example.com", Resource: "widgets"}: true}
	for _, f := range fixtures(t) {
		resources[f.resource] = true
	}
	for _, tc := range references {
		resources[schema.ParseGroupResource(tc.resource)] = true
	}
	for resource := range podSpecs {
		resources[schema.ParseGroupResource(resource)] = true
	}
	for _, resource := range []string{
		"schedules.velero.io", "ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io", "volumesnapshots.snapshot.storage.k8s.io",
	} {
		resources[schema.ParseGroupResource(resource)] = true
	}
	return slices.SortedFunc(maps.Keys(resources), func(a, b schema.GroupResource) int {
		return bytes.Compare([]byte(a.String()), []byte(b.String()))
	})
}

func seed(f *testing.F) {
	for _, fixture := range fixtures(f) {
		f.Add(fixture.body)
	}
	for _, body := range hostile {
		f.Add([]byte(body))
	}
}

// FuzzApply takes each object through the transforms of every kind. None may
// panic; what comes out is an object of the same name in a namespace that nothing
// is to be moved from, and can be compared with itself.
func FuzzApply(f *testing.F) {
	seed(f)
	resources := kindsToFuzz(f)
	opts := options(func(o *transform.Options) {
		o.Mentions = true
		o.NamespaceMapping = map[string]string{"shop": "shop2", "default": "other"}
	})
	transformer := transform.New(opts)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, resource := range resources {
			before, err := transform.Parse(body)
			if err != nil {
				return
			}
			_, _ = transform.Needs(resource, before)
			_ = transformer.Live(resource, before)
			obj, err := transform.Parse(body)
			if err != nil {
				t.Fatalf("parsed once: %v", err)
			}
			decision, err := transformer.Apply(resource, obj)
			if err != nil || decision.Skip != "" {
				continue
			}
			checkApplied(t, resource, body, obj)
		}
	})
}

func checkApplied(t *testing.T, resource schema.GroupResource, body []byte, obj *transform.Object) {
	t.Helper()
	out, err := obj.Encode()
	if err != nil {
		t.Fatalf("%s: %v", resource, err)
	}
	if !json.Valid(out) {
		t.Fatalf("%s: output is no JSON: %s", resource, out)
	}
	// Not into a struct: its fields would be found whatever their case.
	was, is := decode(t, body)["metadata"].(map[string]any), decode(t, out)["metadata"].(map[string]any)
	if is["name"] != was["name"] {
		t.Fatalf("%s: %q became %q", resource, was["name"], is["name"])
	}
	if is["namespace"] == "shop" || is["namespace"] == "default" {
		t.Fatalf("%s: it stays in %s: %s", resource, is["namespace"], out)
	}
	again, err := transform.Parse(out)
	if err != nil {
		t.Fatalf("%s: output is no object: %v: %s", resource, err, out)
	}
	compareFingerprints(t, obj, again)
}

func compareFingerprints(t *testing.T, a, b *transform.Object) {
	t.Helper()
	one, errOne := a.Fingerprint()
	two, errTwo := b.Fingerprint()
	if errOne != nil || errTwo != nil || one != two {
		t.Fatalf("fingerprints differ (%v, %v)", errOne, errTwo)
	}
}

// FuzzParse compares with encoding/json: what is accepted comes out as the same
// object, and the same object written in another way has the same fingerprint.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		obj, err := transform.Parse(body)
		if err != nil {
			return
		}
		out, err := obj.Encode()
		if err != nil {
			t.Fatal(err)
		}
		want, got := normalized(t, body), normalized(t, out)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("object (-want +got):\n%s", diff)
		}
		rewritten, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := transform.Parse(rewritten)
		if err != nil {
			t.Fatalf("%v: %s", err, rewritten)
		}
		compareFingerprints(t, obj, again)
		for field := range want {
			if value, err := obj.Edit(field); err == nil && value != nil {
				compareFingerprints(t, obj, again) // opened, they are encoded anew
			}
		}
	})
}

// normalized is an object as encoding/json reads it, without what Encode leaves
// out: labels, annotations and a namespace that say nothing.
func normalized(t *testing.T, body []byte) map[string]any {
	t.Helper()
	object := decode(t, body)
	meta := object["metadata"].(map[string]any)
	for _, field := range []string{"labels", "annotations"} {
		values, _ := meta[field].(map[string]any)
		for key, value := range values {
			if value == nil {
				values[key] = ""
			}
		}
		if len(values) == 0 {
			delete(meta, field)
		}
	}
	if meta["namespace"] == nil || meta["namespace"] == "" {
		delete(meta, "namespace")
	}
	return object
}
