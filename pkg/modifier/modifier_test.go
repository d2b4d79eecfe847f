package modifier_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/modifier"
)

// web is a deployment as it was backed up.
const web = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{"example.org/owner":"web"},"labels":{"app":"web","tier":"front"},"name":"web","namespace":"shop"},` +
	`"spec":{"paused":false,"replicas":3,"template":{"spec":{"containers":[` +
	`{"env":[{"name":"MODE","value":"fast"},{"name":"PASSWORD","value":"hunter2"}],"image":"old.example.org/web:1","name":"web"},{"image":"old.example.org/log:1","name":"log"}],` +
	`"nodeName":null,"tolerations":[{"key":"a"}]}}}}`

var deployments = schema.GroupResource{Group: "apps", Resource: "deployments"}

// subject is that of web; change makes it another.
func subject(change ...func(*modifier.Subject)) modifier.Subject {
	s := modifier.Subject{Resource: deployments, Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web", "tier": "front"}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func of(group, resource string) func(*modifier.Subject) {
	return func(s *modifier.Subject) { s.Resource = schema.GroupResource{Group: group, Resource: resource} }
}

func clusterScoped(s *modifier.Subject) { s.Namespace = "" }

// text puts rules, one a line, into a text that is good otherwise; the first is
// on line 3.
func text(rules ...string) string {
	return "version: v1\nresourceModifierRules:\n- " + strings.Join(rules, "\n- ") + "\n"
}

// touch is a rule with conditions that leaves its mark on the object.
func touch(conditions string) string {
	return fmt.Sprintf("{conditions: %s, mergePatches: [{patchData: '{touched: true}'}]}", conditions)
}

// deploymentRule is a rule about deployments that has patches of some kind.
func deploymentRule(patches string) string {
	return "{conditions: {groupResource: deployments.apps}, " + patches + "}"
}

func parse(t testing.TB, rules ...string) *modifier.Rules {
	t.Helper()
	r, err := modifier.Parse([]byte(text(rules...)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// edit returns web after changes to its fields.
func edit(t testing.TB, change func(fields map[string]any)) map[string]any {
	t.Helper()
	fields := decode(t, []byte(web))
	change(fields)
	return fields
}

func decode(t testing.TB, body []byte) map[string]any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// at walks down maps and, by "0", into lists.
func at(value any, path ...string) map[string]any {
	for _, name := range path {
		if list, ok := value.([]any); ok {
			value = list[name[0]-'0']
			continue
		}
		value = value.(map[string]any)[name]
	}
	return value.(map[string]any)
}

// itself reports whether out is body and no copy of it.
func itself(out, body []byte) bool { return len(out) == len(body) && &out[0] == &body[0] }

func TestConditions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, conditions string
		subject          modifier.Subject
		want             bool
	}{
		{"kind and group", "{groupResource: deployments.apps}", subject(), true},
		{"another group", "{groupResource: deployments.extensions}", subject(), false},
		{"no group is the core group", "{groupResource: deployments}", subject(), false},
		{"a kind of the core group", "{groupResource: pods}", subject(of("", "pods")), true},
		{"upper case is another kind", "{groupResource: Deployments.apps}", subject(), false},
		{"all of a group", "{groupResource: '*.apps'}", subject(), true},
		{"all of another group", "{groupResource: '*.apps'}", subject(of("batch", "jobs")), false},
		{"a star is the core group", "{groupResource: '*'}", subject(of("", "pods")), true},
		{"a star is no other group", "{groupResource: '*'}", subject(), false},
		{"two stars: a group", "{groupResource: '*.*'}", subject(), true},
		{"two stars: a group with dots", "{groupResource: '*.*'}", subject(of("networking.k8s.io", "ingresses")), true},
		{"two stars: the core group", "{groupResource: '*.*'}", subject(of("", "pods")), true},
		{"a star ends at a dot", "{groupResource: 'ingresses.*'}", subject(of("networking.k8s.io", "ingresses")), false},
		{"a star for each part", "{groupResource: 'ingresses.*.k8s.io'}", subject(of("networking.k8s.io", "ingresses")), true},
		{"two stars together go on", "{groupResource: 'ingresses.**'}", subject(of("networking.k8s.io", "ingresses")), true},
		{"alternatives", "{groupResource: '{deployments,statefulsets}.apps'}", subject(of("apps", "statefulsets")), true},

		{"name", "{groupResource: '*.*', resourceNameRegex: ^web$}", subject(), true},
		{"part of the name", "{groupResource: '*.*', resourceNameRegex: e}", subject(), true},
		{"another name", "{groupResource: '*.*', resourceNameRegex: ^eb}", subject(), false},
		{"empty pattern for the name", "{groupResource: '*.*', resourceNameRegex: ''}", subject(), true},

		{"namespace", "{groupResource: '*.*', namespaces: [other, shop]}", subject(), true},
		{"another namespace", "{groupResource: '*.*', namespaces: [other, sho, shop2]}", subject(), false},
		{"pattern of namespaces", "{groupResource: '*.*', namespaces: ['s*p']}", subject(), true},
		{"every namespace", "{groupResource: '*.*', namespaces: ['*']}", subject(), true},
		{"no namespaces", "{groupResource: '*.*', namespaces: []}", subject(), true},
		{"namespaces don't matter to cluster-scoped objects", "{groupResource: '*.*', namespaces: [other]}", subject(of("", "nodes"), clusterScoped), true},

		{"label", "{groupResource: '*.*', labelSelector: {matchLabels: {app: web}}}", subject(), true},
		{"another label", "{groupResource: '*.*', labelSelector: {matchLabels: {app: web, tier: back}}}", subject(), false},
		{"label expression", "{groupResource: '*.*', labelSelector: {matchExpressions: [{key: tier, operator: In, values: [back, front]}, {key: x, operator: DoesNotExist}]}}", subject(), true},
		{"another label expression", "{groupResource: '*.*', labelSelector: {matchExpressions: [{key: app, operator: Exists}, {key: tier, operator: NotIn, values: [front]}]}}", subject(), false},
		{"empty selector", "{groupResource: '*.*', labelSelector: {}}", subject(func(s *modifier.Subject) { s.Labels = nil }), true},
		{"all conditions must hold", "{groupResource: deployments.apps, resourceNameRegex: web, namespaces: [shop], labelSelector: {matchLabels: {app: api}}}", subject(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := parse(t, touch(c.conditions))
			if got := r.Concerns(c.subject); got != c.want {
				t.Errorf("concerns: %v", got)
			}
			out, errs := r.Apply(c.subject, []byte(web))
			if got := strings.Contains(string(out), "touched"); got != c.want || errs != nil {
				t.Errorf("applied: %v, %v", got, errs)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, matches string
		want          bool
	}{
		{"none", "[]", true},
		{"text", "[{path: /spec/template/spec/containers/0/image, value: 'old.example.org/web:1'}]", true},
		{"part of the text", "[{path: /spec/template/spec/containers/0/image, value: old}]", false},
		{"number", "[{path: /spec/replicas, value: '3'}]", true},
		{"another number", "[{path: /spec/replicas, value: 4}]", false},
		{"text is no number", `[{path: /spec/replicas, value: '"3"'}]`, false},
		{"boolean", "[{path: /spec/paused, value: false}]", true},
		{"object", `[{path: /metadata/labels, value: '{"tier": "front", "app": "web"}'}]`, true},
		{"list", `[{path: /spec/template/spec/tolerations, value: '[{"key": "a"}]'}]`, true},
		{"key with a slash", "[{path: /metadata/annotations/example.org~1owner, value: web}]", true},
		{"all must hold", "[{path: /spec/replicas, value: 3}, {path: /spec/paused, value: true}]", false},
		{"all hold", "[{path: /spec/replicas, value: 3}, {path: /spec/paused, value: false}]", true},
		{"missing field", "[{path: /spec/strategy, value: x}]", false},
		{"missing parent", "[{path: /status/phase/x, value: x}]", false},
		{"missing element", "[{path: /spec/template/spec/containers/7/image, value: x}]", false},
		{"no index", "[{path: /spec/template/spec/containers/web/image, value: x}]", false},
		{"below text", "[{path: /metadata/name/x, value: x}]", false},
		{"null", "[{path: /spec/template/spec/nodeName, value: 'null'}]", true},
		{"null where there is no field", "[{path: /spec/strategy, value: 'null'}]", true},
		{"null where there is a field", "[{path: /spec/replicas, value: 'null'}]", false},
		{"without value: empty text", "[{path: /metadata/name}]", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := parse(t, touch("{groupResource: deployments.apps, matches: "+c.matches+"}"))
			if !r.Concerns(subject()) {
				t.Error("matches decide whether it is concerned")
			}
			out, errs := r.Apply(subject(), []byte(web))
			if got := strings.Contains(string(out), "touched"); got != c.want || errs != nil {
				t.Errorf("applied: %v, %v", got, errs)
			}
		})
	}
}

// What the rules after the first look at is the object of the backup.
func TestRulesMatchTheOriginal(t *testing.T) {
	t.Parallel()
	r := parse(t,
		"{conditions: {groupResource: deployments.apps, matches: [{path: /spec/replicas, value: 3}]}, patches: [{operation: replace, path: /spec/replicas, value: 4}]}",
		"{conditions: {groupResource: deployments.apps, matches: [{path: /spec/replicas, value: 4}]}, patches: [{operation: replace, path: /spec/replicas, value: 5}]}",
		"{conditions: {groupResource: deployments.apps, matches: [{path: /spec/replicas, value: 3}]}, patches: [{operation: copy, from: /spec/replicas, path: /spec/was}]}",
	)
	out, errs := r.Apply(subject(), []byte(web))
	if errs != nil {
		t.Fatal(errs)
	}
	want := edit(t, func(o map[string]any) { at(o, "spec")["replicas"], at(o, "spec")["was"] = 4.0, 4.0 })
	if diff := cmp.Diff(want, decode(t, out)); diff != "" {
		t.Error(diff)
	}
}

// A rule that fails is an error, leaves nothing behind, and the others go on.
func TestRulesFailAlone(t *testing.T) {
	t.Parallel()
	r := parse(t,
		deploymentRule("patches: [{operation: replace, path: /spec/replicas, value: 1}]"),
		deploymentRule("patches: [{operation: replace, path: /spec/replicas, value: 2}, {operation: remove, path: /spec/no}]"),
		deploymentRule("patches: [{operation: replace, path: /spec/replicas, value: 2}, {operation: test, path: /spec/paused, value: true}]"),
		deploymentRule("patches: [{operation: replace, path: /spec/paused, value: true}]"),
	)
	out, errs := r.Apply(subject(), []byte(web))
	if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "resourceModifierRules[1] (line 4): ") {
		t.Errorf("errors %v", errs)
	}
	want := edit(t, func(o map[string]any) { at(o, "spec")["replicas"], at(o, "spec")["paused"] = 1.0, true })
	if diff := cmp.Diff(want, decode(t, out)); diff != "" {
		t.Error(diff)
	}
}

func TestApplyReturnsBodyItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rule string
		errs       int
	}{
		{"not concerned", touch("{groupResource: pods}"), 0},
		{"no match", touch("{groupResource: deployments.apps, matches: [{path: /spec/replicas, value: 4}]}"), 0},
		{"failed test", deploymentRule("patches: [{operation: test, path: /spec/replicas, value: 4}, {operation: remove, path: /spec/replicas}]"), 0},
		{"the value that it has", deploymentRule("patches: [{operation: replace, path: /spec/replicas, value: 3}]"), 0},
		{"there and back", deploymentRule("patches: [{operation: move, from: /spec/replicas, path: /spec/r}, {operation: move, from: /spec/r, path: /spec/replicas}]"), 0},
		{"empty merge patch", deploymentRule("mergePatches: [{patchData: '{}'}]"), 0},
		{"merge patch without effect", deploymentRule("mergePatches: [{patchData: '{spec: {replicas: 3, no: null}}'}]"), 0},
		{"strategic patch without effect", deploymentRule("strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: log}]}}}}'}]"), 0},
		{"failed rule", deploymentRule("patches: [{operation: remove, path: /spec/no}]"), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			body := []byte(web)
			out, errs := parse(t, c.rule).Apply(subject(), body)
			if !itself(out, body) || len(errs) != c.errs {
				t.Errorf("%s\n%v", out, errs)
			}
		})
	}
}

// The same rules make the same text of the same object, and keep its numbers.
func TestApplyIsDeterministic(t *testing.T) {
	t.Parallel()
	r := parse(t, deploymentRule("mergePatches: [{patchData: '{metadata: {annotations: {a: x, b: x, c: x, d: x, e: x, f: x}}}'}]"))
	body := []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"big":9007199254740993,"exact":1.10,"html":"<&>"}}`)
	const want = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{"a":"x","b":"x","c":"x","d":"x","e":"x","f":"x"},"name":"web"},"spec":{"big":9007199254740993,"exact":1.10,"html":"\u003c\u0026\u003e"}}`
	for range 20 {
		out, errs := r.Apply(subject(), body)
		if string(out) != want || errs != nil {
			t.Fatalf("%s\n%v", out, errs)
		}
	}
}

func TestApplyConcurrently(t *testing.T) {
	t.Parallel()
	r := parse(t,
		deploymentRule(`patches: [{operation: add, path: /spec/list, value: '[{"a": {"b": 1}}]'}, {operation: add, path: /spec/list/0/a/c, value: 2}, {operation: test, path: /spec/list/0/a/b, value: 1}]`),
		deploymentRule("mergePatches: [{patchData: '{metadata: {labels: {x: z}}}'}]"),
		deploymentRule("strategicPatches: [{patchData: '{spec: {template: {spec: {containers: [{name: log, image: new}]}}}}'}]"),
	)
	want, _ := r.Apply(subject(), []byte(web))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				if out, errs := r.Apply(subject(), []byte(web)); string(out) != string(want) || errs != nil {
					t.Errorf("%s\n%v", out, errs)
				}
			}
		})
	}
	group.Wait()
}

func TestApplyRefusesWhatIsNoObject(t *testing.T) {
	t.Parallel()
	r := parse(t, touch("{groupResource: deployments.apps}"))
	for _, c := range []struct{ body, want string }{
		{"", "it is no JSON object"},
		{"{", "it is no JSON object"},
		{"[]", "it is no JSON object"},
		{"{} {}", "something follows the JSON object"},
		{"{}]", "something follows the JSON object"},
		{"null", "it has no metadata"},
		{`{"metadata":[]}`, "it has no metadata"},
		{`{"metadata":{"labels":[]}}`, "metadata.labels is no mapping"},
		{`{"metadata":{"annotations":{"a":1}}}`, `metadata.annotations["a"] is no text`},
	} {
		body := []byte(c.body)
		out, errs := r.Apply(subject(), body)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "decode object: "+c.want) || string(out) != c.body {
			t.Errorf("%s: %v", c.body, errs)
		}
	}
}

func TestNoRules(t *testing.T) {
	t.Parallel()
	var r *modifier.Rules
	body := []byte(web)
	if out, errs := r.Apply(subject(), body); !itself(out, body) || errs != nil || r.Concerns(subject()) || r.Warnings() != nil {
		t.Errorf("%s, %v", out, errs)
	}
}
