package transform_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

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
		"name twice":       `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","name":"y"}}`,
		"metadata twice":   `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"metadata":{"name":"y"}}`,
		"twice inside":     `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"a":{"b":1,"b":2}}}`,
		"twice by escape":  `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"a":1,"\u0061":2}}`,
		"more than one":    `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}} {}`,
		"more text":        `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}]`,
		"nothing":          ``,
		"null":             `null`,
		"no UTF-8":         "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"},\"spec\":\"\xff\"}",
		"name is a path":   `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"../x"}}`,
		"name is ..":       `{"apiVersion":"v1","kind":"Pod","metadata":{"name":".."}}`,
		"namespace a path": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"a/b"}}`,
		"labels are text":  `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","labels":"a"}}`,
		"cut off":          `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"a":`,
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

func TestWhatNobodyTouchesComesOutAsItWentIn(t *testing.T) {
	t.Parallel()
	const body = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","annotations":{"z":"\u003c","a":""},"finalizers":["f"]},"zeta":{"b" :1,"a":[ ]},"data":null}`
	obj, err := transform.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := obj.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(body, string(got)); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
}

func TestReadSeesWhatWasChanged(t *testing.T) {
	t.Parallel()
	obj := parse(t, `{spec: {replicas: 1, paused: true}, list: [1]}`)
	spec, err := obj.Edit("spec")
	if err != nil {
		t.Fatal(err)
	}
	spec["replicas"] = 2 // not a json.Number: callers put in what they have
	obj.SetList("list", nil)
	obj.SetList("more", []any{"a"})
	var got struct {
		Replicas int
		Paused   bool
	}
	if err := obj.Read("spec", &got); err != nil {
		t.Fatal(err)
	}
	if got.Replicas != 2 || !got.Paused {
		t.Errorf("read %+v", got)
	}
	body, err := obj.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"apiVersion":"v1","kind":"Any","metadata":{"name":"x"},"spec":{"paused":true,"replicas":2},"more":["a"]}`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
}

// Controllers compare the data of ControllerRevisions with what they write
// themselves byte by byte: what differs is rolled out.
func TestOpenedFieldsAreWrittenAsKubernetesDoes(t *testing.T) {
	t.Parallel()
	data := map[string]any{"spec": map[string]any{"b": []any{1.5, "a && b > c < d", nil, true}, "a": "ä\u2028"}}
	body, err := json.Marshal(map[string]any{"apiVersion": "apps/v1", "data": data, "kind": "ControllerRevision", "metadata": map[string]any{"name": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	obj, err := transform.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := obj.Edit("data"); err != nil {
		t.Fatal(err)
	}
	got, err := obj.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got), `"data":`+string(want)) {
		t.Errorf("encoded %s, want data %s", got, want)
	}
}

func TestValuesThatAreNoJSONAreErrors(t *testing.T) {
	t.Parallel()
	obj := parse(t, `spec: {a: 1}`)
	spec, err := obj.Edit("spec")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]any{"channel": make(chan int), "number": json.Number("1x"), "text": "\xff", "key": map[string]any{"\xff": 1}} {
		spec["a"] = value
		if body, err := obj.Encode(); err == nil {
			t.Errorf("%s was encoded: %s", name, body)
		}
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	const before = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"shop","labels":{"a":"b"}},"spec":{},"status":{"phase":"Running"}}`
	for name, tc := range map[string]struct{ body, want string }{
		"changed":                  {`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"shop"},"spec":{"a":1}}`, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"shop"},"spec":{"a":1}}`},
		"the namespace stays":      {`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"kube-system"}}`, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"shop"}}`},
		"it can't be removed":      {`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}`, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"shop"}}`},
		"the name must stay":       {`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"y"}}`, ""},
		"the kind must stay":       {`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}`, ""},
		"the apiVersion must stay": {`{"apiVersion":"v2","kind":"Pod","metadata":{"name":"x"}}`, ""},
		"no JSON":                  {`{`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			obj, err := transform.Parse([]byte(before))
			if err != nil {
				t.Fatal(err)
			}
			want := tc.want
			if err := obj.Replace([]byte(tc.body)); (err == nil) != (want != "") {
				t.Fatalf("Replace: %v", err)
			}
			if want == "" {
				want = before
			}
			got, err := obj.JSON()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("object (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusOutlivesApply(t *testing.T) {
	t.Parallel()
	replace := func(_ schema.GroupResource, obj *transform.Object) (transform.Decision, error) {
		body, err := obj.JSON()
		if err != nil {
			return transform.Decision{}, err
		}
		return transform.Decision{}, obj.Replace(body)
	}
	obj := parse(t, `{spec: {}, status: {ready: true}}`)
	opts := options(func(o *transform.Options) { o.Actions = []transform.Action{replace} })
	if _, err := transform.New(opts).Apply(schema.GroupResource{Resource: "widgets"}, obj); err != nil {
		t.Fatal(err)
	}
	if got := string(obj.Status()); got != `{"ready":true}` {
		t.Errorf("Status = %s", got)
	}
	if body, err := obj.Encode(); err != nil || strings.Contains(string(body), "status") {
		t.Errorf("encoded %s, %v", body, err)
	}
	if got := parse(t, `spec: {}`).Status(); got != nil {
		t.Errorf("without any, Status = %s", got)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	obj := parse(t, `
metadata:
  uid: u
  creationTimestamp: "2026-01-02T03:04:05Z"
  deletionTimestamp: "2026-01-02T03:04:06Z"
  ownerReferences: [{kind: A, controller: false}, {apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: v, controller: true}]
`)
	if obj.UID() != "u" || !obj.Deleting() || obj.CreationTime().UTC().Format(time.RFC3339) != "2026-01-02T03:04:05Z" {
		t.Errorf("uid %q, deleting %t, created %s", obj.UID(), obj.Deleting(), obj.CreationTime())
	}
	owner, ok := obj.Controller()
	want := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "v", Controller: new(true)}
	if diff := cmp.Diff(want, owner); !ok || diff != "" {
		t.Errorf("controller (-want +got):\n%s", diff)
	}
	for _, meta := range []string{
		`{}`, `{uid: null, creationTimestamp: null, deletionTimestamp: null, ownerReferences: null}`,
		`{uid: [], creationTimestamp: 1, ownerReferences: {controller: true}}`, `{uid: 1, creationTimestamp: "1", ownerReferences: [1, {controller: "true"}]}`,
	} {
		obj := parse(t, `metadata: `+meta)
		created := obj.CreationTime()
		if _, ok := obj.Controller(); ok || obj.UID() != "" || !created.IsZero() || obj.Deleting() {
			t.Errorf("%s was read as something", meta)
		}
	}
}
