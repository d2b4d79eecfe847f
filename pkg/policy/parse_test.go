package policy_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
)

// policyWith puts conditions, on line 3, into a text that is good otherwise.
func policyWith(conditions string) string {
	return "version: v1\nvolumePolicies:\n- conditions: " + conditions + "\n  action: {type: skip}\n"
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const conditions = "volumePolicies[0].conditions"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "line 1: the text is empty; hint: begin with version: v1"},
		{"comments alone", "# nothing\n", "is empty"},
		{"no YAML", "version: v1\nvolumePolicies: [\n", "line 2: did not find expected node content"},
		{"a tab", "version: v1\n\tx: y\n", "line 2: found a tab character that violates indentation; hint: look for"},
		{"no mapping", "- version: v1\n", "line 1, column 1: is a list and must be a mapping with the keys includeExcludePolicy, version, volumePolicies"},
		{"two documents", "version: v1\n---\nversion: v1\n", "line 2: a second YAML document begins here"},
		{"broken second document", "version: v1\n---\n[\n", "line "},

		{"no version", "volumePolicies: []\n", "line 1: version: is missing; hint: write version: v1"},
		{"another version", "version: v2\n", `line 1, column 10: version: "v2" is unknown; hint: write version: v1`},
		{"version without value", "version:\n", "version: has no value and must be text"},
		{"version as list", "version: [v1]\n", "version: is a list and must be text"},
		{"unknown key", "version: v1\nvolumePolicy: []\n", "line 2, column 1: volumePolicy: unknown key; hint: the keys here are includeExcludePolicy, version, volumePolicies"},
		{"key twice", "version: v1\nvolumePolicies: []\nvolumePolicies: []\n", "line 3, column 1: volumePolicies: the key is there twice, first on line 2; hint: remove one"},
		{"key that isn't text", "version: v1\n? [a]\n: b\n", "line 2, column 3: a key must be text"},
		{"merge key", "version: v1\n<<: {volumePolicies: []}\n", "<<: unknown key"},
		{"policies as mapping", "version: v1\nvolumePolicies: {}\n", "volumePolicies: is a mapping and must be a list"},
		{"policy as text", "version: v1\nvolumePolicies: [skip]\n", "volumePolicies[0]: is text and must be a mapping with the keys action, conditions"},
		{"unknown key in a policy", "version: v1\nvolumePolicies:\n- condition: {}\n  action: {type: skip}\n", "line 3, column 3: volumePolicies[0].condition: unknown key"},

		{"no action", "version: v1\nvolumePolicies:\n- conditions: {}\n", "line 3, column 3: volumePolicies[0]: has no action; hint: add action: {type: skip}, or fs-backup, snapshot or custom"},
		{"action as text", "version: v1\nvolumePolicies:\n- action: skip\n", "volumePolicies[0].action: is text and must be a mapping with the keys parameters, type"},
		{"action without type", "version: v1\nvolumePolicies:\n- action: {}\n", "volumePolicies[0].action: has no type; hint: use skip, fs-backup, snapshot or custom"},
		{"unknown action", "version: v1\nvolumePolicies:\n- action: {type: copy}\n", `line 3, column 18: volumePolicies[0].action.type: "copy" is unknown; hint: use skip, fs-backup, snapshot or custom`},
		{"action in capitals", "version: v1\nvolumePolicies:\n- action: {type: Skip}\n", `"Skip" is unknown`},
		{"unknown key in an action", "version: v1\nvolumePolicies:\n- action: {type: skip, params: {}}\n", "volumePolicies[0].action.params: unknown key; hint: the keys here are parameters, type"},
		{"parameters as list", "version: v1\nvolumePolicies:\n- action: {type: skip, parameters: [a]}\n", "volumePolicies[0].action.parameters: is a list and must be a mapping"},
		{"parameter twice", "version: v1\nvolumePolicies:\n- action: {type: skip, parameters: {a: 1, a: 2}}\n", `volumePolicies[0].action.parameters: unmarshal errors: line 3: mapping key "a" already defined`},
		{"parameters that hold themselves", "version: v1\nvolumePolicies:\n- action: {type: skip, parameters: &p {a: *p}}\n", "anchor 'p' value contains itself"},

		{"unknown condition", policyWith("{size: 1}"), "line 3, column 16: " + conditions + ".size: unknown key; hint: the keys here are capacity, csi, nfs, pvcLabels, pvcPhase, storageClass, volumeTypes"},
		{"conditions as list", policyWith("[]"), conditions + ": is a list and must be a mapping"},
		{"capacity without comma", policyWith(`{capacity: "5Gi"}`), `line 3, column 26: ` + conditions + `.capacity: "5Gi" must be a lower and an upper bound with one comma between; hint: write "10Gi,100Gi", "10Gi," or ",100Gi"`},
		{"capacity with two commas", policyWith(`{capacity: "1,2,3"}`), "with one comma between"},
		{"capacity empty", policyWith(`{capacity: ""}`), "with one comma between"},
		{"capacity no size", policyWith(`{capacity: "big,10Gi"}`), `.capacity: "big" is no size; hint: write one like 500Mi or 10Gi`},
		{"capacity wrong unit", policyWith(`{capacity: "1,10GB"}`), `"10GB" is no size`},
		{"capacity negative", policyWith(`{capacity: "-1,10Gi"}`), `"-1" is no size`},
		{"capacity with a huge exponent", policyWith(`{capacity: "1e-1000000000,"}`), `"1e-1000000000" is no size`},
		{"capacity upside down", policyWith(`{capacity: "10Gi,1Gi"}`), `"10Gi,1Gi": the lower bound is above the upper; hint: exchange them`},
		{"capacity as list", policyWith("{capacity: [1, 2]}"), "capacity: is a list and must be text"},
		{"capacity without value", policyWith("{capacity: }"), "capacity: has no value and must be text; hint: give it one or leave the key out"},
		{"storageClass as text", policyWith("{storageClass: fast}"), "storageClass: is text and must be a list"},
		{"storageClass element", policyWith("{storageClass: [{}]}"), "storageClass[0]: is a mapping and must be text"},
		{"storageClass element without value", policyWith("{storageClass: [~]}"), "storageClass[0]: has no value"},
		{"nfs without value", policyWith("{nfs: }"), "nfs: has no value and must be a mapping with the keys path, server"},
		{"nfs as text", policyWith("{nfs: server}"), "nfs: is text and must be a mapping with the keys path, server"},
		{"nfs unknown key", policyWith("{nfs: {host: a}}"), "nfs.host: unknown key"},
		{"csi as list", policyWith("{csi: [ebs]}"), "csi: is a list and must be a mapping"},
		{"csi unknown key", policyWith("{csi: {drivers: a}}"), "csi.drivers: unknown key; hint: the keys here are driver, volumeAttributes"},
		{"csi attributes without driver", policyWith("{csi: {volumeAttributes: {a: b}}}"), "line 3, column 40: " + conditions + ".csi.volumeAttributes: has a meaning for one driver only; hint: add driver beside it"},
		{"csi attributes as list", policyWith("{csi: {driver: a, volumeAttributes: [a]}}"), "csi.volumeAttributes: is a list and must be a mapping of text to text"},
		{"csi attribute as list", policyWith("{csi: {driver: a, volumeAttributes: {a: [b]}}}"), "csi.volumeAttributes.a: is a list and must be text"},
		{"csi attribute twice", policyWith("{csi: {driver: a, volumeAttributes: {a: b, a: c}}}"), "csi.volumeAttributes.a: the key is there twice"},
		{"volumeTypes as text", policyWith("{volumeTypes: csi}"), "volumeTypes: is text and must be a list"},
		{"volumeTypes element", policyWith("{volumeTypes: [[csi]]}"), "volumeTypes[0]: is a list and must be text"},
		{"pvcLabels as list", policyWith("{pvcLabels: [a]}"), "pvcLabels: is a list and must be a mapping of text to text"},
		{"pvcLabels without value", policyWith("{pvcLabels: {a: }}"), "pvcLabels.a: has no value and must be text"},
		{"pvcPhase unknown", policyWith("{pvcPhase: [Pending, bound]}"), `line 3, column 36: ` + conditions + `.pvcPhase[1]: "bound" is no phase of a claim; hint: use Pending, Bound or Lost`},
		{"pvcPhase as text", policyWith("{pvcPhase: Pending}"), "pvcPhase: is text and must be a list"},
		{"pvcPhase element", policyWith("{pvcPhase: [{}]}"), "pvcPhase[0]: is a mapping and must be text"},

		{"filters as list", "version: v1\nincludeExcludePolicy: []\n", "includeExcludePolicy: is a list and must be a mapping"},
		{"filters unknown key", "version: v1\nincludeExcludePolicy: {includedResources: []}\n", "includeExcludePolicy.includedResources: unknown key"},
		{"filters star", "version: v1\nincludeExcludePolicy:\n  includedClusterScopedResources: ['*']\n", `line 3, column 36: includeExcludePolicy.includedClusterScopedResources[0]: "*" is a pattern, and a policy can name kinds only`},
		{"filters glob", "version: v1\nincludeExcludePolicy:\n  excludedNamespaceScopedResources: [pods, '*.apps']\n", `excludedNamespaceScopedResources[1]: "*.apps" is a pattern`},
		{"filters empty name", "version: v1\nincludeExcludePolicy:\n  excludedNamespaceScopedResources: ['']\n", "excludedNamespaceScopedResources[0]: is empty"},
		{"filters element", "version: v1\nincludeExcludePolicy:\n  excludedNamespaceScopedResources: [{}]\n", "excludedNamespaceScopedResources[0]: is a mapping and must be text"},
		{"filters in both", "version: v1\nincludeExcludePolicy:\n  includedNamespaceScopedResources: [pods]\n  excludedNamespaceScopedResources:\n  - secrets\n  - pods\n",
			`line 6: includeExcludePolicy.excludedNamespaceScopedResources[1]: "pods" is in includedNamespaceScopedResources too; hint: leave it in one of the lists`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := policy.Parse([]byte(c.text))
			var invalid *policy.ValidationError
			if !errors.As(err, &invalid) || p != nil {
				t.Fatalf("%v, %v", p, err)
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
	_, err := policy.Parse([]byte(`version: v3
volumePolicies:
- conditions:
    capacity: 5Gi
    pvcPhase: [Gone]
    sice: 1
  action:
    type: delete
- action:
    type: skip
    type: snapshot
includeExcludePolicy:
  includedClusterScopedResources: ["*"]
`))
	var invalid *policy.ValidationError
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
	if diff := cmp.Diff([]int{1, 4, 5, 6, 8, 11, 13}, lines); diff != "" {
		t.Errorf("%s\n%s", diff, strings.Join(invalid.Problems, "\n"))
	}
	if got := len(invalid.Unwrap()); got != len(lines) {
		t.Errorf("%d errors", got)
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	documented, err := os.ReadFile("testdata/documented.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"version alone":  "version: v1\n",
		"nothing in it":  "version: v1\nvolumePolicies:\nincludeExcludePolicy:\n",
		"empty lists":    "version: v1\nvolumePolicies: []\nincludeExcludePolicy: {includedClusterScopedResources: [], excludedClusterScopedResources: }\n",
		"JSON":           `{"version": "v1", "volumePolicies": [{"conditions": {"nfs": {}}, "action": {"type": "skip", "parameters": null}}]}`,
		"document marks": "---\nversion: v1\n---\n# nothing\n",
		"document end":   "version: v1\n...\n",
		"aliases":        "version: v1\nvolumePolicies:\n- conditions: {storageClass: &classes [a, b]}\n  action: &skip {type: skip}\n- conditions: {storageClass: *classes}\n  action: *skip\n",
		"CRLF":           "version: v1\r\nvolumePolicies:\r\n- action:\r\n    type: skip\r\n",
		"as documented":  string(documented),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p, err := policy.Parse([]byte(text)); err != nil || p == nil {
				t.Error(err)
			}
		})
	}
}

