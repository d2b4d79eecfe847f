package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	groups "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumegroupsnapshot/v1beta2"
	snapshots "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
)

// snapshotClassLabel makes Velero take a class for its driver.
const snapshotClassLabel = "velero.io/csi-volumesnapshot-class"

func (c *CSI) snapshotClient() (snapshotclient.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return nil, err
	}
	return snapshotclient.NewForConfig(config)
}

// makeObjects makes the CSIDriver and the classes.
func (c *CSI) makeObjects(ctx context.Context) error {
	meta := metav1.ObjectMeta{Name: c.Driver}
	_, err := c.kube.StorageV1().CSIDrivers().Create(ctx, &storagev1.CSIDriver{ObjectMeta: meta, Spec: storagev1.CSIDriverSpec{
		AttachRequired: ptr.To(false), PodInfoOnMount: ptr.To(false), FSGroupPolicy: ptr.To(storagev1.FileFSGroupPolicy),
	}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = c.kube.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta: meta, Provisioner: c.Driver,
		ReclaimPolicy: ptr.To(corev1.PersistentVolumeReclaimDelete), VolumeBindingMode: ptr.To(storagev1.VolumeBindingImmediate),
	}, metav1.CreateOptions{})
	if err != nil || c.options.NoClass {
		return err
	}
	client, err := c.snapshotClient()
	if err != nil {
		return err
	}
	meta.Labels = map[string]string{snapshotClassLabel: "true"}
	_, err = client.SnapshotV1().VolumeSnapshotClasses().Create(ctx, &snapshots.VolumeSnapshotClass{
		ObjectMeta: meta, Driver: c.Driver, DeletionPolicy: snapshots.VolumeSnapshotContentDelete,
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = client.GroupsnapshotV1beta2().VolumeGroupSnapshotClasses().Create(ctx, &groups.VolumeGroupSnapshotClass{
		ObjectMeta: metav1.ObjectMeta{Name: c.Driver, Labels: map[string]string{"velero.io/csi-volumegroupsnapshot-class": "true"}},
		Driver:     c.Driver, DeletionPolicy: snapshots.VolumeSnapshotContentDelete,
	}, metav1.CreateOptions{})
	return err
}

// removeObjects removes what makeObjects has made of it, or a test has left.
func (c *CSI) removeObjects(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, csiReady)
	defer cancel()
	client, err := c.snapshotClient()
	if err != nil {
		return err
	}
	var errs []error
	for _, remove := range []func(context.Context, string, metav1.DeleteOptions) error{
		c.kube.StorageV1().CSIDrivers().Delete, c.kube.StorageV1().StorageClasses().Delete,
		client.SnapshotV1().VolumeSnapshotClasses().Delete, client.GroupsnapshotV1beta2().VolumeGroupSnapshotClasses().Delete,
	} {
		if err := remove(ctx, c.Driver, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Volume makes a volume in the driver, its PersistentVolume, and a claim in an
// existing namespace that is bound to it. Size is a quantity; labels are those of
// the claim, in pairs of key and value.
func (c *CSI) Volume(tb testing.TB, namespace, claim, size string, labels ...string) CSIVolume {
	tb.Helper()
	quantity, err := resource.ParseQuantity(size)
	if err != nil {
		tb.Fatal(err)
	}
	v := CSIVolume{Handle: "vol-" + namespace + "-" + claim, PV: "pv-" + namespace + "-" + claim}
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: claim, Labels: map[string]string{}, Annotations: map[string]string{
			"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
			"volume.kubernetes.io/storage-provisioner": c.Driver,
		}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &c.Driver, VolumeName: v.PV,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: quantity}},
		},
	}
	for i := 0; i+1 < len(labels); i += 2 {
		pvc.Labels[labels[i]] = labels[i+1]
	}
	if err := errors.Join(c.makeVolume(v.Handle, quantity.Value()), c.bind(tb.Context(), v, pvc)); err != nil {
		tb.Fatalf("make a volume: %v", err)
	}
	return v
}

// makeVolume makes what the driver's CreateVolume does.
func (c *CSI) makeVolume(handle string, size int64) error {
	folder := filepath.Join(c.Data, "volumes", handle)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"id": handle, "size": size, "created": time.Now()})
	if err != nil {
		return err
	}
	return os.WriteFile(folder+".json", body, 0o644)
}

// bind makes the volume and the claim, and says that they are bound. The volume
// names the claim from the beginning, so that no controller gives it to another.
func (c *CSI) bind(ctx context.Context, v CSIVolume, pvc *corev1.PersistentVolumeClaim) error {
	volumes, claims := c.kube.CoreV1().PersistentVolumes(), c.kube.CoreV1().PersistentVolumeClaims(pvc.Namespace)
	capacity := pvc.Spec.Resources.Requests
	_, err := volumes.Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: v.PV, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": c.Driver}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: capacity, AccessModes: pvc.Spec.AccessModes, StorageClassName: c.Driver,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: c.Driver, VolumeHandle: v.Handle,
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made, err := claims.Create(ctx, pvc, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	patchVolume := func(data string, subresources ...string) error {
		_, err := volumes.Patch(ctx, v.PV, types.MergePatchType, []byte(data), metav1.PatchOptions{}, subresources...)
		return err
	}
	bound, err := json.Marshal(map[string]any{"status": corev1.PersistentVolumeClaimStatus{
		Phase: corev1.ClaimBound, AccessModes: pvc.Spec.AccessModes, Capacity: capacity,
	}})
	if err != nil {
		return err
	}
	_, err = claims.Patch(ctx, pvc.Name, types.MergePatchType, bound, metav1.PatchOptions{}, "status")
	return errors.Join(err,
		patchVolume(fmt.Sprintf(`{"spec":{"claimRef":{"uid":%q}}}`, made.UID)),
		patchVolume(`{"status":{"phase":"Bound"}}`, "status"),
	)
}

// Claimed returns the volume that a claim is bound to, once it is.
func (c *CSI) Claimed(tb testing.TB, namespace, claim string) CSIVolume {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), csiReady)
	defer cancel()
	for {
		pvc, err := c.kube.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, claim, metav1.GetOptions{})
		if err != nil {
			tb.Fatal(err)
		}
		if pvc.Status.Phase == corev1.ClaimBound {
			pv, err := c.kube.CoreV1().PersistentVolumes().Get(ctx, pvc.Spec.VolumeName, metav1.GetOptions{})
			if err != nil {
				tb.Fatal(err)
			}
			if pv.Spec.CSI == nil || pv.Spec.CSI.Driver != c.Driver {
				tb.Fatalf("claim %s/%s is bound to %q, which is no volume of driver %s", namespace, claim, pv.Name, c.Driver)
			}
			return CSIVolume{Handle: pv.Spec.CSI.VolumeHandle, PV: pv.Name}
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("claim %s/%s isn't bound after %s: %s%s", namespace, claim, csiReady, pvc.Status.Phase, c.events(tb, namespace, claim))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// events is what the cluster says about a claim.
func (c *CSI) events(tb testing.TB, namespace, claim string) string {
	list, err := c.kube.CoreV1().Events(namespace).List(tb.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + claim})
	if err != nil {
		return "; " + err.Error()
	}
	var text string
	for _, event := range list.Items {
		text += "; " + event.Reason + ": " + event.Message
	}
	return text
}
