package ebs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
)

func volume(source corev1.PersistentVolumeSource, labels map[string]string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv", Labels: labels},
		Spec:       corev1.PersistentVolumeSpec{PersistentVolumeSource: source},
	}
}

func csiVolume(driver, handle string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: handle}}
}

func inTree(id string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: id}}
}

func TestVolumeID(t *testing.T) {
	t.Parallel()
	s := ebs.OpenFast(t, ec2test.Start(t).Config(t))
	tests := map[string]struct {
		source     corev1.PersistentVolumeSource
		want, fail string
	}{
		"CSI":               {source: csiVolume("ebs.csi.aws.com", "vol-0a1"), want: "vol-0a1"},
		"another driver":    {source: csiVolume("disk.csi.azure.com", "vol-0a1")},
		"in-tree":           {source: inTree("vol-0a1"), want: "vol-0a1"},
		"in-tree with zone": {source: inTree("aws://eu-central-1a/vol-0a1"), want: "vol-0a1"},
		"without zone":      {source: inTree("aws:///vol-0a1"), want: "vol-0a1"},
		"NFS":               {source: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{}}},
		"nothing":           {},
		"empty handle":      {source: csiVolume("ebs.csi.aws.com", ""), fail: `persistent volume "pv": "" is not the id`},
		"not a volume":      {source: inTree("aws://eu-central-1a/i-1"), fail: "is not the id of an EBS volume"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := s.VolumeID(volume(test.source, nil))
			if got != test.want || (err == nil) != (test.fail == "") || err != nil && !strings.Contains(err.Error(), test.fail) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestSetVolumeID(t *testing.T) {
	t.Parallel()
	s := ebs.OpenFast(t, ec2test.Start(t).Config(t))
	ga, beta := map[string]string{corev1.LabelTopologyZone: "z1"}, map[string]string{corev1.LabelFailureDomainBetaZone: "z2"}
	tests := map[string]struct{ pv, want *corev1.PersistentVolume }{
		"CSI":       {volume(csiVolume("ebs.csi.aws.com", "vol-1"), ga), volume(csiVolume("ebs.csi.aws.com", "vol-2"), ga)},
		"in-tree":   {volume(inTree("vol-1"), nil), volume(inTree("vol-2"), nil)},
		"zone":      {volume(inTree("aws://z1/vol-1"), ga), volume(inTree("aws://z1/vol-2"), ga)},
		"beta zone": {volume(inTree("aws://z2/vol-1"), beta), volume(inTree("aws://z2/vol-2"), beta)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := s.SetVolumeID(test.pv, "vol-2"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, test.pv); diff != "" {
				t.Error(diff)
			}
		})
	}
	if err := s.SetVolumeID(volume(csiVolume("other", "vol-1"), nil), "vol-2"); err == nil {
		t.Error("a volume of another driver was changed")
	}
}

func TestDisk(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	iops := func(n int64) *int64 { return &n }
	tests := map[string]struct {
		disk ec2test.Disk
		want snapshot.Disk
	}{
		"gp2": {ec2test.Disk{Type: "gp2", IOPS: 100}, snapshot.Disk{Type: "gp2"}}, // follows from the size
		"gp3": {ec2test.Disk{Type: "gp3"}, snapshot.Disk{Type: "gp3", IOPS: iops(3000)}},
		"io1": {ec2test.Disk{Type: "io1", IOPS: 200}, snapshot.Disk{Type: "io1", IOPS: iops(200)}},
		"io2": {ec2test.Disk{Type: "io2", IOPS: 64000}, snapshot.Disk{Type: "io2", IOPS: iops(64000)}},
		"st1": {ec2test.Disk{Type: "st1"}, snapshot.Disk{Type: "st1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := s.Disk(t.Context(), server.AddDisk(test.disk), "")
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
	_, err := s.Disk(t.Context(), "vol-0gone", "")
	if !errors.Is(err, snapshot.ErrNotExist) || !strings.Contains(err.Error(), `hint: the config key "region"`) {
		t.Error(err)
	}
}
