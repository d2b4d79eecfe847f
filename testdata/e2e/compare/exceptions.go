package compare

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

//go:embed exceptions.yaml
var exceptionsYAML []byte

// Exceptions is the written list of what may differ, each with its reason.
type Exceptions struct {
	Objects []ObjectException `json:"objects"`
	Fields  []FieldException  `json:"fields"`
}

// ObjectException leaves out objects that meet all its conditions.
type ObjectException struct {
	Reason string `json:"reason"`
	// Resources are plural with the group; empty matches every resource.
	Resources []string `json:"resources,omitempty"`
	// Names are exact; empty matches every name.
	Names []string `json:"names,omitempty"`
	// Label is key=value; empty asks for none.
	Label string `json:"label,omitempty"`
	// Finished asks for a completed Job, or a pod that has succeeded or failed.
	Finished bool `json:"finished,omitempty"`
	// OtherCluster makes the exception count only where the restore went to
	// another cluster than the backup came from.
	OtherCluster bool `json:"otherCluster,omitempty"`
}

// FieldException lets the value of fields, and what lies below, differ.
type FieldException struct {
	Reason string `json:"reason"`
	// Resources are plural with the group; empty matches every resource.
	Resources []string `json:"resources,omitempty"`
	// Fields are paths such as spec.ports[*].nodePort.
	Fields []string `json:"fields"`
	// Unless is a value which must stay; empty is none.
	Unless string `json:"unless,omitempty"`
	// UnlessApplied makes a value stay where last-applied-configuration has it.
	UnlessApplied bool `json:"unlessApplied,omitempty"`
	// Added only excuses a value where there was none before.
	Added bool `json:"added,omitempty"`
	// FromSnapshot only excuses a claim whose volume was made from a snapshot.
	FromSnapshot bool `json:"fromSnapshot,omitempty"`
}

// Written returns the list that the project uses, from exceptions.yaml.
func Written() (Exceptions, error) {
	var written Exceptions
	if err := yaml.UnmarshalStrict(exceptionsYAML, &written); err != nil {
		return Exceptions{}, fmt.Errorf("read the list of exceptions: %w", err)
	}
	return written, nil
}

// object returns the reason why the object isn't compared, or "".
func (e Exceptions) object(key Key, object *unstructured.Unstructured, otherCluster bool) string {
	for _, exception := range e.Objects {
		if exception.matches(key, object, otherCluster) {
			return exception.Reason
		}
	}
	return ""
}

func (e ObjectException) matches(key Key, object *unstructured.Unstructured, otherCluster bool) bool {
	labelKey, labelValue, _ := strings.Cut(e.Label, "=")
	return (!e.OtherCluster || otherCluster) &&
		(len(e.Resources) == 0 || slices.Contains(e.Resources, key.Resource)) &&
		(len(e.Names) == 0 || slices.Contains(e.Names, key.Name)) &&
		(e.Label == "" || object.GetLabels()[labelKey] == labelValue) &&
		(!e.Finished || finished(object))
}

func finished(object *unstructured.Unstructured) bool {
	completion, _, _ := unstructured.NestedString(object.Object, "status", "completionTime")
	phase, _, _ := unstructured.NestedString(object.Object, "status", "phase")
	return completion != "" || phase == "Succeeded" || phase == "Failed"
}

// field returns the reason why the difference is allowed, or "".
func (e Exceptions) field(key Key, d difference, before, after *unstructured.Unstructured) string {
	for _, exception := range e.Fields {
		if exception.excuses(key, d, before, after) {
			return exception.Reason
		}
	}
	return ""
}

func (e FieldException) excuses(key Key, d difference, before, after *unstructured.Unstructured) bool {
	named := func(pattern string) bool { return covers(parsePath(pattern), d.path) }
	return (len(e.Resources) == 0 || slices.Contains(e.Resources, key.Resource)) &&
		slices.ContainsFunc(e.Fields, named) &&
		(e.Unless == "" || d.before != e.Unless && d.after != e.Unless) &&
		(!e.Added || d.before == nil) &&
		(!e.FromSnapshot || fromSnapshot(after)) &&
		(!e.UnlessApplied || !applied(before, d.path))
}

func fromSnapshot(claim *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(claim.Object, "spec", "dataSource", "kind")
	return kind == "VolumeSnapshot"
}

// applied says whether the user's last applied configuration sets the path.
func applied(object *unstructured.Unstructured, path []string) bool {
	var config any
	text := object.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"]
	if json.Unmarshal([]byte(text), &config) != nil {
		return false
	}
	for _, step := range path {
		switch at := config.(type) {
		case map[string]any:
			config = at[step]
		case []any:
			index := listIndex(step)
			if index < 0 || index >= len(at) {
				return false
			}
			config = at[index]
		default:
			return false
		}
	}
	return config != nil
}
