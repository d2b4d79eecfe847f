package modifier_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/modifier"
)

// containers returns those of web.
func containers(o map[string]any) []any {
	return at(o, "spec", "template", "spec")["containers"].([]any)
}

func TestPatches(t *testing.T) {
	t.Parallel()
	spec := func(change func(spec map[string]any)) func(map[string]any) {
		return func(o map[string]any) { change(at(o, "spec")) }
	}
	none := func(map[string]any) {}
	for _, c := range []struct {
		name, patches string
		want          func(o map[string]any)
	}{
		{"add", "patches: [{operation: add, path: /spec/minReadySeconds, value: 5}]", spec(func(s map[string]any) { s["minReadySeconds"] = 5.0 })},
		{"add over what is there", "patches: [{operation: add, path: /spec/replicas, value: 5}]", spec(func(s map[string]any) { s["replicas"] = 5.0 })},
		{"add to a list", "patches: [{operation: add, path: /spec/template/spec/containers/-, value: '{\"name\": \"x\"}'}]", func(o map[string]any) {
			at(o, "spec", "template", "spec")["containers"] = append(containers(o), map[string]any{"name": "x"})
		}},
		{"add into a list", "patches: [{operation: add, path: /spec/template/spec/tolerations/0, value: '{\"key\": \"b\"}'}]", func(o map[string]any) {
			at(o, "spec", "template", "spec")["tolerations"] = []any{map[string]any{"key": "b"}, map[string]any{"key": "a"}}
		}},
		{"remove", "patches: [{operation: remove, path: /spec/replicas}]", spec(func(s map[string]any) { delete(s, "replicas") })},
		{"remove an annotation", "patches: [{operation: remove, path: /metadata/annotations/example.org~1owner}]", func(o map[string]any) { delete(at(o, "metadata", "annotations"), "example.org/owner") }},
		{"remove the last of a list", "patches: [{operation: remove, path: /spec/template/spec/containers/-1}]", func(o map[string]any) {
			at(o, "spec", "template", "spec")["containers"] = containers(o)[:1]
		}},
		{"replace", "patches: [{operation: replace, path: /spec/template/spec/containers/1/image, value: 'new:2'}]", func(o map[string]any) { at(containers(o), "1")["image"] = "new:2" }},
		{"move", "patches: [{operation: move, from: /metadata/labels/tier, path: /metadata/labels/layer}]", func(o map[string]any) {
			l := at(o, "metadata", "labels")
			l["layer"] = l["tier"]
			delete(l, "tier")
		}},
		{"copy", "patches: [{operation: copy, from: /spec/template/spec/containers/0, path: /spec/template/spec/containers/-}, {operation: replace, path: /spec/template/spec/containers/2/name, value: web2}]", func(o map[string]any) {
			twin := map[string]any{"name": "web2"}
			for key, value := range at(containers(o), "0") {
				if key != "name" {
					twin[key] = value
				}
			}
			at(o, "spec", "template", "spec")["containers"] = append(containers(o), twin)
		}},
		{"in order", "patches: [{operation: add, path: /spec/x, value: '{}'}, {operation: add, path: /spec/x/y, value: 1}]", spec(func(s map[string]any) { s["x"] = map[string]any{"y": 1.0} })},
		{"the last one wins", "patches: [{operation: replace, path: /spec/replicas, value: 1}, {operation: replace, path: /spec/replicas, value: 2}]", spec(func(s map[string]any) { s["replicas"] = 2.0 })},
		{"operation in capitals", "patches: [{operation: Replace, path: /spec/replicas, value: 1}]", spec(func(s map[string]any) { s["replicas"] = 1.0 })},
		{"test that holds", "patches: [{operation: test, path: /spec/replicas, value: 3}, {operation: replace, path: /spec/replicas, value: 1}]", spec(func(s map[string]any) { s["replicas"] = 1.0 })},
		{"test that fails", "patches: [{operation: test, path: /spec/replicas, value: 2}, {operation: replace, path: /spec/replicas, value: 1}]", none},
		{"test that fails later", "patches: [{operation: replace, path: /spec/replicas, value: 1}, {operation: test, path: /spec/replicas, value: 3}]", none},
		{"test of what the patch has made", "patches: [{operation: replace, path: /spec/replicas, value: 1}, {operation: test, path: /spec/replicas, value: 1}]", spec(func(s map[string]any) { s["replicas"] = 1.0 })},
		{"test of a missing field", "patches: [{operation: test, path: /spec/no, value: 2}, {operation: replace, path: /spec/replicas, value: 1}]", none},
		{"test below a missing field", "patches: [{operation: test, path: /no/no, value: 2}, {operation: replace, path: /spec/replicas, value: 1}]", none},
		{"test of a missing element", "patches: [{operation: test, path: /spec/template/spec/containers/9, value: 2}, {operation: replace, path: /spec/replicas, value: 1}]", none},

		{"merge", "mergePatches: [{patchData: '{\"spec\": {\"replicas\": 1, \"paused\": null}, \"metadata\": {\"labels\": {\"new\": \"1\"}}}'}]", func(o map[string]any) {
			at(o, "spec")["replicas"] = 1.0
			delete(at(o, "spec"), "paused")
			at(o, "metadata", "labels")["new"] = "1"
		}},
		{"merge: YAML", "mergePatches: [{patchData: \"metadata:\\n  annotations:\\n    example.org/owner: null\\n\"}]", func(o map[string]any) { delete(at(o, "metadata", "annotations"), "example.org/owner") }},
		{"merge: what isn't there", "mergePatches: [{patchData: '{spec: {strategy: {type: Recreate, x: null}}}'}]", spec(func(s map[string]any) { s["strategy"] = map[string]any{"type": "Recreate"} })},
		{"merge: removing what isn't there", "mergePatches: [{patchData: '{spec: {strategy: null}}'}]", none},
		{"merge: lists are replaced", "mergePatches: [{patchData: '{spec: {template: {spec: {containers: [{name: x}]}}}}'}]", func(o map[string]any) {
			at(o, "spec", "template", "spec")["containers"] = []any{map[string]any{"name": "x"}}
		}},
		{"merge: one after the other", "mergePatches: [{patchData: '{spec: {x: {a: 1}}}'}, {patchData: '{spec: {x: {b: 2}}}'}]", spec(func(s map[string]any) { s["x"] = map[string]any{"a": 1.0, "b": 2.0} })},
		{"merge: null of the object stays", "mergePatches: [{patchData: '{spec: {template: {spec: {x: 1}}}}'}]", func(o map[string]any) { at(o, "spec", "template", "spec")["x"] = 1.0 }},

		{"strategic: lists are merged by name", "strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: log, image: \"new:2\"}]}}}}'}]", func(o map[string]any) { at(containers(o), "1")["image"] = "new:2" }},
		{"strategic: JSON", "strategicPatches: [{patchData: '{\"spec\": {\"template\": {\"spec\": {\"containers\": [{\"name\": \"log\", \"image\": \"new:2\"}]}}}}'}]", func(o map[string]any) { at(containers(o), "1")["image"] = "new:2" }},
		{"strategic: a new element goes first", "strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: x}]}}}}'}]", func(o map[string]any) {
			at(o, "spec", "template", "spec")["containers"] = append([]any{map[string]any{"name": "x"}}, containers(o)...)
		}},
		{"strategic: delete by name", "strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: log, $patch: delete}]}}}}'}]", func(o map[string]any) {
			at(o, "spec", "template", "spec")["containers"] = containers(o)[:1]
		}},
		{"strategic: other lists are replaced", "strategicPatches: [{patchData: '{spec: {template: {spec: {tolerations: [{key: b}]}}}}'}]", func(o map[string]any) {
			at(o, "spec", "template", "spec")["tolerations"] = []any{map[string]any{"key": "b"}}
		}},
		{"strategic: remove", "strategicPatches: [{patchData: '{spec: {replicas: null}}'}]", spec(func(s map[string]any) { delete(s, "replicas") })},
		{"strategic: one after the other", "strategicPatches: [{patchData: '{spec: {replicas: 1}}'}, {patchData: '{spec: {paused: true}}'}]", spec(func(s map[string]any) { s["replicas"], s["paused"] = 1.0, true })},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, errs := parse(t, deploymentRule(c.patches)).Apply(subject(), []byte(web))
			if errs != nil {
				t.Fatal(errs)
			}
			if diff := cmp.Diff(edit(t, c.want), decode(t, out)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPatchErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, patches, want string }{
		{"remove what isn't there", "patches: [{operation: remove, path: /spec/no}]", "/spec/no"},
		{"replace what isn't there", "patches: [{operation: replace, path: /spec/no, value: 1}]", "missing value; hint: restrict the rule by matches"},
		{"add below what isn't there", "patches: [{operation: add, path: /spec/no/x, value: 1}]", "or use mergePatches, which add what is missing"},
		{"add outside a list", "patches: [{operation: add, path: /spec/template/spec/containers/7, value: 1}]", "invalid index: 7"},
		{"copy what isn't there", "patches: [{operation: copy, from: /spec/no, path: /spec/x}]", "/spec/no"},
		{"move to nowhere", "patches: [{operation: move, from: /spec/replicas, path: /no/x}]", "/no/x"},
		{"label that isn't text", "patches: [{operation: add, path: /metadata/labels/x, value: true}]", `metadata.labels["x"] is no text; hint: put it into quotes, in a value of patches into two pairs: '"true"'`},
		{"label that isn't text for YAML", "mergePatches: [{patchData: '{metadata: {labels: {country: no}}}'}]", `metadata.labels["country"] is no text; hint: put it into quotes`},
		{"labels that are no mapping", "patches: [{operation: replace, path: /metadata/labels, value: x}]", "metadata.labels is no mapping"},
		{"no metadata", "patches: [{operation: remove, path: /metadata}]", "it has no metadata"},
		{"another name", "patches: [{operation: replace, path: /metadata/name, value: x}]", "can't change metadata.name"},
		{"no name", "mergePatches: [{patchData: '{metadata: {name: null}}'}]", "can't change metadata.name"},
		{"another namespace", "mergePatches: [{patchData: '{metadata: {namespace: x}}'}]", "can't change metadata.namespace; hint: restore with --namespace-mappings"},
		{"another kind", "mergePatches: [{patchData: '{kind: StatefulSet}'}]", "can't change apiVersion and kind"},
		{"another apiVersion", "mergePatches: [{patchData: '{apiVersion: apps/v2}'}]", "can't change apiVersion and kind"},
		{"strategic: nothing left", "strategicPatches: [{patchData: '{$patch: delete}'}]", "it has no metadata"},
		{"strategic: element without name", "strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{image: x}]}}}}'}]", "an element of a list has no name, by which the list is merged"},
		{"strategic: unknown directive", "strategicPatches: [{patchData: '{$patch: melt}'}]", "does not fit"},
		{"strategic: unknown field", "strategicPatches: [{patchData: '{spec: {template: {spec: {x: {a: 1}}}}}'}, {patchData: '{spec: {template: {spec: {x: {a: 2}}}}}'}]", "unable to find api field"},
		{"strategic: key that can't be compared", "strategicPatches: [{patchData: '{spec: {$retainKeys: [[1]]}}'}]", "does not fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			body := []byte(web)
			out, errs := parse(t, deploymentRule(c.patches)).Apply(subject(), body)
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) || !strings.HasPrefix(errs[0].Error(), "resourceModifierRules[0] (line 3): ") {
				t.Fatalf("errors %v, want one with %q", errs, c.want)
			}
			if !itself(out, body) {
				t.Errorf("changed: %s", out)
			}
		})
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{"text", "premium", `"premium"`},
		{"empty", `""`, `""`},
		{"text in quotes of YAML", `"premium"`, `"premium"`},
		{"spaces", `" a b "`, `" a b "`},
		{"number", "5", `5`},
		{"number in quotes of YAML", `"5"`, `5`},
		{"negative number with exponent", `"-1.50e+3"`, `-1.50e+3`},
		{"large number", "9007199254740993", `9007199254740993`},
		{"leading zero is text", "010", `"010"`},
		{"plus is text", "'+5'", `"+5"`},
		{"not a number is text", "'NaN'", `"NaN"`},
		{"size is text", "5Gi", `"5Gi"`},
		{"number in quotes of its own", `'"123"'`, `"123"`},
		{"number in escaped quotes", `"\"123\""`, `"123"`},
		{"boolean", "true", `true`},
		{"boolean in quotes of YAML", `"false"`, `false`},
		{"boolean in capitals", `"True"`, `true`},
		{"boolean in quotes of its own", `'"true"'`, `"true"`},
		{"null in quotes of YAML", `"null"`, `null`},
		{"null in quotes of its own", `'"null"'`, `"null"`},
		{"Null is text", `"Null"`, `"Null"`},
		{"object", `'{"a": [1, {"b": null}]}'`, `{"a":[1,{"b":null}]}`},
		{"list", `'["a", 1]'`, `["a",1]`},
		{"object in quotes of its own", `'"{}"'`, `"{}"`},
		{"text with quotes inside", `'say "hi" twice'`, `"say \"hi\" twice"`},
		{"text between quotes", `'"a" or "b"'`, `"a\" or \"b"`},
		{"a quote alone", `'"'`, `"\""`},
		{"backslash that JSON knows", `'a\nb\u0041'`, `"a\nbA"`},
		{"backslash that JSON doesn't know", `'\d+'`, `"\\d+"`},
		{"several lines", `"a\nb"`, `"a\nb"`},
		{"HTML", `'<&>'`, `"<&>"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, errs := parse(t, deploymentRule("patches: [{operation: add, path: /spec/x, value: "+c.value+"}]")).Apply(subject(), []byte(web))
			if errs != nil {
				t.Fatal(errs)
			}
			var got struct{ Spec struct{ X json.RawMessage } }
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(canonical(t, c.want), canonical(t, string(got.Spec.X))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// canonical is a JSON text with its numbers as they are written.
func canonical(t testing.TB, value string) string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(value))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestStrategicPatchOfCustomKind(t *testing.T) {
	t.Parallel()
	r := parse(t, "{conditions: {groupResource: shops.example.org}, strategicPatches: [{patchData: '{spec: {x: 1}}'}]}")
	body := []byte(`{"apiVersion":"example.org/v1","kind":"Shop","metadata":{"name":"a"}}`)
	_, errs := r.Apply(modifier.Subject{Resource: schema.GroupResource{Group: "example.org", Resource: "shops"}, Name: "a"}, body)
	const want = "strategicPatches can't change example.org/v1 Shop, which is not built into Kubernetes; hint: use mergePatches or patches"
	if len(errs) != 1 || !strings.HasSuffix(errs[0].Error(), want) {
		t.Errorf("errors %v", errs)
	}
}

// Lists with null in them make both libraries panic.
func TestNullInLists(t *testing.T) {
	t.Parallel()
	body := []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"finalizers":[null],"name":"web"},"spec":{"template":{"spec":{"containers":[null,null]}}}}`)
	for name, rule := range map[string]string{
		"matches":         touch("{groupResource: deployments.apps, matches: [{path: /metadata/finalizers, value: '[null]'}]}"),
		"test":            deploymentRule("patches: [{operation: test, path: /metadata/finalizers, value: '[\"a\"]'}, {operation: remove, path: /spec}]"),
		"strategic patch": deploymentRule("strategicPatches: [{patchData: '{metadata: {finalizers: []}}'}]"),
		"strategic lists": deploymentRule("strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: a}]}}}}'}]"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, errs := parse(t, rule).Apply(subject(), body)
			if !itself(out, body) || len(errs) != 1 || !strings.HasSuffix(errs[0].Error(), "the patch does not fit the object, which may have null in a list") {
				t.Errorf("%s\n%v", out, errs)
			}
		})
	}
}

