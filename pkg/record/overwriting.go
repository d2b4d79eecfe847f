package record

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// overwriting is status as a merge patch that leaves nothing of what the object's
// fields were: a count of 0 isn't encoded, and what had been written of the progress
// would stand beside the end.
func overwriting(status map[string]any, current *unstructured.Unstructured) (map[string]any, error) {
	body, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	for name, value := range fields {
		now, ok := value.(map[string]any)
		before, found, err := unstructured.NestedMap(current.Object, "status", name)
		if !ok || !found || err != nil {
			continue // no object: it is replaced as it is
		}
		for key := range before {
			if _, stays := now[key]; !stays {
				now[key] = nil
			}
		}
	}
	return fields, nil
}