// A short text whose aliases stand for millions of values is refused in time.
func TestParseBoundsAliases(t *testing.T) {
	t.Parallel()
	classes := "&c [" + strings.Repeat("a,", 2000) + "a]"
	text := "version: v1\nvolumePolicies:\n- &p {conditions: {storageClass: " + classes + "}, action: {type: skip}}\n" + strings.Repeat("- *p\n", 2000)
	if _, err := policy.Parse([]byte(text)); err == nil || strings.Count(err.Error(), "too large") != 1 {
		t.Errorf("error %.300v", err)
	}
}

func FuzzParse(f *testing.F) {
	documented, err := os.ReadFile("testdata/documented.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(documented), "", "version: v1", policyWith(`{capacity: "1e3,.5Ei"}`), policyWith("{csi: {driver: a, volumeAttributes: {b: !!int c}}}"),
		"&a [*a]", "version: &a v1\nvolumePolicies: &b\n- action: &c {type: skip, parameters: {x: [*a, !!binary aGk=, 2001-01-01]}}\n", "? {a: b}\n: *x\n", "%YAML 1.2\n---\n!!set {a}\n",
		"version: v1\nincludeExcludePolicy: {includedClusterScopedResources: [crd], excludedClusterScopedResources: [crd]}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := policy.Parse(text)
		if err == nil {
			p.Match(volume())
			p.MergeInto(filterSpec(), resolve)
			return
		}
		var invalid *policy.ValidationError
		if !errors.As(err, &invalid) || len(invalid.Problems) == 0 || p != nil {
			t.Fatalf("%v, %v", p, err)
		}
		for _, problem := range invalid.Problems {
			var line int
			if _, err := fmt.Sscanf(problem, "line %d", &line); err != nil || line < 1 {
				t.Errorf("no line: %q", problem)
			}
		}
	})
}
