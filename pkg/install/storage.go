package install

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// DefaultClaim is the claim of a location of provider filesystem when none is named.
const DefaultClaim = "velero-backups"

// claim is the PersistentVolumeClaim that is to hold the backups. It is made before
// what uses it, and an existing one of that name grows to the size that is asked for.
func claim(o Options) *corev1.PersistentVolumeClaim {
	l := o.Location
	mode := l.AccessMode
	if mode == "" {
		mode = corev1.ReadWriteOnce
	}
	c := &corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: claimKind.kind},
		ObjectMeta: named(o.Namespace, l.Claim),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{mode},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: l.Size}},
		},
	}
	if l.StorageClass != "" {
		c.Spec.StorageClassName = &l.StorageClass
	}
	return c
}

// config are the location's settings with what installing adds to them.
func (l *Location) config(customerKey bool) map[string]string {
	config := maps.Clone(l.Config)
	set := func(key, value string) {
		if config == nil {
			config = map[string]string{}
		}
		config[key] = value
	}
	if l.Claim != "" {
		set(settings.FilesystemClaimKey, l.Claim)
	}
	if customerKey {
		set("customerKeyEncryptionSecret", CustomerKeySecret+"/"+customerKeyKey)
	}
	return config
}

// checkClaim makes sure that the location's claim is there, or can be made.
func checkClaim(ctx context.Context, kube kubernetes.Interface, o Options) error {
	if o.Location == nil || o.Location.Claim == "" {
		return nil
	}
	want := claim(o)
	found, err := kube.CoreV1().PersistentVolumeClaims(o.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
	create := !o.Location.Size.IsZero()
	switch {
	case apierrors.IsNotFound(err) && create:
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("claim %q does not exist in namespace %q; hint: create it there first, or say with --storage-size how large a one to make", want.Name, o.Namespace)
	case err != nil:
		return fmt.Errorf("get claim %q: %w", want.Name, err)
	case !create:
		return nil
	}
	return compatible(found, want)
}

// compatible says why a claim can't become what is asked for: all but its size is
// fixed, and that only grows.
func compatible(found, want *corev1.PersistentVolumeClaim) error {
	const hint = "hint: leave out --storage-size to use it as it is, or name another with --pvc"
	has, asked := found.Spec.Resources.Requests[corev1.ResourceStorage], want.Spec.Resources.Requests[corev1.ResourceStorage]
	class, modes := want.Spec.StorageClassName, want.Spec.AccessModes
	switch {
	case asked.Cmp(has) < 0:
		return fmt.Errorf("claim %q exists with %s, and a claim can't shrink to %s; %s", found.Name, has.String(), asked.String(), hint)
	case class != nil && (found.Spec.StorageClassName == nil || *class != *found.Spec.StorageClassName):
		return fmt.Errorf("claim %q exists with another storage class than %q; %s", found.Name, *class, hint)
	case !slices.Equal(modes, found.Spec.AccessModes):
		return fmt.Errorf("claim %q exists with access modes %q instead of %q; %s", found.Name, found.Spec.AccessModes, modes, hint)
	}
	return nil
}

// HeldClaim is a PersistentVolumeClaim that holds the backups of a location, and that
// uninstalling deletes with the namespace.
type HeldClaim struct {
	// Name is the claim's, and Location that of the location.
	Name, Location string
	// Volume is the PersistentVolume behind it; empty if it has none, and so holds
	// nothing.
	Volume string
	// Backups counts those that are known in it.
	Backups int
}

// planClaims finds the claims that hold backups.
func (r *Removal) planClaims(ctx context.Context, c Cluster) error {
	locations, err := listIn[velerov1.BackupStorageLocation](ctx, c, r.namespace, "backupstoragelocations")
	if err != nil {
		return err
	}
	backups, err := listIn[velerov1.Backup](ctx, c, r.namespace, "backups")
	if err != nil {
		return err
	}
	for i := range locations {
		location := &locations[i]
		name := launch.MountsOf(location).Claim
		if name == "" {
			continue
		}
		held := HeldClaim{Name: name, Location: location.Name}
		for _, b := range backups {
			if b.Spec.StorageLocation == location.Name {
				held.Backups++
			}
		}
		if err := held.findVolume(ctx, c.Kubernetes, r.namespace); err != nil {
			return err
		}
		r.Claims = append(r.Claims, held)
	}
	return nil
}

func (h *HeldClaim) findVolume(ctx context.Context, kube kubernetes.Interface, namespace string) error {
	claim, err := kube.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, h.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get claim %q: %w", h.Name, err)
	}
	if claim.Spec.VolumeName == "" {
		return nil
	}
	h.Volume = claim.Spec.VolumeName
	return nil
}

// listIn lists the objects of one of Velero's kinds; none where it isn't served.
func listIn[T any](ctx context.Context, c Cluster, namespace, resource string) ([]T, error) {
	list, err := c.Dynamic.Resource(velerov1.SchemeGroupVersion.WithResource(resource)).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", resource, err)
	}
	objects := make([]T, len(list.Items))
	for i := range list.Items {
		if err := decode(&list.Items[i], &objects[i]); err != nil {
			return nil, fmt.Errorf("decode %s %q: %w", resource, list.Items[i].GetName(), err)
		}
	}
	return objects, nil
}

func decode(u *unstructured.Unstructured, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, into)
}

// settleVolumes decides, before anything is deleted, what becomes of the volumes that
// hold backups when their claims go: they stay, unless DeleteVolumes is set.
func (r *Removal) settleVolumes(ctx context.Context, kube kubernetes.Interface) error {
	want := corev1.PersistentVolumeReclaimRetain
	if r.DeleteVolumes {
		want = corev1.PersistentVolumeReclaimDelete
	}
	for _, claim := range r.Claims {
		if claim.Volume == "" {
			continue
		}
		patch, err := json.Marshal(nest(want, "spec", "persistentVolumeReclaimPolicy"))
		if err != nil {
			return err
		}
		_, err = kube.CoreV1().PersistentVolumes().Patch(ctx, claim.Volume, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err != nil && !apierrors.IsNotFound(err) { // a volume that is gone keeps nothing
			return fmt.Errorf("give volume %q, which holds the backups of location %q, reclaim policy %s (nothing was deleted yet): %w", claim.Volume, claim.Location, want, err)
		}
	}
	return nil
}
