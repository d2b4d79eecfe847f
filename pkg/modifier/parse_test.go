package modifier_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/modifier"
)

// conditionRule is a rule that is good but for its conditions.
func conditionRule(conditions string) string {
	return text("{conditions: " + conditions + ", mergePatches: [{patchData: '{}'}]}")
}

// patchRule is a rule that is good but for its patches.
func patchRule(patches string) string { return text(deploymentRule(patches)) }

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const rule = "resourceModifierRules[0]"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "line 1: the text is empty; hint: begin with version: v1"},
		{"no YAML", "version: v1\nresourceModifierRules: [\n", "line 2: did not find expected node content"},
		{"no version", "resourceModifierRules: [" + touch("{groupResource: pods}") + "]\n", "line 1: version: is missing; hint: write version: v1"},
		{"another version", "version: v2\nresourceModifierRules: [" + touch("{groupResource: pods}") + "]\n", `line 1, column 10: version: "v2" is unknown; hint: write version: v1`},
		{"no rules", "version: v1\n", "line 1: resourceModifierRules: is missing; hint: add the list of rules"},
		{"empty rules", "version: v1\nresourceModifierRules: []\n", "line 2, column 24: resourceModifierRules: is empty; hint: add a rule, or restore without modifiers"},
		{"rules without value", "version: v1\nresourceModifierRules:\n", "resourceModifierRules: has no value and must be a list"},
		{"unknown key", "version: v1\nresourceModifierRule: []\n", "line 2, column 1: resourceModifierRule: unknown key; hint: the keys here are resourceModifierRules, version"},
		{"key twice", text(touch("{groupResource: pods}")) + "version: v1\n", "line 4, column 1: version: the key is there twice, first on line 1"},
		{"rule as text", text("pods"), rule + ": is text and must be a mapping with the keys conditions, mergePatches, patches, strategicPatches"},
		{"unknown key in a rule", text("{condition: {}}"), rule + ".condition: unknown key"},
		{"many texts", text(touch("{groupResource: pods}")) + "---\nversion: v1\n", "a second YAML document begins here"},

		{"no conditions", text("{mergePatches: [{patchData: '{}'}]}"), "line 3, column 3: " + rule + ": has no conditions; hint: add conditions with a groupResource"},
		{"empty conditions", conditionRule("{}"), rule + `.conditions: has no groupResource; hint: add groupResource: pods, deployments.apps or "*.*"`},
		{"conditions without value", conditionRule(""), rule + ".conditions: has no value and must be a mapping"},
		{"unknown condition", conditionRule("{groupResource: pods, kind: Pod}"), rule + ".conditions.kind: unknown key; hint: the keys here are groupResource, labelSelector, matches, namespaces, resourceNameRegex"},
		{"empty kind", conditionRule("{groupResource: ''}"), rule + ".conditions.groupResource: is empty; hint: name a kind, like deployments.apps"},
		{"kind as list", conditionRule("{groupResource: [pods]}"), rule + ".conditions.groupResource: is a list and must be text"},
		{"kind that is no pattern", conditionRule("{groupResource: 'pods['}"), rule + `.conditions.groupResource: "pods[" is no pattern: `},
		{"name that is no pattern", conditionRule("{groupResource: pods, resourceNameRegex: '*web'}"), rule + ".conditions.resourceNameRegex: error parsing regexp: missing argument to repetition operator: `*`; hint: "},
		{"name without value", conditionRule("{groupResource: pods, resourceNameRegex: }"), rule + ".conditions.resourceNameRegex: has no value and must be text"},
		{"namespaces as text", conditionRule("{groupResource: pods, namespaces: shop}"), rule + ".conditions.namespaces: is text and must be a list"},
		{"namespace that is no pattern", conditionRule("{groupResource: pods, namespaces: ['[a']}"), rule + `.conditions.namespaces[0]: "[a" is no pattern`},
		{"namespace without value", conditionRule("{groupResource: pods, namespaces: [~]}"), rule + ".conditions.namespaces[0]: has no value"},
		{"selector without value", conditionRule("{groupResource: pods, labelSelector: }"), rule + ".conditions.labelSelector: has no value and must be a mapping"},
		{"selector as mapping of labels", conditionRule("{groupResource: pods, labelSelector: {app: web}}"), rule + ".conditions.labelSelector.app: unknown key; hint: the keys here are matchExpressions, matchLabels"},
		{"label without value", conditionRule("{groupResource: pods, labelSelector: {matchLabels: {app: }}}"), rule + ".conditions.labelSelector.matchLabels.app: has no value"},
		{"bad label", conditionRule("{groupResource: pods, labelSelector: {matchLabels: {app: 'a b'}}}"), rule + ".conditions.labelSelector: "},
		{"unknown operator", conditionRule("{groupResource: pods, labelSelector: {matchExpressions: [{key: a, operator: Is, values: [b]}]}}"), `"Is" is not a valid label selector operator`},
		{"expression without values", conditionRule("{groupResource: pods, labelSelector: {matchExpressions: [{key: a, operator: In}]}}"), rule + ".conditions.labelSelector: "},
		{"expression as text", conditionRule("{groupResource: pods, labelSelector: {matchExpressions: [a]}}"), rule + ".conditions.labelSelector.matchExpressions[0]: is text and must be a mapping with the keys key, operator, values"},
		{"match without path", conditionRule("{groupResource: pods, matches: [{value: a}]}"), rule + ".conditions.matches[0]: has no path; hint: add one like path: /spec/replicas"},
		{"match with a bad path", conditionRule("{groupResource: pods, matches: [{path: spec, value: a}]}"), rule + `.conditions.matches[0].path: "spec" is no path to a field`},
		{"match without value", conditionRule("{groupResource: pods, matches: [{path: /spec, value: }]}"), rule + `.conditions.matches[0].value: has no value; hint: write "" for empty text, or "null"`},
		{"matches beside conditions", text("{conditions: {groupResource: pods}, matches: [], mergePatches: [{patchData: '{}'}]}"), rule + ".matches: unknown key"},

		{"no patches", text("{conditions: {groupResource: pods}}"), "line 3, column 3: " + rule + ": has no patches; hint: add patches, mergePatches or strategicPatches"},
		{"empty patches", patchRule("patches: []"), rule + ": has no patches"},
		{"patches without value", patchRule("patches: "), rule + ".patches: has no value and must be a list"},
		{"patches of two kinds", patchRule("patches: [{operation: remove, path: /a}], strategicPatches: [{patchData: '{}'}]"), rule + ": has patches and strategicPatches; hint: make a rule of each"},
		{"patches of three kinds", patchRule("patches: [{operation: remove, path: /a}], mergePatches: [{patchData: '{}'}], strategicPatches: [{patchData: '{}'}]"), " and "},
		{"patch as text", patchRule("patches: [remove]"), rule + ".patches[0]: is text and must be a mapping with the keys from, operation, path, value"},
		{"op", patchRule("patches: [{op: remove, path: /a}]"), rule + ".patches[0].op: unknown key; hint: the keys here are from, operation, path, value"},
		{"no operation", patchRule("patches: [{path: /a}]"), rule + ".patches[0]: has no operation; hint: use add, copy, move, remove, replace, test"},
		{"unknown operation", patchRule("patches: [{operation: delete, path: /a}]"), rule + `.patches[0].operation: "delete" is unknown; hint: use add, copy, move, remove, replace, test`},
		{"no path", patchRule("patches: [{operation: remove}]"), rule + ".patches[0]: has no path"},
		{"empty path", patchRule("patches: [{operation: replace, path: '', value: '{}'}]"), rule + `.patches[0].path: "" is no path to a field; hint: write one like /metadata/labels/example.org~1tier, with ~1 for / and ~0 for ~ in a name`},
		{"path with dots", patchRule("patches: [{operation: remove, path: .spec.replicas}]"), `".spec.replicas" is no path to a field`},
		{"path with an empty name", patchRule("patches: [{operation: remove, path: /spec/}]"), `"/spec/" is no path to a field`},
		{"path with a tilde", patchRule("patches: [{operation: remove, path: /spec/~a}]"), `"/spec/~a" is no path to a field`},
		{"move without from", patchRule("patches: [{operation: move, path: /a}]"), rule + ".patches[0]: has no from; hint: add the path whose value to move"},
		{"copy without from", patchRule("patches: [{operation: copy, path: /a}]"), "hint: add the path whose value to copy"},
		{"bad from", patchRule("patches: [{operation: copy, from: a, path: /a}]"), rule + `.patches[0].from: "a" is no path to a field`},
		{"value without value", patchRule("patches: [{operation: add, path: /a, value: }]"), rule + `.patches[0].value: has no value; hint: write "" for empty text, or "null"`},
		{"value as mapping", patchRule("patches: [{operation: add, path: /a, value: {b: c}}]"), rule + ".patches[0].value: is a mapping and must be text"},
		{"value that begins like JSON", patchRule("patches: [{operation: add, path: /a, value: '{a}'}]"), rule + ".patches[0].value: begins like JSON and is none"},
		{"value that begins like a list", patchRule("patches: [{operation: add, path: /a, value: '[a]'}]"), "begins like JSON and is none; hint: look for quotes and commas, or put it into quotes of its own"},

		{"no patchData", patchRule("mergePatches: [{}]"), rule + ".mergePatches[0]: has no patchData; hint: add patchData: | and the patch below"},
		{"patchData as mapping", patchRule("mergePatches: [{patchData: {a: b}}]"), rule + ".mergePatches[0].patchData: is a mapping and must be text; hint: write patchData: | and indent the patch below"},
		{"patchData as list", patchRule("strategicPatches: [{patchData: [a]}]"), rule + ".strategicPatches[0].patchData: is a list and must be text"},
		{"patchData is no YAML", patchRule("mergePatches: [{patchData: '{a: ['}]"), rule + ".mergePatches[0].patchData: is neither JSON nor YAML: "},
		{"patchData with a key twice", patchRule("mergePatches: [{patchData: '{a: 1, a: 2}'}]"), `key "a" already set in map`},
		{"patchData is a list", patchRule("strategicPatches: [{patchData: '[a]'}]"), rule + ".strategicPatches[0].patchData: must be an object; hint: write one like {metadata: {annotations: {example.org/a: b}}}"},
		{"patchData is text", patchRule("mergePatches: [{patchData: a}]"), "must be an object"},
		{"patchData is empty", patchRule("mergePatches: [{patchData: ''}]"), "must be an object"},
		{"unknown key beside patchData", patchRule("mergePatches: [{patch: '{}'}]"), rule + ".mergePatches[0].patch: unknown key; hint: the keys here are patchData"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := modifier.Parse([]byte(c.text))
			var invalid *modifier.ValidationError
			if !errors.As(err, &invalid) || r != nil {
				t.Fatalf("%v, %v", r, err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want one with %q", err, c.want)
			}
			for _, problem := range invalid.Problems {
				if !strings.HasPrefix(problem, "line ") {
					t.Errorf("no line: %q", problem)
				}
			}
		})
	}
}

func TestParseCollectsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := modifier.Parse([]byte(`version: v3
resourceModifierRules:
- conditions:
    groupResource: "["
    resourceNameRegex: "("
  patches:
  - operation: add
    path: spec
  - operation: drop
    path: /spec
    value: "[a]"
- conditions: {}
  mergePatches:
  - patchData: "]"
- conditions:
    groupResource: pods
`))
	var invalid *modifier.ValidationError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	var lines []int
	for _, problem := range invalid.Problems {
		var line int
		if _, err := fmt.Sscanf(problem, "line %d", &line); err != nil {
			t.Errorf("no line: %q", problem)
		}
		lines = append(lines, line)
	}
	if diff := cmp.Diff([]int{1, 4, 5, 8, 9, 11, 12, 14, 15}, lines); diff != "" {
		t.Errorf("%s\n%s", diff, strings.Join(invalid.Problems, "\n"))
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"version in capitals":     "version: V1\nresourceModifierRules: [" + touch("{groupResource: pods}") + "]\n",
		"JSON":                    `{"version": "v1", "resourceModifierRules": [{"conditions": {"groupResource": "pods"}, "patches": [{"operation": "add", "path": "/a", "value": "1"}]}]}`,
		"empty lists beside one":  patchRule("patches: [], mergePatches: [{patchData: '{}'}], strategicPatches: []"),
		"value that isn't needed": patchRule("patches: [{operation: remove, path: /a, value: x, from: /b}]"),
		"add without value":       patchRule("patches: [{operation: add, path: /a}]"),
		"aliases":                 text("{conditions: &c {groupResource: pods}, mergePatches: &p [{patchData: '{}'}]}", "{conditions: *c, mergePatches: *p}"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r, err := modifier.Parse([]byte(text)); err != nil || r == nil {
				t.Error(err)
			}
		})
	}
}

