// Package strictyaml reads the YAML that a person wrote into a ConfigMap and
// tells everything that is wrong with it at once, each problem with its line,
// column and field. The types of a YAML library would do for the reading alone,
// but their errors name neither fields nor more than one problem, and they pass
// over keys that are there twice or have no value.
//
// What the fields mean is left to the packages that read them, like pkg/policy
// and pkg/modifier.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// maxNodes bounds what is read, since aliases let a short text stand for a huge
// one. A ConfigMap of 1 MiB has room for fewer.
const maxNodes = 1 << 19

// ValidationError holds everything that is wrong with a text, one sentence for
// each problem with its line, column and field.
type ValidationError struct{ Problems []string }

// Error joins the problems.
func (e *ValidationError) Error() string { return strings.Join(e.Problems, "; ") }

// Unwrap returns each problem as an error of its own.
func (e *ValidationError) Unwrap() []error {
	errs := make([]error, len(e.Problems))
	for i, problem := range e.Problems {
		errs[i] = errors.New(problem)
	}
	return errs
}

// Invalid returns a *ValidationError; nil when there are no problems.
func Invalid(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return &ValidationError{Problems: problems}
}

// Parse reads a text and returns every problem with it.
type Parse func(text []byte) (problems []string)

// FromConfigMap has the text in the only key of a ConfigMap, whatever its name,
// parsed. The noun says what ought to be in it, like "policies". An error is a
// *ValidationError; its problems name ConfigMap and key.
func FromConfigMap(cm *corev1.ConfigMap, noun string, parse Parse) error {
	keys := slices.Sorted(maps.Keys(cm.Data))
	where := fmt.Sprintf("ConfigMap %q", cm.Name)
	switch {
	case len(cm.BinaryData) > 0:
		binary := strings.Join(slices.Sorted(maps.Keys(cm.BinaryData)), ", ")
		return Invalid([]string{fmt.Sprintf("%s: binaryData (%s) can't hold %s; hint: put the YAML as text in a single key of data", where, binary, noun)})
	case len(keys) != 1:
		return Invalid([]string{fmt.Sprintf("%s: %s must be in a single key, of any name, and it has %d keys%s", where, noun, len(keys), listed(keys, noun))})
	}
	problems := parse([]byte(cm.Data[keys[0]]))
	for i := range problems {
		problems[i] = fmt.Sprintf("%s, key %q, %s", where, keys[0], problems[i])
	}
	return Invalid(problems)
}

func listed(keys []string, noun string) string {
	if len(keys) == 0 {
		return fmt.Sprintf("; hint: kubectl create configmap NAME --from-file %s.yaml", noun)
	}
	return " (" + strings.Join(keys, ", ") + "); hint: use a ConfigMap for each"
}

// Read calls read with the root of the only document in text and returns every
// problem, those that read told the Decoder included, each with its line in
// front. The noun says what is read, like "policies".
func Read(text []byte, noun string, read func(*Decoder, *Node)) []string {
	d := &Decoder{noun: noun}
	if root := d.document(text); root != nil {
		read(d, root)
	}
	return d.problems
}

const emptyProblem = "line 1: the text is empty; hint: begin with version: v1"

// document returns the only document in text; nil when there is none.
func (d *Decoder) document(text []byte) *Node {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.problems = append(d.problems, emptyProblem)
		return nil
	case err != nil:
		d.problems = append(d.problems, syntaxProblem(err))
		return nil
	}
	d.end(decoder)
	root := d.at(doc.Content[0], "")
	if root.Null() { // comments alone
		d.problems = append(d.problems, emptyProblem)
		return nil
	}
	return root
}

// end looks at what comes after the first document: nothing, or empty ones.
func (d *Decoder) end(decoder *yaml.Decoder) {
	for {
		var more yaml.Node
		switch err := decoder.Decode(&more); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			d.problems = append(d.problems, syntaxProblem(err))
			return
		}
		if content := d.at(more.Content[0], ""); !content.Null() {
			d.ProblemAt(more.Line, 0, "", "a second YAML document begins here; hint: put everything into one")
			return
		}
	}
}

// syntaxProblem turns the library's "yaml: line 3: what" into our form.
func syntaxProblem(err error) string {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	if !strings.HasPrefix(what, "line ") {
		what = "line 1: " + what
	}
	return what + "; hint: look for indentation, quotes and colons near that line"
}
