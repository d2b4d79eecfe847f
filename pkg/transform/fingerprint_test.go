package transform_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

func fingerprint(t *testing.T, body string) [16]byte {
	t.Helper()
	obj, err := transform.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := obj.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// object is an object with the given metadata and fields, each with a comma in
// front.
func object(meta, fields string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"A","metadata":{"name":"x"%s}%s}`, meta, fields)
}

func TestFingerprintOfEquals(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string][2]string{
		"order of fields": {
			`{"apiVersion":"v1","kind":"A","metadata":{"name":"x","namespace":"n"},"spec":{"a":1,"b":[{"c":2,"d":3}]},"data":{}}`,
			`{"data":{},"metadata":{"namespace":"n","name":"x"},"spec":{"b":[{"d":3,"c":2}],"a":1},"kind":"A","apiVersion":"v1"}`,
		},
		"white space":        {object("", `,"spec":{"a":[1,2]}`), object("", ` , "spec" : { "a" : [ 1 , 2 ] } `)},
		"escapes":            {object("", `,"spec":{"a<":"<b>\/"}`), object("", `,"spec":{"a\u003c":"\u003cb\u003e/"}`)},
		"numbers":            {object("", `,"spec":[1.5,20,2,-0.5]`), object("", `,"spec":[1.50,2e1,2.0,-5E-1]`)},
		"managed fields":     {object("", ""), object(`,"managedFields":[{}]`, "")},
		"status":             {object("", ""), object("", `,"status":{"phase":"Bound"}`)},
		"labels of restores": {object("", ""), object(`,"labels":{"velero.io/backup-name":"b","velero.io/restore-name":"r"}`, "")},
		"other restores":     {object(`,"labels":{"a":"b","velero.io/backup-name":"b"}`, ""), object(`,"labels":{"velero.io/backup-name":"c","a":"b"}`, "")},
		"no labels":          {object("", ""), object(`,"labels":{},"annotations":null`, "")},
		"null times": {
			object("", `,"spec":{"template":{"metadata":{"labels":{}}}}`),
			object(`,"creationTimestamp":null`, `,"spec":{"template":{"metadata":{"creationTimestamp":null,"labels":{}}}}`),
		},
	} {
		if fingerprint(t, pair[0]) != fingerprint(t, pair[1]) {
			t.Errorf("%s: they differ:\n%s\n%s", name, pair[0], pair[1])
		}
	}
}

func TestFingerprintOfOthers(t *testing.T) {
	t.Parallel()
	seen := map[[16]byte]string{}
	for _, body := range []string{
		object("", ""),
		`{"apiVersion":"v2","kind":"A","metadata":{"name":"x"}}`,
		`{"apiVersion":"v1","kind":"B","metadata":{"name":"x"}}`,
		`{"apiVersion":"v1","kind":"A","metadata":{"name":"y"}}`,
		object(`,"namespace":"n"`, ""),
		object(`,"labels":{"a":"b"}`, ""),
		object(`,"labels":{"b":"a"}`, ""),
		object(`,"labels":{"velero.io/schedule-name":"b"}`, ""),
		object(`,"annotations":{"a":"b"}`, ""),
		object(`,"finalizers":["a","b"]`, ""),
		object(`,"finalizers":["b","a"]`, ""),
		object("", `,"finalizers":["a","b"]`),
		object("", `,"spec":null`), object("", `,"spec":{}`), object("", `,"spec":[]`), object("", `,"spec":""`),
		object("", `,"spec":"null"`), object("", `,"spec":true`), object("", `,"spec":false`), object("", `,"spec":"true"`),
		object("", `,"spec":1`), object("", `,"spec":"1"`), object("", `,"spec":[1]`), object("", `,"spec":[[1]]`),
		object("", `,"spec":[1,1]`), object("", `,"spec":[[1],1]`), object("", `,"spec":[1,[1]]`), object("", `,"spec":[[1,1]]`),
		object("", `,"spec":[[],[]]`), object("", `,"spec":[[[]]]`), object("", `,"spec":[{},{}]`), object("", `,"spec":[{}]`),
		object("", `,"spec":12345678901234567890`), object("", `,"spec":12345678901234567891`),
		object("", `,"spec":1e400`), object("", `,"spec":1e401`), object("", `,"spec":1.5`), object("", `,"spec":1.25`),
		object("", `,"spec":{"a":1,"b":2}`), object("", `,"spec":{"a":2,"b":1}`), object("", `,"spec":{"b":{"a":1}}`),
		object("", `,"spec":{"a":{"b":1}}`), object("", `,"spec":{"a":"b"}`), object("", `,"spec":{"b":"a"}`),
		object("", `,"spec":{"creationTimestamp":"2026-01-01T00:00:00Z"}`), object("", `,"spec":{"b":null}`),
	} {
		sum := fingerprint(t, body)
		if other, ok := seen[sum]; ok {
			t.Errorf("they are the same:\n%s\n%s", other, body)
		}
		seen[sum] = body
	}
}

// What a step opened is seen, and opening alone changes nothing.
func TestFingerprintOfOpenedObjects(t *testing.T) {
	t.Parallel()
	obj := parse(t, `spec: {a: 1.50, b: ["<", null, {}], c: {}}`)
	before, err := obj.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := obj.Edit("spec")
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := obj.Fingerprint(); err != nil || opened != before {
		t.Errorf("opening made a difference (%v)", err)
	}
	spec["a"] = json.Number("2")
	if changed, err := obj.Fingerprint(); err != nil || changed == before {
		t.Errorf("a change made none (%v)", err)
	}
}

// An object that was restored and then read from the cluster is the same.
func TestFingerprintOfRestoredObjects(t *testing.T) {
	t.Parallel()
	services := schema.GroupResource{Resource: "services"}
	transformer := transform.New(options())
	archived := parse(t, `{metadata: {namespace: shop, uid: a, resourceVersion: "1"}, spec: {clusterIP: 10.0.0.1, type: ClusterIP, ports: [{port: 80}]}}`)
	live := parse(t, `{metadata: {namespace: shop2, uid: b, resourceVersion: "9", managedFields: [{manager: m}], labels: {velero.io/restore-name: r}},
spec: {type: ClusterIP, ports: [{port: 80}], clusterIP: 10.0.0.2}, status: {loadBalancer: {}}}`)
	if _, err := transformer.Apply(services, archived); err != nil {
		t.Fatal(err)
	}
	if err := transformer.Live(services, live); err != nil {
		t.Fatal(err)
	}
	want, err := archived.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := live.Fingerprint(); err != nil || got != want {
		t.Errorf("they differ (%v)", err)
	}
}
