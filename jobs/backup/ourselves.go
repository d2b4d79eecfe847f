package backup

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// ownKinds are the kinds that this program creates to work with.
var ownKinds = map[string]bool{
	"pods": true, "jobs.batch": true, "cronjobs.batch": true, "podtemplates": true, "leases.coordination.k8s.io": true,
	"clusterrolebindings.rbac.authorization.k8s.io": true, "rolebindings.rbac.authorization.k8s.io": true,
}

// has reports whether an object is one of ours.
func (ours ourselves) has(resource string, obj header) bool {
	if resource == "secrets" {
		return obj.Metadata.Namespace == ours.namespace && ours.secrets[obj.Metadata.Name]
	}
	if !ownKinds[resource] {
		return false
	}
	_, operation := obj.Metadata.Labels[velerov1.OperationLabel]
	installed := obj.Metadata.Namespace == ours.namespace && obj.Metadata.Labels[velerov1.ComponentLabel] == velerov1.ComponentValue
	return operation || installed
}
