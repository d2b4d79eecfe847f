package modifier

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// opTest is the operation that changes nothing.
const opTest = "test"

var (
	operations = []string{"add", "copy", "move", "remove", "replace", opTest}
	// copies are those that have a from.
	copies = []string{"copy", "move"}
	// pointer is RFC 6901 without the empty path and empty keys: the whole
	// object can't be replaced, and no field of Kubernetes has an empty name.
	pointer = regexp.MustCompile(`^(/([^~/]|~[01])+)+$`)
	// number is what JSON takes for one.
	number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

	emptyText = json.RawMessage(`""`)
)

// operation is one of a JSON patch.
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	From  string          `json:"from,omitempty"`
	Value json.RawMessage `json:"value"`
}

// jsonPatch reads the operations of a JSON patch.
func (d *decoder) jsonPatch(n *node) jsonPatch {
	var all []operation
	d.List(n, func(n *node) { all = append(all, d.operation(n)) })
	var steps jsonPatch
	for len(all) > 0 {
		tests := all[0].Op == opTest
		end := slices.IndexFunc(all, func(o operation) bool { return (o.Op == opTest) != tests })
		if end < 0 {
			end = len(all)
		}
		steps = append(steps, step{tests: tests, patch: d.patch(n, all[:end])})
		all = all[end:]
	}
	return steps
}

func (d *decoder) operation(n *node) operation {
	o := operation{Value: emptyText}
	d.Mapping(n, strictyaml.Fields{
		"operation": func(n *node) { o.Op = d.operationName(n) },
		"path":      func(n *node) { o.Path = d.pointer(n) },
		"from":      func(n *node) { o.From = d.pointer(n) },
		"value":     func(n *node) { o.Value = d.value(n) },
	})
	if n.Lacks("operation") {
		d.Problem(n, "has no operation; hint: use %s", strings.Join(operations, ", "))
	}
	if n.Lacks("path") {
		d.Problem(n, "has no path; hint: add one like path: /spec/replicas")
	}
	if n.Lacks("from") && slices.Contains(copies, o.Op) {
		d.Problem(n, "has no from; hint: add the path whose value to %s", o.Op)
	}
	return o
}

func (d *decoder) operationName(n *node) string {
	text, ok := d.Text(n)
	name := strings.ToLower(text)
	if ok && !slices.Contains(operations, name) {
		d.Problem(n, "%q is unknown; hint: use %s", text, strings.Join(operations, ", "))
	}
	return name
}

func (d *decoder) pointer(n *node) string {
	text, ok := d.Text(n)
	if ok && !pointer.MatchString(text) {
		d.Problem(n, "%q is no path to a field; hint: write one like /metadata/labels/example.org~1tier, with ~1 for / and ~0 for ~ in a name", text)
	}
	return text
}

// patch turns operations into a patch of the library, which takes JSON only.
func (d *decoder) patch(n *node, all []operation) jsonpatch.Patch {
	if len(all) == 0 {
		return nil
	}
	raw, err := json.Marshal(all)
	if err != nil {
		d.Problem(n, "%v", err)
		return nil
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil && d.Problems() == 0 { // else that is why
		d.Problem(n, "%v", err)
	}
	return patch
}

// value reads a value of a JSON patch, which is written as text. Text in quotes
// of its own is text; null, booleans, numbers, objects and lists are what they
// look like; anything else is text, too. A problem doesn't quote the value,
// which may be a secret.
func (d *decoder) value(n *node) json.RawMessage {
	if n.Null() {
		d.Problem(n, `has no value; hint: write "" for empty text, or "null"`)
		return emptyText
	}
	text, ok := d.Text(n)
	if !ok {
		return emptyText
	}
	switch lower := strings.ToLower(text); {
	case len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"':
		return quote(text[1 : len(text)-1])
	case text == "null", number.MatchString(text):
		return json.RawMessage(text)
	case lower == "true", lower == "false":
		return json.RawMessage(lower)
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		if !json.Valid([]byte(text)) {
			d.Problem(n, `begins like JSON and is none; hint: look for quotes and commas, or put it into quotes of its own, '"..."', to have text`)
			return emptyText
		}
		return json.RawMessage(text)
	}
	return quote(text)
}

// quote returns text as JSON. Backslashes in it have the meaning that JSON gives
// them, where they have one, since Velero puts the text between quotes as it is.
func quote(text string) json.RawMessage {
	if quoted := []byte(`"` + text + `"`); json.Valid(quoted) {
		return quoted
	}
	raw, _ := json.Marshal(text) // a string is always encoded
	return raw
}

// patchData reads a list of patches as texts of JSON or YAML.
func (d *decoder) patchData(n *node) [][]byte {
	var all [][]byte
	d.List(n, func(n *node) {
		d.Mapping(n, strictyaml.Fields{"patchData": func(n *node) { all = append(all, d.object(n)) }})
		if n.Lacks("patchData") {
			d.Problem(n, "has no patchData; hint: add patchData: | and the patch below")
		}
	})
	return all
}

// object reads a text that is a JSON object or a YAML mapping.
func (d *decoder) object(n *node) []byte {
	if n.Kind == yaml.MappingNode {
		d.Problem(n, "is a mapping and must be text; hint: write patchData: | and indent the patch below")
		return nil
	}
	text, ok := d.Text(n)
	if !ok {
		return nil
	}
	raw := []byte(text)
	if !json.Valid(raw) {
		var err error
		if raw, err = sigsyaml.YAMLToJSONStrict([]byte(text)); err != nil {
			d.Problem(n, "is neither JSON nor YAML: %s", strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " "))
			return nil
		}
	}
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		d.Problem(n, "must be an object; hint: write one like {metadata: {annotations: {example.org/a: b}}}")
	}
	return raw
}