// What the documentation shows can be used as it is.
func TestParseDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/modifiers.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, part := range strings.Split(string(page), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(part, "```")
		if !strings.HasPrefix(example, "version: v1") {
			continue
		}
		count++
		r, err := modifier.Parse([]byte(example))
		if err != nil {
			t.Errorf("%s\n%v", example, err)
		}
		if warnings := r.Warnings(); warnings != nil {
			t.Errorf("%s\n%v", example, warnings)
		}
	}
	if count == 0 {
		t.Error("no examples")
	}
}

// The example on top of the page does what the comments beside it say.
func TestDocumentedRules(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/modifiers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	r, err := modifier.Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	claim := modifier.Subject{Resource: core("persistentvolumeclaims"), Namespace: "shop-2", Name: "data-db-0", Labels: map[string]string{"tier": "db"}}
	for _, c := range []struct {
		name       string
		subject    modifier.Subject
		body, want string
	}{
		{"claim", claim, `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"annotations":{"example.org/owner":"a"},"name":"data-db-0"},"spec":{"storageClassName":"premium"}}`,
			`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"annotations":{},"name":"data-db-0"},"spec":{"storageClassName":"standard"}}`},
		{"deployment", subject(), `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{"example.org/pager":"a"},"name":"web"},"spec":{"template":{"spec":{"containers":[{"image":"a","name":"log"},{"image":"b","name":"web"}]}}}}`,
			`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{},"labels":{"environment":"staging"},"name":"web"},"spec":{"template":{"spec":{"containers":[{"image":"a","name":"log"},{"image":"registry.example.org/web:2","name":"web"}]}}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, errs := r.Apply(c.subject, []byte(c.body))
			if diff := cmp.Diff(c.want, string(out)); diff != "" || errs != nil {
				t.Errorf("%v\n%s", errs, diff)
			}
		})
	}
	// The error that the page shows.
	_, err = modifier.FromConfigMap(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "staging"},
		Data: map[string]string{"modifiers.yaml": strings.Replace(example, "groupResource: persistentvolumeclaims", "groupResource:", 1)}})
	if err == nil || !strings.Contains(string(page), "\nresourceModifier: "+err.Error()+"\n") {
		t.Errorf("the page doesn't show %v", err)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ resource, want string }{
		{"deployments", `Kubernetes has no "deployments", so the rule changes nothing; hint: write deployments.apps`},
		{"pods.apps", `Kubernetes has no "pods.apps", so the rule changes nothing; hint: write pods`},
		{"persistentvolumeclaims.storage.k8s.io", "hint: write persistentvolumeclaims"},
		{"events.apps", "hint: write events or events.events.k8s.io"},
		{"deployments.apps", ""},
		{"pods", ""},
		{"endpoints", ""},
		{"ingresses.networking.k8s.io", ""},
		{"'*'", ""},
		{"'*.apps'", ""},
		{"shops", ""},
		{"services.serving.knative.dev", ""},
	} {
		t.Run(c.resource, func(t *testing.T) {
			t.Parallel()
			warnings := parse(t, touch("{groupResource: "+c.resource+"}")).Warnings()
			if c.want == "" {
				if warnings != nil {
					t.Errorf("warnings %q", warnings)
				}
				return
			}
			const place = "line 3, column 32: resourceModifierRules[0].conditions.groupResource: "
			if len(warnings) != 1 || !strings.HasPrefix(warnings[0], place) || !strings.HasSuffix(warnings[0], c.want) {
				t.Errorf("warnings %q", warnings)
			}
		})
	}
}

func TestFromConfigMap(t *testing.T) {
	t.Parallel()
	good := text(touch("{groupResource: pods}"))
	for _, c := range []struct {
		name string
		data map[string]string
		bin  map[string][]byte
		want string
	}{
		{"one key", map[string]string{"any": good}, nil, ""},
		{"no key", nil, nil, `ConfigMap "m": modifiers must be in a single key, of any name, and it has 0 keys; hint: kubectl create configmap NAME --from-file modifiers.yaml`},
		{"two keys", map[string]string{"a": good, "b": good}, nil, `ConfigMap "m": modifiers must be in a single key, of any name, and it has 2 keys (a, b); hint: use a ConfigMap for each`},
		{"binary", nil, map[string][]byte{"a": []byte(good)}, `ConfigMap "m": binaryData (a) can't hold modifiers; hint: put the YAML as text in a single key of data`},
		{"problem", map[string]string{"rules.yaml": "version: v1\n"}, nil, `ConfigMap "m", key "rules.yaml", line 1: resourceModifierRules: is missing; hint: add the list of rules`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := modifier.FromConfigMap(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Data: c.data, BinaryData: c.bin})
			if c.want == "" {
				if err != nil || r == nil {
					t.Error(err)
				}
				return
			}
			var invalid *modifier.ValidationError
			if !errors.As(err, &invalid) || err.Error() != c.want || r != nil {
				t.Errorf("error %v", err)
			}
		})
	}
}
