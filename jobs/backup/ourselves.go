package backup

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// Secrets of an install that hold keys to the backups; a backup that held them
// would lie in the very bucket that they open.
const (
	credentialsSecret = "cloud-credentials"
	repositorySecret  = "velero-repo-credentials"
)

// ourselves knows what belongs to this program, of every install that can be
// seen, and stays out of every backup: restored, it would at once back up into,
// and expire from, the live bucket.
type ourselves struct {
	namespaces map[string]bool
	secrets    places
	// claims and volumes hold the backups of locations that are file systems.
	claims  places
	volumes map[string]bool
}

// readLocations returns the storage locations of our namespace, keeps its snapshot
// locations, and notes what the locations of every install name.
func (o *operation) readLocations(ctx context.Context) ([]velerov1.BackupStorageLocation, error) {
	ours := ourselves{namespaces: map[string]bool{}, secrets: places{}, claims: places{}, volumes: map[string]bool{}}
	ours.install(o.Namespace)
	locations, err := everywhere(ctx, o.Namespace, "storage locations", o.Client.BackupStorageLocations)
	if err != nil {
		return nil, err
	}
	var own []velerov1.BackupStorageLocation
	for _, location := range locations.Items {
		ours.install(location.Namespace)
		mounts := launch.MountsOf(&location)
		for _, secret := range []*corev1.SecretKeySelector{mounts.Credential, mounts.EncryptionKey, mounts.CACert} {
			ours.secret(location.Namespace, secret)
		}
		if err := o.noteClaim(ctx, ours, location.Namespace, mounts.Claim); err != nil {
			return nil, err
		}
		if location.Namespace == o.Namespace {
			own = append(own, location)
		}
	}
	snapshotLocations, err := everywhere(ctx, o.Namespace, "snapshot locations", o.Client.VolumeSnapshotLocations)
	if err != nil {
		return nil, err
	}
	for _, location := range snapshotLocations.Items {
		ours.install(location.Namespace)
		ours.secret(location.Namespace, location.Spec.Credential)
		if location.Namespace == o.Namespace {
			o.snapshotLocations = append(o.snapshotLocations, location)
		}
	}
	o.ours = ours
	return own, nil
}

// noteClaim notes the claim, and its volume, that holds a location's backups; an
// empty name is none.
func (o *operation) noteClaim(ctx context.Context, ours ourselves, namespace, name string) error {
	if name == "" {
		return nil
	}
	ours.claims[place{namespace, name}] = true
	claim, err := o.Kube.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read PersistentVolumeClaim %q, which holds backups: %w", name, err)
	}
	if claim.Spec.VolumeName != "" {
		ours.volumes[claim.Spec.VolumeName] = true
	}
	return nil
}

// lister lists the objects of one of our kinds.
type lister[L any] interface {
	List(ctx context.Context, opts metav1.ListOptions) (L, error)
}

// everywhere lists in all namespaces, or where that isn't allowed in our own.
func everywhere[C lister[L], L any](ctx context.Context, own, what string, in func(namespace string) C) (L, error) {
	list, err := in(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		list, err = in(own).List(ctx, metav1.ListOptions{})
	}
	if err != nil {
		return list, fmt.Errorf("list %s: %w", what, err)
	}
	return list, nil
}

// install notes a namespace that an install lives in.
func (ours *ourselves) install(namespace string) {
	ours.namespaces[namespace] = true
	ours.secrets[place{namespace, credentialsSecret}] = true
	ours.secrets[place{namespace, repositorySecret}] = true
}

// secret notes a Secret that a location names; nil when it names none.
func (ours *ourselves) secret(namespace string, from *corev1.SecretKeySelector) {
	if from != nil {
		ours.secrets[place{namespace, from.Name}] = true
	}
}

// reason tells why an object is not to be stored; empty when it isn't ours.
func (ours ourselves) reason(resource schema.GroupResource, obj cluster.Object) string {
	switch {
	case resource.Group == "" && resource.Resource == "secrets" && ours.secrets[placeOf(obj)]:
		return reasonCredentials
	case resource.Group == "" && resource.Resource == "persistentvolumeclaims" && ours.claims[placeOf(obj)],
		resource.Group == "" && resource.Resource == "persistentvolumes" && ours.volumes[obj.Name]:
		return reasonStorage
	case velerov1.Ours(resource, obj.Labels, obj.Namespace == "" || ours.namespaces[obj.Namespace]):
		return reasonOurs
	}
	return ""
}
