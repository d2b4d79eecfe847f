package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// normalizer takes out of objects what differs whenever they are written.
type normalizer struct {
	status bool // that status stays
}

// object is what is compared of an object.
func (n normalizer) object(body []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("is no JSON: %w", err)
	}
	if !n.status {
		delete(object, "status")
	}
	meta, ok := object["metadata"].(map[string]any)
	if !ok {
		return object, nil
	}
	for _, field := range []string{"resourceVersion", "uid", "generation", "creationTimestamp", "selfLink", "managedFields"} {
		delete(meta, field)
	}
	if labels, ok := meta["labels"].(map[string]any); ok {
		delete(labels, velerov1.BackupNameLabel)
		delete(labels, velerov1.RestoreNameLabel)
		if len(labels) == 0 {
			delete(meta, "labels")
		}
	}
	owners, _ := meta["ownerReferences"].([]any)
	for _, owner := range owners {
		if owner, ok := owner.(map[string]any); ok {
			delete(owner, "uid")
		}
	}
	return object, nil
}

// hash is the same for objects that are the same.
func (n normalizer) hash(body []byte) (hash [16]byte, err error) {
	object, err := n.object(body)
	if err != nil {
		return hash, err
	}
	text, err := json.Marshal(object) // with its keys in order
	if err != nil {
		return hash, err
	}
	sum := sha256.Sum256(text)
	return [16]byte(sum[:16]), nil
}

// lastApplied holds the whole object, a Secret's data too.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// maskSecrets hides the data of two versions of a Secret, so that one still sees
// what differs. Either may be nil.
func maskSecrets(before, after map[string]any) {
	for _, field := range []string{"data", "stringData"} {
		maskValues(member(before, field), member(after, field), nil)
	}
	maskValues(member(member(before, "metadata"), "annotations"), member(member(after, "metadata"), "annotations"), func(key string) bool {
		return key == lastApplied
	})
}

// maskValues replaces the values of the keys that match, nil for all, as kubectl
// diff does.
func maskValues(before, after map[string]any, match func(key string) bool) {
	for key, old := range before {
		if match != nil && !match(key) {
			continue
		}
		fresh, both := after[key]
		switch {
		case !both:
			before[key] = "***"
		case reflect.DeepEqual(old, fresh):
			before[key], after[key] = "***", "***"
		default:
			before[key], after[key] = "*** (before)", "*** (after)"
		}
	}
	for key := range after {
		if _, both := before[key]; !both && (match == nil || match(key)) {
			after[key] = "***"
		}
	}
}

func member(object map[string]any, name string) map[string]any {
	m, _ := object[name].(map[string]any)
	return m
}