// Copies that double the object again and again come to an end.
func TestCopiesAreBounded(t *testing.T) {
	t.Parallel()
	patches := make([]string, 40)
	for i := range patches {
		patches[i] = fmt.Sprintf("{operation: copy, from: /spec, path: /spec/copy%d}", i)
	}
	_, errs := parse(t, deploymentRule("patches: ["+strings.Join(patches, ", ")+"]")).Apply(subject(), []byte(web))
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "limit") {
		t.Errorf("errors %v", errs)
	}
}

// Error texts go to logs and the bucket.
func TestErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	for _, patches := range []string{
		"patches: [{operation: remove, path: /spec/template/spec/containers/0/env/1/value/x}]",
		"patches: [{operation: add, path: /spec/template/spec/containers/0/env/1/value/x/y, value: 1}]",
		"patches: [{operation: move, from: /spec/template/spec/containers/0/env, path: /metadata/labels}]",
		"patches: [{operation: copy, from: /spec/template/spec/containers/0/env, path: /metadata/labels/x}]",
		"patches: [{operation: copy, from: /spec/template/spec/containers/0/env/1/value, path: /metadata/name}]",
		"mergePatches: [{patchData: '{metadata: {labels: {a: 1}}}'}]",
		"strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: web, env: [{value: x}]}]}}}}'}]",
		"strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: web, env: [[a]]}]}}}}'}]",
		"strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: web, env: [a]}]}}}}'}]",
		"strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: web, $setElementOrder/env: [{name: X}], env: [{name: Y}]}]}}}}'}]",
		"strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: web, env: [{name: PASSWORD, $patch: melt}]}]}}}}'}]",
	} {
		out, errs := parse(t, deploymentRule(patches)).Apply(subject(), []byte(web))
		if len(errs) != 1 || strings.Contains(errs[0].Error(), "hunter2") {
			t.Errorf("%s: %v\n%s", patches, errs, out)
		}
	}
	_, err := modifier.Parse([]byte(text(deploymentRule("patches: [{operation: add, path: /spec/x, value: '{hunter2'}]"))))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
