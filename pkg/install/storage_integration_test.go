//go:build integration

package install_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// testStorage installs with a claim for the backups, and uninstalls without losing
// them.
func testStorage(t *testing.T, e *env) {
	const ns = "storage"
	before := e.everything(t)
	o := options(func(o *install.Options) {
		o.Namespace, o.Credentials = ns, nil
		o.Location = &install.Location{Provider: "filesystem", Bucket: "backups", Claim: "disk"}
	})
	e.createNamespace(t, ns)
	e.mustRefuse(t, o, `claim "disk" does not exist in namespace "storage"; hint: create it there first, or say with --storage-size how large a one to make`)
	o.Location.Size = resource.MustParse("1Gi")
	if got := e.apply(t, o); !hasChange(got, "persistentvolumeclaim/disk created") {
		t.Errorf("got\n%s", lines(got))
	}
	if got := changed(e.apply(t, o)); len(got) > 0 {
		t.Errorf("the next time: %q", got)
	}
	smaller := o
	smaller.Location = ptr.To(*o.Location)
	smaller.Location.Size = resource.MustParse("1Mi")
	e.mustRefuse(t, smaller, `claim "disk" exists with 1Gi, and a claim can't shrink to 1Mi; hint: leave out --storage-size to use it as it is, or name another with --pvc`)

	location, err := e.velero.BackupStorageLocations(ns).Get(t.Context(), "default", metav1.GetOptions{})
	e.must(t, err)
	// A claim without a volume yet is fine.
	e.must(t, launch.KeepVolume(t.Context(), e.kube, ns, location))
	for _, name := range []string{"disk-1", "disk-2"} {
		e.bindVolume(t, ns, "disk", name)
		// The account of Jobs keeps the volume when it first writes to it.
		e.must(t, launch.KeepVolume(t.Context(), e.as(t, "system:serviceaccount:storage:velero"), ns, location))
		checkPolicy(t, e, name, corev1.PersistentVolumeReclaimRetain)
		e.setPolicy(t, name, corev1.PersistentVolumeReclaimDelete) // by somebody since then

		_, err = e.velero.Backups(ns).Create(t.Context(), &velerov1.Backup{
			ObjectMeta: metav1.ObjectMeta{Name: "one"}, Spec: velerov1.BackupSpec{StorageLocation: "default"},
		}, metav1.CreateOptions{})
		e.must(t, err)
		removal, err := install.Plan(t.Context(), e.cluster, ns)
		e.must(t, err)
		want := []install.HeldClaim{{Name: "disk", Location: "default", Volume: name, Backups: 1}}
		if diff := cmp.Diff(want, removal.Claims); diff != "" {
			t.Errorf("claims (-want +got):\n%s", diff)
		}
		policy := corev1.PersistentVolumeReclaimRetain
		if name == "disk-2" {
			e.setPolicy(t, name, policy)
			removal.DeleteVolumes, policy = true, corev1.PersistentVolumeReclaimDelete
		}
		e.must(t, removal.Run(t.Context(), e.cluster, func(install.Change) {}))
		checkPolicy(t, e, name, policy)
		e.release(t, "persistentvolumeclaims", ns, "disk")
		e.waitGone(t, ns)
		e.must(t, e.kube.CoreV1().PersistentVolumes().Delete(t.Context(), name, metav1.DeleteOptions{}))
		if name == "disk-1" {
			e.apply(t, o)
		}
	}
	e.mustEqual(t, before)
}

func hasChange(changes []install.Change, want string) bool {
	for _, c := range changes {
		if c.String() == want {
			return true
		}
	}
	return false
}

// as is a client of another user, as soon as they may change volumes.
func (e *env) as(t *testing.T, user string) kubernetes.Interface {
	t.Helper()
	cfg := rest.CopyConfig(e.cfg)
	cfg.Impersonate.UserName = user
	testenv.AwaitRights(t, cfg, authorizationv1.ResourceAttributes{Verb: "patch", Resource: "persistentvolumes"})
	kube, err := kubernetes.NewForConfig(cfg)
	e.must(t, err)
	return kube
}

// bindVolume makes a volume and binds the claim to it, as a controller would.
func (e *env) bindVolume(t *testing.T, namespace, claim, name string) {
	t.Helper()
	_, err := e.kube.CoreV1().PersistentVolumes().Create(t.Context(), &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "nas.example.com", Path: "/backups"}},
		},
	}, metav1.CreateOptions{})
	e.must(t, err)
	e.release(t, "persistentvolumes", "", name)
	_, err = e.kube.CoreV1().PersistentVolumeClaims(namespace).Patch(t.Context(), claim, types.MergePatchType,
		[]byte(`{"spec":{"volumeName":"`+name+`"}}`), metav1.PatchOptions{})
	e.must(t, err)
}

// release takes the finalizer off that a controller, which doesn't run here, would.
func (e *env) release(t *testing.T, resource, namespace, name string) {
	t.Helper()
	objects := e.cluster.Dynamic.Resource(corev1.SchemeGroupVersion.WithResource(resource))
	patch := []byte(`{"metadata":{"finalizers":null}}`)
	var err error
	if namespace == "" {
		_, err = objects.Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	} else {
		_, err = objects.Namespace(namespace).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	e.must(t, err)
}

func (e *env) setPolicy(t *testing.T, volume string, policy corev1.PersistentVolumeReclaimPolicy) {
	t.Helper()
	_, err := e.kube.CoreV1().PersistentVolumes().Patch(t.Context(), volume, types.MergePatchType,
		[]byte(`{"spec":{"persistentVolumeReclaimPolicy":"`+string(policy)+`"}}`), metav1.PatchOptions{})
	e.must(t, err)
}

func checkPolicy(t *testing.T, e *env, volume string, want corev1.PersistentVolumeReclaimPolicy) {
	t.Helper()
	found, err := e.kube.CoreV1().PersistentVolumes().Get(t.Context(), volume, metav1.GetOptions{})
	e.must(t, err)
	if found.Spec.PersistentVolumeReclaimPolicy != want {
		t.Errorf("volume %s has reclaim policy %s, want %s", volume, found.Spec.PersistentVolumeReclaimPolicy, want)
	}
}
