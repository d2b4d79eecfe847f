package azuredisk

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/azuredisk/armtest"
)

func csiVolume(handle string) *corev1.PersistentVolume {
	return volumeOf(corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: handle}})
}

func inTreeVolume(name, uri string, kind *corev1.AzureDataDiskKind) *corev1.PersistentVolume {
	return volumeOf(corev1.PersistentVolumeSource{AzureDisk: &corev1.AzureDiskVolumeSource{DiskName: name, DataDiskURI: uri, Kind: kind}})
}

func volumeOf(source corev1.PersistentVolumeSource) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: source}}
}

func TestVolumeID(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	managed, shared := corev1.AzureManagedDisk, corev1.AzureSharedBlobDisk
	elsewhere := "/subscriptions/" + armtest.Subscription + "/resourceGroups/static/providers/Microsoft.Compute/disks/d"
	for _, test := range []struct {
		name      string
		pv        *corev1.PersistentVolume
		want, err string
	}{
		{"of the driver", csiVolume(armtest.DiskID("d")), "d", ""},
		{"in another case", csiVolume("/subscriptions/" + armtest.Subscription + "/resourcegroups/mc_group_cluster_WESTEUROPE/providers/microsoft.compute/Disks/d"), "d", ""},
		{"in another group", csiVolume(elsewhere), elsewhere, ""},
		{"in-tree", inTreeVolume("d", armtest.DiskID("d"), &managed), "d", ""},
		{"in-tree without kind", inTreeVolume("d", armtest.DiskID("d"), nil), "d", ""},
		{"in-tree with name alone", inTreeVolume("d", "", &managed), "d", ""},
		{"a snapshot", csiVolume("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/snapshots/d"), "",
			`disk of persistent volume "pv": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/snapshots/d" is not of the form /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.Compute/disks/NAME`},
		{"no path", csiVolume("d"), "", `disk of persistent volume "pv": "d" is not the id of a resource of Azure`},
		{"a blob", inTreeVolume("d.vhd", "https://account.blob.core.windows.net/vhds/d.vhd", &shared), "",
			`persistent volume "pv" is on the unmanaged disk "d.vhd", which has no snapshots; hint: convert it into a managed disk, or back it up with --default-volumes-to-fs-backup`},
		{"another driver", volumeOf(corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "file.csi.azure.com", VolumeHandle: "x"}}), "", ""},
		{"NFS", volumeOf(corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{}}), "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := s.VolumeID(test.pv)
			if test.err != "" {
				checkError(t, err, s.location, test.err)
			} else if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestSetVolumeID(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	managed := corev1.AzureManagedDisk
	for _, test := range []struct {
		name     string
		pv, want *corev1.PersistentVolume
	}{
		{"of the driver", csiVolume(armtest.DiskID("old")), csiVolume(armtest.DiskID("restore-1"))},
		{"in-tree", inTreeVolume("old", armtest.DiskID("old"), nil), inTreeVolume("restore-1", armtest.DiskID("restore-1"), &managed)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, id := range []string{"restore-1", armtest.DiskID("restore-1")} {
				pv := test.pv.DeepCopy()
				if err := s.SetVolumeID(pv, id); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, pv); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	nfs := volumeOf(corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{}})
	checkError(t, s.SetVolumeID(nfs, "d"), s.location, `put disk "d" into persistent volume "pv": it is no volume of Azure disks`)
	checkError(t, s.SetVolumeID(nfs, "a/b"), s.location, `"a/b" is not the name of a disk`)
}
