package strictyaml_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// shop is what the texts of these tests are about.
type shop struct {
	Name   string
	Floors []string
	Labels map[string]string
}

func read(text string) (shop, []string) {
	var s shop
	problems := strictyaml.Read([]byte(text), "shops", func(d *strictyaml.Decoder, root *strictyaml.Node) {
		d.Mapping(root, strictyaml.Fields{
			"name":   func(n *strictyaml.Node) { s.Name, _ = d.Text(n) },
			"floors": func(n *strictyaml.Node) { s.Floors = d.Texts(n) },
			"labels": func(n *strictyaml.Node) { s.Labels = d.TextMap(n) },
		})
		if root.Lacks("name") {
			d.Problem(root, "has no name")
		}
	})
	return s, problems
}

func TestRead(t *testing.T) {
	t.Parallel()
	got, problems := read("# a shop\nname: 1\nfloors: [&a yes, 1.10, *a]\nlabels: {open: true, since: 2001-01-01}\n---\n# no more\n")
	want := shop{Name: "1", Floors: []string{"yes", "1.10", "yes"}, Labels: map[string]string{"open": "true", "since": "2001-01-01"}}
	if diff := cmp.Diff(want, got); diff != "" || problems != nil {
		t.Errorf("problems %q\n%s", problems, diff)
	}
}

func TestReadProblems(t *testing.T) {
	t.Parallel()
	const keys = "a mapping with the keys floors, labels, name"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"line 1: the text is empty; hint: begin with version: v1"}},
		{"comments alone", "# nothing\n", []string{"line 1: the text is empty; hint: begin with version: v1"}},
		{"no YAML", "name: [\n", []string{"line 1: did not find expected node content; hint: look for indentation, quotes and colons near that line"}},
		{"unknown anchor", "name: *a\n", []string{"line 1: unknown anchor 'a' referenced; hint: look for indentation, quotes and colons near that line"}},
		{"two documents", "name: a\n---\nname: b\n", []string{"line 2: a second YAML document begins here; hint: put everything into one"}},
		{"no mapping", "[]", []string{"line 1, column 1: is a list and must be " + keys}},
		{"missing key", "{}", []string{"line 1, column 1: has no name"}},
		{"no value", "name:\n", []string{"line 1, column 6: name: has no value and must be text; hint: give it one or leave the key out"}},
		{"wrong types", "name: []\nfloors: a\nlabels: [b]\n", []string{
			"line 1, column 7: name: is a list and must be text",
			"line 2, column 9: floors: is text and must be a list",
			"line 3, column 9: labels: is a list and must be a mapping of text to text",
		}},
		{"wrong types inside", "name: a\nfloors: [a, {b: c}]\nlabels: {d: [e]}\n", []string{
			"line 2, column 13: floors[1]: is a mapping and must be text",
			"line 3, column 13: labels.d: is a list and must be text",
		}},
		{"binary", "name: !!binary aGk=\n", []string{"line 1, column 7: name: is binary data and must be text"}},
		{"keys", "name: a\nnames: b\nname: c\n? [d]\n: e\n", []string{
			"line 2, column 1: names: unknown key; hint: the keys here are floors, labels, name",
			"line 3, column 1: name: the key is there twice, first on line 1; hint: remove one",
			"line 4, column 3: a key must be text",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, problems := read(c.text)
			if diff := cmp.Diff(c.want, problems); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A short text whose aliases stand for millions of values is refused in time.
func TestReadBoundsAliases(t *testing.T) {
	t.Parallel()
	problems := strictyaml.Read([]byte("- &a ["+strings.Repeat("x,", 2000)+"x]\n"+strings.Repeat("- *a\n", 2000)), "lists",
		func(d *strictyaml.Decoder, root *strictyaml.Node) {
			d.List(root, func(n *strictyaml.Node) { d.Texts(n) })
		})
	if len(problems) != 1 || !strings.HasSuffix(problems[0], "the lists are too large, aliases counted as what they stand for") {
		t.Errorf("problems %.300q", problems)
	}
}

func TestLacks(t *testing.T) {
	t.Parallel()
	strictyaml.Read([]byte("a: &b b\n*b : c\nd: [e]\n"), "letters", func(d *strictyaml.Decoder, root *strictyaml.Node) {
		for key, want := range map[string]bool{"a": false, "b": false, "c": true, "e": true} {
			if got := root.Lacks(key); got != want {
				t.Errorf("lacks %q: %v", key, got)
			}
		}
		d.Mapping(root, strictyaml.Fields{"d": func(n *strictyaml.Node) {
			if n.Lacks("a") {
				t.Error("a list lacks a key")
			}
		}})
	})
}

func TestFromConfigMap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		data   map[string]string
		binary map[string][]byte
		want   []string
	}{
		{"one key", map[string]string{"any": "good"}, nil, nil},
		{"no key", nil, nil, []string{`ConfigMap "m": shops must be in a single key, of any name, and it has 0 keys; hint: kubectl create configmap NAME --from-file shops.yaml`}},
		{"two keys", map[string]string{"b": "good", "a": "good"}, nil, []string{`ConfigMap "m": shops must be in a single key, of any name, and it has 2 keys (a, b); hint: use a ConfigMap for each`}},
		{"binary", map[string]string{"any": "good"}, map[string][]byte{"c": nil}, []string{`ConfigMap "m": binaryData (c) can't hold shops; hint: put the YAML as text in a single key of data`}},
		{"problems", map[string]string{"a.yaml": "bad"}, nil, []string{`ConfigMap "m", key "a.yaml", line 1: one`, `ConfigMap "m", key "a.yaml", line 2: two`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Data: c.data, BinaryData: c.binary}
			err := strictyaml.FromConfigMap(cm, "shops", func(text []byte) []string {
				if string(text) == "good" {
					return nil
				}
				return []string{"line 1: one", "line 2: two"}
			})
			var got []string
			if invalid := (*strictyaml.ValidationError)(nil); errors.As(err, &invalid) {
				got = invalid.Problems
			}
			if diff := cmp.Diff(c.want, got); diff != "" || (err == nil) != (c.want == nil) {
				t.Errorf("error %v\n%s", err, diff)
			}
		})
	}
}

func TestValidationError(t *testing.T) {
	t.Parallel()
	if err := strictyaml.Invalid(nil); err != nil {
		t.Error(err)
	}
	err := strictyaml.Invalid([]string{"one", "two"})
	if err.Error() != "one; two" {
		t.Error(err)
	}
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 2 || joined.Unwrap()[1].Error() != "two" {
		t.Errorf("%#v", err)
	}
}
