package gcepd

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

func inTree(disk string) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{}
	pv.Spec.GCEPersistentDisk = &corev1.GCEPersistentDiskVolumeSource{PDName: disk}
	return pv
}

func ofDriver(driver, handle string) *corev1.PersistentVolume {
	pv := &corev1.PersistentVolume{}
	pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: handle}
	return pv
}

func TestVolumeID(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pv        *corev1.PersistentVolume
		want      string
		wantError string
	}{
		"in-tree":         {pv: inTree("d"), want: "d"},
		"in-tree, empty":  {pv: inTree(""), wantError: "names no disk"},
		"zonal":           {pv: ofDriver("pd.csi.storage.gke.io", "projects/p/zones/europe-west1-b/disks/pvc-1"), want: "pvc-1"},
		"regional":        {pv: ofDriver("pd.csi.storage.gke.io", "projects/p/regions/europe-west1/disks/pvc-1"), want: "pvc-1"},
		"confidential":    {pv: ofDriver("gcp.csi.confidential.cloud", "projects/p/zones/z/disks/pvc-1"), want: "pvc-1"},
		"another driver":  {pv: ofDriver("filestore.csi.storage.gke.io", "modeInstance/z/i/v")},
		"nothing of ours": {pv: &corev1.PersistentVolume{}},
		"odd handle":      {pv: ofDriver("pd.csi.storage.gke.io", "pvc-1"), wantError: `handle "pvc-1" is not of the form projects/`},
		"longer handle":   {pv: ofDriver("pd.csi.storage.gke.io", "projects/p/zones/z/disks/a/b"), wantError: "is not of the form"},
		"multi-zone":      {pv: ofDriver("pd.csi.storage.gke.io", "projects/p/zones/multi-zone/disks/m"), wantError: "hint: have a volume policy skip it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := (&Snapshotter{config: snapshot.Config{Location: "l"}}).VolumeID(test.pv)
			if got != test.want {
				t.Errorf("id %q", got)
			}
			if test.wantError == "" && err != nil || test.wantError != "" && (err == nil || !strings.Contains(err.Error(), test.wantError)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestSetVolumeID(t *testing.T) {
	t.Parallel()
	const driver = "pd.csi.storage.gke.io"
	for name, test := range map[string]struct {
		settings          map[string]string
		pv                *corev1.PersistentVolume
		want              string
		wantError, before string
	}{
		"in-tree":         {pv: inTree("d"), want: "new"},
		"zonal":           {pv: ofDriver(driver, "projects/p/zones/z/disks/d"), want: "projects/p/zones/z/disks/new"},
		"regional":        {pv: ofDriver(driver, "projects/p/regions/r/disks/d"), want: "projects/p/regions/r/disks/new"},
		"another project": {settings: map[string]string{"volumeProject": "q"}, pv: ofDriver(driver, "projects/p/zones/z/disks/d"), want: "projects/q/zones/z/disks/new"},
		"not ours":        {pv: ofDriver("x", "y"), want: "y", wantError: "is not on a disk of Compute Engine"},
		"odd handle":      {pv: ofDriver(driver, "y"), want: "y", wantError: "is not of the form"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := (&Snapshotter{config: snapshot.Config{Settings: test.settings}}).SetVolumeID(test.pv, "new")
			if test.wantError == "" && err != nil || test.wantError != "" && (err == nil || !strings.Contains(err.Error(), test.wantError)) {
				t.Errorf("error %v", err)
			}
			got := ""
			if test.pv.Spec.CSI != nil {
				got = test.pv.Spec.CSI.VolumeHandle
			} else {
				got = test.pv.Spec.GCEPersistentDisk.PDName
			}
			if got != test.want {
				t.Errorf("it is on %q", got)
			}
		})
	}
}

func TestParsePlace(t *testing.T) {
	t.Parallel()
	for zone, want := range map[string]string{
		"europe-west1-b":                 `zone "europe-west1-b"`,
		"europe-west1-b__europe-west1-c": `region "europe-west1"`,
		"":                               "the zone can't be used: the volume names none; hint: label it",
		"a-1__b-1":                       `the zone can't be used: ["a-1" "b-1"] are not zones of one region`,
		"a__b":                           "are not zones of one region",
	} {
		p, err := parsePlace(zone)
		got := p.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("zone %q: %s", zone, got)
		}
	}
}
