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

// Handle is how the driver calls the snapshot; empty as long as there is none.
func (s *Snapshot) Handle() string {
	if s.Content == nil || s.Content.Status == nil || s.Content.Status.SnapshotHandle == nil {
		return ""
	}
	return *s.Content.Status.SnapshotHandle
}

// RestoreSize is what a volume made from the snapshot needs at least, in bytes; 0
// when the driver doesn't say.
func (s *Snapshot) RestoreSize() int64 {
	if s.Content != nil && s.Content.Status != nil && s.Content.Status.RestoreSize != nil {
		return *s.Content.Status.RestoreSize
	}
	if s.Object != nil && s.Object.Status != nil && s.Object.Status.RestoreSize != nil {
		return s.Object.Status.RestoreSize.Value()
	}
	return 0
}

// Ready reports whether a volume can be made from it; nil as long as the driver
// hasn't said.
func (s *Snapshot) Ready() *bool {
	if s.Content == nil || s.Content.Status == nil {
		return nil
	}
	return s.Content.Status.ReadyToUse
}

// StoredClaim makes of a claim's JSON what the archive has of a claim with a
// snapshot: it names the snapshot, and asks for as much as that needs.
func StoredClaim(claim []byte, s *Snapshot) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(claim))
	decoder.UseNumber()
	var obj map[string]any
	if err := decoder.Decode(&obj); err != nil {
		return nil, fmt.Errorf("decode claim: %w", err)
	}
	name := s.Object.Name
	dropFinalizer(child(obj, "metadata"), claimFinalizer)
	labels := child(child(obj, "metadata"), "labels")
	labels[velerov1.VolumeSnapshotNameLabel] = velerov1.ValidName(name)
	labels[velerov1.BackupNameLabel] = s.Object.Labels[velerov1.BackupNameLabel]
	child(child(obj, "metadata"), "annotations")[velerov1.VolumeSnapshotNameLabel] = name
	requests := child(child(child(obj, "spec"), "resources"), "requests")
	size := *resource.NewQuantity(s.RestoreSize(), resource.BinarySI)
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

// StoredSnapshot is the JSON that the archive has of a VolumeSnapshot: with what a
// restore must know in its annotations. It needs Object and Content.
func StoredSnapshot(s *Snapshot) ([]byte, error) {
	stored := s.Object.DeepCopy()
	stored.APIVersion, stored.Kind = snapshotv1.SchemeGroupVersion.String(), "VolumeSnapshot"
	if stored.Annotations == nil {
		stored.Annotations = map[string]string{}
	}
	stored.Annotations[snapshotHandle] = s.Handle()
	stored.Annotations[driverName] = s.Content.Spec.Driver
	stored.Annotations[deletionPolicy] = string(s.policy())
	if size := s.RestoreSize(); size > 0 {
		stored.Annotations[snapshotRestoreSize] = resource.NewQuantity(size, resource.BinarySI).String()
	}
	if s.GroupHandle != "" {
		stored.Annotations[groupHandle] = s.GroupHandle
	}
	return encode(stored)
}

// policy is that of the class: the content's own says that the backup keeps it.
func (s *Snapshot) policy() snapshotv1.DeletionPolicy {
	if s.Class != nil && s.Class.DeletionPolicy != "" {
		return s.Class.DeletionPolicy
	}
	return s.Content.Spec.DeletionPolicy
}

// StoredContent is the JSON that the archive has of a VolumeSnapshotContent. Its
// label says that the snapshot is deleted with the backup.
func StoredContent(s *Snapshot) ([]byte, error) {
	stored := s.Content.DeepCopy()
	stored.APIVersion, stored.Kind = snapshotv1.SchemeGroupVersion.String(), "VolumeSnapshotContent"
	if stored.Labels == nil {
		stored.Labels = map[string]string{}
	}
	stored.Labels[velerov1.BackupNameLabel] = s.Object.Labels[velerov1.BackupNameLabel]
	stored.Spec.DeletionPolicy = s.policy()
	delete(stored.Annotations, nudged)
	if len(s.GroupMembers) > 0 {
		members, err := json.Marshal(s.GroupMembers)
		if err != nil {
			return nil, fmt.Errorf("encode handles of group: %w", err)
		}
		if stored.Annotations == nil {
			stored.Annotations = map[string]string{}
		}
		stored.Annotations[groupMembers] = string(members)
	}
	return encode(stored)
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

// Secrets returns the Secrets that the snapshot's content and class name, without
// whose keys the driver can't delete it or make a volume from it.
func (s *Snapshot) Secrets() []types.NamespacedName {
	var annotations []map[string]string
	if s.Content != nil {
		annotations = append(annotations, s.Content.Annotations)
	}
	if s.Class != nil {
		annotations = append(annotations, s.Class.Annotations)
	}
	var found []types.NamespacedName
	seen := map[types.NamespacedName]bool{}
	for _, of := range annotations {
		for _, key := range secretKeys() {
			secret := types.NamespacedName{Namespace: of[key.namespace], Name: of[key.name]}
			if secret.Name != "" && secret.Namespace != "" && !seen[secret] {
				seen[secret] = true
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
	for _, key := range secretKeys()[:2] {
		if content.Annotations[key.name] != "" && content.Annotations[key.namespace] != "" {
			handle.SecretName, handle.SecretNamespace = content.Annotations[key.name], content.Annotations[key.namespace]
			break
		}
	}
	if members := content.Annotations[groupMembers]; members != "" {
		if err := json.Unmarshal([]byte(members), &handle.GroupMembers); err != nil {
			return Handle{}, fmt.Errorf("volume snapshot content %q: annotation %s: %w", content.Name, groupMembers, err)
		}
	}
	return handle, nil
}
