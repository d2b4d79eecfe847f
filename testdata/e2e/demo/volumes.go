package demo

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/shop"
)

// What the database writes before and after the backup, of which its snapshot has
// the former.
const (
	entryBefore = "entry 1: two gears, paid"
	entryAfter  = "entry 2: written after the backup"
)

var volumeSnapshotClasses = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotclasses"}

// findClass decides whether the sample application gets a volume that can be
// snapshotted, and says so.
func (d *demo) findClass(ctx context.Context) (err error) {
	if d.class, err = snapshottable(ctx, d.config); err != nil {
		return err
	}
	if d.class == "" {
		d.console.Say("No CSI driver here can take snapshots: no StorageClass is of a driver with a VolumeSnapshotClass.\n" +
			"The sample application's database has no volume then, and what would show its snapshot is left out.")
		return nil
	}
	d.console.Say("Volumes of class %q can be snapshotted by their CSI driver: the sample application's database gets one.", d.class)
	return nil
}

// snapshottable returns the name of a StorageClass whose volumes a backup takes
// snapshots of, or "".
func snapshottable(ctx context.Context, config *rest.Config) (string, error) {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return "", err
	}
	snapshots, err := client.Resource(volumeSnapshotClasses).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil // the API isn't served
	}
	if err != nil {
		return "", fmt.Errorf("list volumesnapshotclasses: %w", err)
	}
	storage, err := kube.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list storageclasses: %w", err)
	}
	return chooseClass(storage.Items, snapshots.Items), nil
}

// chooseClass takes the default class if it can, else the first by name. A volume
// has to go with its claim, or the disaster would be none.
func chooseClass(storage []storagev1.StorageClass, snapshots []unstructured.Unstructured) string {
	storage = slices.DeleteFunc(slices.Clone(storage), func(c storagev1.StorageClass) bool {
		keeps := c.ReclaimPolicy != nil && *c.ReclaimPolicy != corev1.PersistentVolumeReclaimDelete
		return keeps || !hasClass(c.Provisioner, snapshots)
	})
	if len(storage) == 0 {
		return ""
	}
	other := func(c storagev1.StorageClass) int {
		if c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" {
			return 0
		}
		return 1
	}
	return slices.MinFunc(storage, func(a, b storagev1.StorageClass) int {
		return cmp.Or(cmp.Compare(other(a), other(b)), cmp.Compare(a.Name, b.Name))
	}).Name
}

// hasClass says whether a backup finds the driver's VolumeSnapshotClass by itself:
// the only one, or one that is marked (docs/volumes.md).
func hasClass(driver string, classes []unstructured.Unstructured) bool {
	n := 0
	for _, class := range classes {
		if name, _, _ := unstructured.NestedString(class.Object, "driver"); name != driver {
			continue
		}
		n++
		_, labelled := class.GetLabels()["velero.io/csi-volumesnapshot-class"]
		_, isDefault := class.GetAnnotations()["snapshot.storage.kubernetes.io/is-default-class"]
		if labelled || isDefault {
			return true
		}
	}
	return n == 1
}

// writeLedger gives the database's volume its content.
func (d *demo) writeLedger(ctx context.Context) error {
	if d.class == "" {
		return nil
	}
	return shop.WriteLedger(ctx, d.console, entryBefore)
}

// changeLedger shows the snapshot's place in the bucket's records, and goes on with
// the application's life after it.
func (d *demo) changeLedger(ctx context.Context) error {
	if d.class == "" {
		return nil
	}
	if err := d.console.Run(ctx, "kubectl", "velero", "backup", "verify", backupName, "--volumes"); err != nil {
		return err
	}
	d.console.Say("What is written from now on isn't in the snapshot.")
	return shop.WriteLedger(ctx, d.console, entryAfter)
}

// readLedger wants the volume to have what it had at the time of the backup.
func (d *demo) readLedger(ctx context.Context) error {
	if d.class == "" {
		return nil
	}
	if err := shop.ReadLedger(ctx, d.console, entryBefore); err != nil {
		return err
	}
	volume, err := shop.LedgerVolume(ctx, d.console)
	if err != nil {
		return err
	}
	d.console.Say("The database has volume %s now, made from the snapshot, with what was written before the backup.", volume)
	return nil
}
