package transform_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// options are those of a restore that asks for nothing special.
func options(changes ...func(*transform.Options)) transform.Options {
	o := transform.Options{
		BackupName: "b", RestoreName: "r", RestoreVolumes: true,
		VeleroNamespaces: []string{"velero"},
		Secrets:          []string{"cloud-credentials"},
		NamespaceMapping: map[string]string{"shop": "shop2"},
	}
	for _, change := range changes {
		change(&o)
	}
	return o
}

// testCase is an object before and after. Objects are YAML without what the
// test adds by itself: see run.
type testCase struct {
	name     string
	resource string // as resource.group
	options  func(*transform.Options)
	in       string
	want     string // empty: nothing but the common changes
	decision transform.Decision
	problems int // number of warnings and errors
}

// run applies a case. metadata.name "x" is added where there is none, and the
// two labels of the restore are left out of the comparison.
func run(t *testing.T, cases []testCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			opts := options()
			if tc.options != nil {
				tc.options(&opts)
			}
			obj := parse(t, tc.in)
			decision, err := transform.New(opts).Apply(schema.ParseGroupResource(tc.resource), obj)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(decision.Warnings) + len(decision.Errors); got != tc.problems {
				t.Errorf("%d warnings and errors, want %d: %v %v", got, tc.problems, decision.Warnings, decision.Errors)
			}
			decision.Warnings, decision.Errors = nil, nil
			if diff := cmp.Diff(tc.decision, decision); diff != "" {
				t.Fatalf("decision (-want +got):\n%s", diff)
			}
			if tc.decision.Skip != "" {
				return
			}
			want := tc.want
			if want == "" {
				want = tc.in
			}
			if diff := cmp.Diff(decode(t, toJSON(t, want)), encode(t, obj)); diff != "" {
				t.Errorf("object (-want +got):\n%s", diff)
			}
		})
	}
}

