package backup

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

// claimFacts is the part of a claim that a backup looks at.
type claimFacts struct {
	Spec   corev1.PersistentVolumeClaimSpec   `json:"spec"`
	Status corev1.PersistentVolumeClaimStatus `json:"status"`
}

func (c claimFacts) bound() bool {
	return c.Status.Phase == corev1.ClaimBound && c.Spec.VolumeName != ""
}

// claim notes a bound claim's volume and takes out of the claim what would tie
// its restored twin to something that isn't there: as in Velero's archives, the
// data source, the selector of dynamically provisioned claims, and labels of
// earlier restores.
func (n *needs) claim(backup string, obj cluster.Object, body []byte) ([]byte, error) {
	var bound claimFacts
	if err := json.Unmarshal(obj.Raw, &bound); err != nil {
		return nil, &unreadableError{fmt.Errorf("decode claim: %w", err)}
	}
	if !bound.bound() {
		return body, nil
	}
	n.volume(bound.Spec.VolumeName)
	var claim map[string]json.RawMessage
	if err := json.Unmarshal(body, &claim); err != nil {
		return nil, &unreadableError{fmt.Errorf("decode claim: %w", err)}
	}
	keepSelector := bound.Spec.StorageClassName != nil && *bound.Spec.StorageClassName == ""
	for _, edit := range []struct {
		field string
		drop  func(map[string]any) bool
	}{
		{"spec", func(spec map[string]any) bool { return dropSources(spec, keepSelector) }},
		{"metadata", func(metadata map[string]any) bool { return dropLabels(metadata, backup) }},
	} {
		if err := editField(claim, edit.field, edit.drop); err != nil {
			return nil, &unreadableError{err}
		}
	}
	return json.Marshal(claim)
}

// editField rewrites one field of an object if drop changes it.
func editField(obj map[string]json.RawMessage, field string, drop func(map[string]any) bool) error {
	decoder := json.NewDecoder(strings.NewReader(string(obj[field])))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("decode claim %s: %w", field, err)
	}
	if !drop(value) {
		return nil
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode claim %s: %w", field, err)
	}
	obj[field] = encoded
	return nil
}

func dropSources(spec map[string]any, keepSelector bool) bool {
	before := len(spec)
	delete(spec, "dataSource")
	delete(spec, "dataSourceRef")
	if !keepSelector {
		delete(spec, "selector")
		return len(spec) != before
	}
	selector, _ := spec["selector"].(map[string]any)
	labels, _ := selector["matchLabels"].(map[string]any)
	kept := len(labels)
	for key := range labels {
		if strings.HasPrefix(key, "velero.io/") {
			delete(labels, key)
		}
	}
	return len(spec) != before || len(labels) != kept
}

func dropLabels(metadata map[string]any, backup string) bool {
	labels, _ := metadata["labels"].(map[string]any)
	before := len(labels)
	delete(labels, velerov1.RestoreNameLabel)
	delete(labels, velerov1.VolumeSnapshotNameLabel)
	if labels[velerov1.BackupNameLabel] != velerov1.ValidName(backup) {
		delete(labels, velerov1.BackupNameLabel)
	}
	return len(labels) != before
}
