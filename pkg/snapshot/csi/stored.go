package csi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// StoredClaim makes of a claim's JSON what the archive of a backup has of a claim with
// a snapshot: it names the snapshot, and asks for as much as that needs.
func StoredClaim(claim []byte, backup string, s *Snapshot) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(claim))
	decoder.UseNumber()
	var obj map[string]any
	if err := decoder.Decode(&obj); err != nil {
		return nil, fmt.Errorf("decode claim: %w", err)
	}
	dropFinalizer(child(obj, "metadata"), claimFinalizer)
	labels := child(child(obj, "metadata"), "labels")
	labels[velerov1.VolumeSnapshotNameLabel] = velerov1.ValidName(s.Name)
	labels[velerov1.BackupNameLabel] = velerov1.ValidName(backup)
	child(child(obj, "metadata"), "annotations")[velerov1.VolumeSnapshotNameLabel] = s.Name
	requests := child(child(child(obj, "spec"), "resources"), "requests")
	size := *resource.NewQuantity(s.RestoreSize, resource.BinarySI)
	asked, _ := requests["storage"].(string)
	if quantity, err := resource.ParseQuantity(asked); size.Sign() > 0 && (err != nil || quantity.Cmp(size) < 0) {
		requests["storage"] = size.String()
	}
	encoded, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encode claim: %w", err)
	}
	return encoded, nil
}

// dropFinalizer takes a finalizer off an object. The one of a claim that is being
// snapshotted belongs to the snapshot: nobody takes it off a restored claim.
func dropFinalizer(metadata map[string]any, finalizer string) {
	finalizers, _ := metadata["finalizers"].([]any)
	left := slices.DeleteFunc(finalizers, func(f any) bool { return f == finalizer })
	if len(left) > 0 {
		metadata["finalizers"] = left
	} else {
		delete(metadata, "finalizers")
	}
}

// child is the object in a field, which is made when there is none.
func child(obj map[string]any, field string) map[string]any {
	if existing, ok := obj[field].(map[string]any); ok && existing != nil {
		return existing
	}
	made := map[string]any{}
	obj[field] = made
	return made
}

// encode leaves out the nulls that the types' JSON has and an API server's hasn't.
func encode(obj any) ([]byte, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	dropNulls(fields)
	encoded, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	return encoded, nil
}

func dropNulls(fields map[string]any) {
	for name, value := range fields {
		if value == nil {
			delete(fields, name)
		} else if inner, ok := value.(map[string]any); ok {
			dropNulls(inner)
		}
	}
}

// secretsOf are the Secrets that a content and its class name; nil for none.
func secretsOf(content map[string]string, class *snapshotv1.VolumeSnapshotClass) []types.NamespacedName {
	annotations := []map[string]string{content}
	if class != nil {
		annotations = append(annotations, class.Annotations)
	}
	var found []types.NamespacedName
	for _, of := range annotations {
		for _, key := range secretKeys() {
			secret := types.NamespacedName{Namespace: of[key.namespace], Name: of[key.name]}
			if secret.Name != "" && secret.Namespace != "" && !slices.Contains(found, secret) {
				found = append(found, secret)
			}
		}
	}
	return found
}

// secretKey is a pair of annotations that names a Secret.
type secretKey struct{ name, namespace string }

// secretKeys are those that Velero knows, and the one that snapshot-controller sets.
func secretKeys() []secretKey {
	const prefix = "csi.storage.k8s.io/snapshotter-"
	return []secretKey{
		{deletionSecretName, deletionSecretNamespace},
		{prefix + "secret-name", prefix + "secret-namespace"},
		{prefix + "list-secret-name", prefix + "list-secret-namespace"},
	}
}

// HandleOf is what the driver has to be told to delete the snapshot of a content,
// such as one in an archive. The content's status must have a handle.
func HandleOf(content *snapshotv1.VolumeSnapshotContent) (Handle, error) {
	handle := Handle{Driver: content.Spec.Driver, Node: content.Labels[managedBy]}
	if status := content.Status; status != nil && status.SnapshotHandle != nil {
		handle.Snapshot = *status.SnapshotHandle
		if status.VolumeGroupSnapshotHandle != nil {
			handle.Group = *status.VolumeGroupSnapshotHandle
		}
	}
	if handle.Snapshot == "" || handle.Driver == "" {
		return Handle{}, fmt.Errorf("volume snapshot content %q names no snapshot of a driver", content.Name)
	}
	handle.SecretName, handle.SecretNamespace = deletionSecret(content.Annotations)
	if members := content.Annotations[groupMembers]; members != "" {
		if err := json.Unmarshal([]byte(members), &handle.GroupMembers); err != nil {
			return Handle{}, fmt.Errorf("volume snapshot content %q: annotation %s: %w", content.Name, groupMembers, err)
		}
	}
	return handle, nil
}

// deletionSecret is the Secret that a content names for its deletion; empty for none.
func deletionSecret(content map[string]string) (name, namespace string) {
	for _, key := range secretKeys()[:2] {
		if content[key.name] != "" && content[key.namespace] != "" {
			return content[key.name], content[key.namespace]
		}
	}
	return "", ""
}
