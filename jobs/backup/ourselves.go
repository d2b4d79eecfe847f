package backup

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Secrets of an install that hold keys to the backups; a backup that held them
// would lie in the very bucket that they open.
const (
	credentialsSecret = "cloud-credentials"
	repositorySecret  = "velero-repo-credentials"
)

// ourselves knows what belongs to this program and stays out of every backup:
// restored, it would at once back up into, and expire from, the live bucket.
type ourselves struct {
	namespace string
	secrets   map[string]bool
}

func (o *operation) ourselves(ctx context.Context) (ourselves, error) {
	ours := ourselves{namespace: o.Namespace, secrets: map[string]bool{credentialsSecret: true, repositorySecret: true}}
	locations, err := o.Client.BackupStorageLocations(o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return ours, fmt.Errorf("list storage locations: %w", err)
	}
	for _, location := range locations.Items {
		if location.Spec.Credential != nil {
			ours.secrets[location.Spec.Credential.Name] = true
		}
	}
	snapshotLocations, err := o.Client.VolumeSnapshotLocations(o.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return ours, fmt.Errorf("list snapshot locations: %w", err)
	}
	for _, location := range snapshotLocations.Items {
		if location.Spec.Credential != nil {
			ours.secrets[location.Spec.Credential.Name] = true
		}
	}
	return ours, nil
}

// has reports whether an object is one of ours.
func (ours ourselves) has(resource schema.GroupResource, obj header) bool {
	namespace := obj.Metadata.Namespace
	if resource == (schema.GroupResource{Resource: "secrets"}) {
		return namespace == ours.namespace && ours.secrets[obj.Metadata.Name]
	}
	return velerov1.Ours(resource, obj.Metadata.Labels, namespace == "" || namespace == ours.namespace)
}
