package transform_test

import (
	"encoding/json"
	"errors"
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

func TestApplyRefusesFieldsOfTheWrongShape(t *testing.T) {
	t.Parallel()
	for resource, body := range map[string]string{
		"pods":                   `spec: text`,
		"services":               `spec: [1]`,
		"jobs.batch":             `status: 1`,
		"secrets":                `{type: kubernetes.io/service-account-token, data: 1}`,
		"serviceaccounts":        `secrets: {a: b}`,
		"persistentvolumes":      `spec: 1`,
		"persistentvolumeclaims": `spec: 1`,
		"customresourcedefinitions.apiextensions.k8s.io":               `spec: []`,
		"validatingwebhookconfigurations.admissionregistration.k8s.io": `{apiVersion: admissionregistration.k8s.io/v1, webhooks: {}}`,
		"schedules.velero.io": `spec: 1`,
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

// note appends to the annotation "seen" what an Action sees.
func note(text string) transform.Action {
	return func(resource schema.GroupResource, obj *transform.Object) (transform.Decision, error) {
		seen := obj.Annotation("seen") + text + " " + resource.String() + " in " + obj.Namespace() + ";"
		obj.SetAnnotation("seen", seen)
		return transform.Decision{Warnings: []error{errors.New(text)}}, nil
	}
}

func TestActionsRunInOrderWhereTheObjectWas(t *testing.T) {
	t.Parallel()
	opts := options(func(o *transform.Options) { o.Actions = []transform.Action{note("a"), note("b")} })
	obj := parse(t, `{metadata: {namespace: shop, uid: u}, spec: {clusterIP: 10.0.0.1}, status: {}}`)
	decision, err := transform.New(opts).Apply(schema.GroupResource{Resource: "services"}, obj)
	if err != nil {
		t.Fatal(err)
	}
	if got := errors.Join(decision.Warnings...).Error(); got != "a\nb" {
		t.Errorf("warnings %q", got)
	}
	want := decode(t, toJSON(t, `{metadata: {namespace: shop2, annotations: {seen: "a services in shop;b services in shop;"}}, spec: {}}`))
	if diff := cmp.Diff(want, encode(t, obj)); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
}

func TestActionsEndAnObjectsWay(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		decision transform.Decision
		err      error
	}{
		"skip":  {transform.Decision{Skip: "no", Errors: []error{boom}}, nil},
		"error": {transform.Decision{}, boom},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stop := func(schema.GroupResource, *transform.Object) (transform.Decision, error) { return tc.decision, tc.err }
			opts := options(func(o *transform.Options) { o.Actions = []transform.Action{note("a"), stop, note("b")} })
			decision, err := transform.New(opts).Apply(schema.GroupResource{Resource: "widgets"}, parse(t, `{}`))
			if !errors.Is(err, tc.err) || decision.Skip != tc.decision.Skip || len(decision.Errors) != len(tc.decision.Errors) {
				t.Errorf("decision %+v, error %v", decision, err)
			}
			if len(decision.Warnings) != 1 {
				t.Errorf("warnings %v: the last action ran, or the first did not count", decision.Warnings)
			}
		})
	}
}

func TestActionsDoNotSeeWhatIsLeftOutOrLive(t *testing.T) {
	t.Parallel()
	never := func(schema.GroupResource, *transform.Object) (transform.Decision, error) {
		return transform.Decision{}, errors.New("an action ran")
	}
	transformer := transform.New(options(func(o *transform.Options) { o.Actions = []transform.Action{never} }))
	if _, err := transformer.Apply(transform.Pods, parse(t, `{status: {phase: Failed}}`)); err != nil {
		t.Error(err)
	}
	if err := transformer.Live(transform.Pods, parse(t, `{spec: {}}`)); err != nil {
		t.Error(err)
	}
}

// Live normalizes what Apply would leave out, too: else it would differ.
func TestLiveChangesWhatApplyLeavesOut(t *testing.T) {
	t.Parallel()
	live := parse(t, `{metadata: {ownerReferences: []}, spec: {nodeName: n1}, status: {phase: Succeeded}}`)
	if err := transform.New(options()).Live(transform.Pods, live); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode(t, toJSON(t, `spec: {}`)), encode(t, live)); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
}
