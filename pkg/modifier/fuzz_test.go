package modifier_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/modifier"
)

// everyPatch has rules with patches of each kind, for whatever object comes.
func everyPatch(t testing.TB) *modifier.Rules {
	return parse(t,
		touch("{groupResource: '*.*', matches: [{path: /spec/replicas, value: 3}]}"),
		touch(`{groupResource: '*.*', matches: [{path: /spec/list, value: '[null, {"a": 1}]'}]}`),
		"{conditions: {groupResource: '*.*'}, patches: [{operation: test, path: /spec/a/0, value: '[1]'}, {operation: replace, path: /spec/a/0/b, value: 2}]}",
		"{conditions: {groupResource: '*.*'}, patches: [{operation: copy, from: /spec, path: /spec/copy}, {operation: move, from: /spec/copy/a, path: /spec/a/-}]}",
		"{conditions: {groupResource: '*.*'}, patches: [{operation: add, path: /spec/a/-1, value: x}, {operation: remove, path: /spec/a/1}]}",
		"{conditions: {groupResource: '*.*'}, mergePatches: [{patchData: '{spec: {a: {b: {c: null, d: [null]}}}, metadata: {labels: {x: z}}}'}]}",
		"{conditions: {groupResource: '*.*'}, strategicPatches: [{patchData: '{metadata: {finalizers: [a]}, spec: {template: {spec: {$setElementOrder/containers: [{name: b}, {name: a}], containers: [{name: a, env: [{name: X, value: y}], ports: [{containerPort: 80}]}, {name: b, $patch: delete}], tolerations: []}}}}'}]}",
		"{conditions: {groupResource: '*.*'}, strategicPatches: [{patchData: '{$deleteFromPrimitiveList/finalizers: [a], spec: {strategy: {$retainKeys: [type], type: Recreate}, containers: [{name: a, $patch: replace}]}}'}]}",
	)
}

// FuzzApply feeds any bytes as an object: what comes out is the same object in
// valid JSON, or body itself and an error.
func FuzzApply(f *testing.F) {
	for _, seed := range []string{
		web, "", "{}", "null", "[]", `{"metadata":{}}`,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"finalizers":[null],"name":"web"},"spec":{"a":[[1],null],"list":[null,{"a":1}],"template":{"spec":{"containers":[null,{"name":"a"},{"name":{}}]}}}}`,
		`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","finalizers":["a","a"]},"spec":{"a":{"b":{"c":1}},"containers":[{"name":"a"}]}}`,
		`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":{"name":"a"},"replicas":3}}`,
		`{"apiVersion":"example.org/v1","kind":"Shop","metadata":{"name":"a"},"spec":{"a":[1,[{"b":1}]],"a":1e400}}`,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":null}`,
	} {
		f.Add([]byte(seed))
	}
	rules := everyPatch(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		out, errs := rules.Apply(subject(), body)
		var before, after struct {
			APIVersion, Kind any
			Metadata         struct{ Name, Namespace any }
		}
		if json.Unmarshal(body, &before) != nil {
			if len(errs) != 1 || string(out) != string(body) {
				t.Fatalf("%q, %v", out, errs)
			}
			return
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%v: %q", err, out)
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("became another object: %s", out)
		}
	})
}

// FuzzParse feeds any text as rules, and what is good as rules to an object.
func FuzzParse(f *testing.F) {
	page, err := os.ReadFile("../../docs/modifiers.md")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(page), "", "version: v1", text(touch("{groupResource: '*.*'}")), text("{}"),
		conditionRule("{groupResource: '*.{a,b}', resourceNameRegex: 'a*', namespaces: ['?'], labelSelector: {matchExpressions: [{key: a, operator: In, values: [b]}]}, matches: [{path: /a~1b, value: '{}'}]}"),
		patchRule(`patches: [{operation: Add, path: /spec/-, value: '"1"'}, {operation: move, from: /a, path: /b}, {operation: test, path: /spec, value: '[null]'}]`),
		patchRule("strategicPatches: [{patchData: '{$patch: replace, spec: {$retainKeys: [a, [b]], template: {spec: {containers: [{name: log, $patch: delete}, null]}}}}'}]"),
		patchRule("mergePatches: [{patchData: \"a: &a [*a]\\nb: !!binary x\\n? [c]\\n: d\"}]"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := modifier.Parse(text)
		if err == nil {
			if r == nil {
				t.Fatal("neither rules nor an error")
			}
			r.Apply(subject(), []byte(web))
			return
		}
		var invalid *modifier.ValidationError
		if !errors.As(err, &invalid) || len(invalid.Problems) == 0 || r != nil {
			t.Fatalf("%v, %v", r, err)
		}
		for _, problem := range invalid.Problems {
			var line int
			if _, err := fmt.Sscanf(problem, "line %d", &line); err != nil || line < 1 {
				t.Errorf("no line: %q", problem)
			}
		}
	})
}