func toJSON(t *testing.T, text string) []byte {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	object := decode(t, body)
	meta, _ := object["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		object["metadata"] = meta
	}
	if meta["name"] == nil {
		meta["name"] = "x"
	}
	for key, value := range map[string]string{"apiVersion": "v1", "kind": "Any"} {
		if object[key] == nil {
			object[key] = value
		}
	}
	body, err = json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func parse(t *testing.T, text string) *transform.Object {
	t.Helper()
	obj, err := transform.Parse(toJSON(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func decode(t *testing.T, body []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	var out map[string]any
	if err := decoder.Decode(&out); err != nil {
		t.Fatalf("decode %s: %v", body, err)
	}
	return out
}

// encode returns the object without the restore's labels, which it checks.
func encode(t *testing.T, obj *transform.Object) map[string]any {
	t.Helper()
	body, err := obj.Encode()
	if err != nil {
		t.Fatal(err)
	}
	object := decode(t, body)
	meta := object["metadata"].(map[string]any)
	labels, _ := meta["labels"].(map[string]any)
	if labels["velero.io/backup-name"] != "b" || labels["velero.io/restore-name"] != "r" {
		t.Errorf("labels %v lack those of the restore", labels)
	}
	delete(labels, "velero.io/backup-name")
	delete(labels, "velero.io/restore-name")
	if len(labels) == 0 {
		delete(meta, "labels")
	}
	return object
}

func TestEveryKind(t *testing.T) {
	t.Parallel()
	run(t, []testCase{{
		name: "identity and status go, the rest stays", resource: "widgets.example.com",
		in: `
metadata:
  name: x
  namespace: other
  generateName: x-
  selfLink: /x
  uid: u
  resourceVersion: "1"
  generation: 2
  creationTimestamp: "2026-01-01T00:00:00Z"
  deletionTimestamp: null
  deletionGracePeriodSeconds: 3
  ownerReferences: [{apiVersion: v1, kind: Owner, name: o, uid: u}]
  labels: {a: b}
  annotations: {c: d}
  finalizers: [example.com/hold]
spec: {a: 1}
status: {phase: Done}
extra: [1, 2]
`,
		want: `
metadata: {name: x, namespace: other, labels: {a: b}, annotations: {c: d}, finalizers: [example.com/hold]}
spec: {a: 1}
extra: [1, 2]
`,
	}, {
		name: "namespace mapped", resource: "widgets.example.com",
		in:   `metadata: {namespace: shop}`,
		want: `metadata: {namespace: shop2}`,
	}})
}

func TestNumbersSurvive(t *testing.T) {
	t.Parallel()
	const spec = `{"big":12345678901234567890,"exp":1e400,"f":1.50,"nested":{"a":[1,"two",null,true,-0.0]},"tags":"<&>"}`
	for _, resource := range []schema.GroupResource{{Group: "example.com", Resource: "widgets"}, {Resource: "services"}} {
		obj, err := transform.Parse([]byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"x","namespace":"n"},"spec":` + spec + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transform.New(options()).Apply(resource, obj); err != nil {
			t.Fatal(err)
		}
		body, err := obj.Encode()
		if err != nil {
			t.Fatal(err)
		}
		want := decode(t, []byte(spec))
		if diff := cmp.Diff(want, decode(t, body)["spec"]); diff != "" {
			t.Errorf("spec of %s (-want +got):\n%s", resource, diff)
		}
	}
}

func TestParseRefusesWhatIsNoObject(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no JSON":          `{`,
		"a list":           `[]`,
		"no metadata":      `{"apiVersion":"v1","kind":"Pod"}`,
		"no name":          `{"apiVersion":"v1","kind":"Pod","metadata":{}}`,
		"no kind":          `{"apiVersion":"v1","metadata":{"name":"x"}}`,
		"metadata is text": `{"apiVersion":"v1","kind":"Pod","metadata":"x"}`,
		"label is number":  `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","labels":{"a":1}}}`,
		"name is number":   `{"apiVersion":"v1","kind":"Pod","metadata":{"name":1}}`,
		"bad apiVersion":   `{"apiVersion":"a/b/c","kind":"Pod","metadata":{"name":"x"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := transform.Parse([]byte(body)); err == nil {
				t.Error("it was accepted")
			}
		})
	}
}

func TestApplyRefusesFieldsOfTheWrongShape(t *testing.T) {
	t.Parallel()
	for resource, body := range map[string]string{
		"pods":                               `spec: text`,
		"services":                           `spec: [1]`,
		"jobs.batch":                         `status: 1`,
		"secrets":                            `{type: kubernetes.io/service-account-token, data: 1}`,
		"serviceaccounts":                    `secrets: {a: b}`,
		"persistentvolumes":                  `spec: 1`,
		"apiservices.apiregistration.k8s.io": `spec: 1`,
	} {
		t.Run(resource, func(t *testing.T) {
			t.Parallel()
			if _, err := transform.New(options()).Apply(schema.ParseGroupResource(resource), parse(t, body)); err == nil {
				t.Error("it was accepted")
			}
		})
	}
}

func TestLiveIsNotMappedAndIsComparable(t *testing.T) {
	t.Parallel()
	transformer := transform.New(options())
	archived := parse(t, `{metadata: {namespace: shop, uid: a}, spec: {clusterIP: 10.0.0.1, type: ClusterIP}}`)
	live := parse(t, `{metadata: {namespace: shop2, uid: b, managedFields: [{manager: m}]}, spec: {clusterIP: 10.0.0.2, type: ClusterIP}}`)
	services := schema.GroupResource{Resource: "services"}
	if _, err := transformer.Apply(services, archived); err != nil {
		t.Fatal(err)
	}
	if err := transformer.Live(services, live); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(encode(t, archived), encode(t, live)); diff != "" {
		t.Errorf("they differ (-archived +live):\n%s", diff)
	}
}

func TestApplied(t *testing.T) {
	t.Parallel()
	for managed, want := range map[string]bool{
		`[{manager: kubectl, operation: Apply}]`:                            true,
		`[{manager: a, operation: Update}, {manager: b, operation: Apply}]`: true,
		`[{manager: kubectl, operation: Update}]`:                           false,
		`null`: false, `text`: false,
	} {
		if got := parse(t, `metadata: {managedFields: `+managed+`}`).Applied(); got != want {
			t.Errorf("Applied with %s = %t, want %t", managed, got, want)
		}
	}
}

// FuzzApply feeds every transform with whatever parses: none may panic, and
// what comes out is JSON.
func FuzzApply(f *testing.F) {
	resources := []string{
		"pods", "services", "jobs.batch", "secrets", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims",
		"configmaps", "endpoints", "endpointslices.discovery.k8s.io", "customresourcedefinitions.apiextensions.k8s.io",
		"apiservices.apiregistration.k8s.io", "validatingwebhookconfigurations.admissionregistration.k8s.io",
		"rolebindings.rbac.authorization.k8s.io", "schedules.velero.io", "widgets.example.com",
	}
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"shop"},"spec":{"volumes":[{"name":"a"}],"ports":[{"nodePort":1}]}}`))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Service","metadata":{"name":"x","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"spec\":{\"ports\":[1]}}"}},"spec":{"ports":[null,{"nodePort":"a"}],"claimRef":1,"conversion":[]},"webhooks":[{}],"subjects":[1]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, resource := range resources {
			obj, err := transform.Parse(body)
			if err != nil {
				return
			}
			gr := schema.ParseGroupResource(resource)
			_, _ = transform.Needs(gr, obj)
			if _, err := transform.New(options()).Apply(gr, obj); err != nil {
				continue
			}
			out, err := obj.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(out) {
				t.Fatalf("%s: output is no JSON: %s", resource, out)
			}
		}
	})
}
