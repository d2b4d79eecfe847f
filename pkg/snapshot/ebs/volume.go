package ebs

import (
	"context"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// driver is the CSI driver of EBS.
const driver = "ebs.csi.aws.com"

// volumeID is that of an EBS volume, at the end of aws://ZONE/ID too.
var volumeID = regexp.MustCompile(`^(?:aws://[^/]*/)?(vol-[0-9A-Za-z]+)$`)

// VolumeID implements snapshot.Snapshotter for volumes of the CSI driver and those
// that are built into Kubernetes.
func (s *snapshotter) VolumeID(pv *corev1.PersistentVolume) (string, error) {
	var id string
	switch {
	case pv.Spec.CSI != nil && pv.Spec.CSI.Driver == driver:
		id = pv.Spec.CSI.VolumeHandle
	case pv.Spec.AWSElasticBlockStore != nil:
		id = pv.Spec.AWSElasticBlockStore.VolumeID
	default:
		return "", nil
	}
	m := volumeID.FindStringSubmatch(id)
	if m == nil {
		return "", s.config.Errorf("persistent volume %q: %q is not the id of an EBS volume, such as vol-0123456789abcdef0", pv.Name, id)
	}
	return m[1], nil
}

// SetVolumeID implements snapshot.Snapshotter.
func (s *snapshotter) SetVolumeID(pv *corev1.PersistentVolume, id string) error {
	switch {
	case pv.Spec.CSI != nil && pv.Spec.CSI.Driver == driver:
		pv.Spec.CSI.VolumeHandle = id
	case pv.Spec.AWSElasticBlockStore != nil:
		pv.Spec.AWSElasticBlockStore.VolumeID = id
		if zone := zoneLabel(pv); zone != "" {
			pv.Spec.AWSElasticBlockStore.VolumeID = fmt.Sprintf("aws://%s/%s", zone, id)
		}
	default:
		return s.config.Errorf("persistent volume %q is not on an EBS volume", pv.Name)
	}
	return nil
}

func zoneLabel(pv *corev1.PersistentVolume) string {
	if zone := pv.Labels[corev1.LabelTopologyZone]; zone != "" {
		return zone
	}
	return pv.Labels[corev1.LabelFailureDomainBetaZone]
}

// Disk implements snapshot.Snapshotter. EC2 knows the zone by itself.
func (s *snapshotter) Disk(ctx context.Context, id, _ string) (snapshot.Disk, error) {
	v, err := s.describeVolume(ctx, id)
	if err != nil {
		return snapshot.Disk{}, err
	}
	s.mu.Lock()
	s.disks[id] = v
	s.mu.Unlock()
	d := snapshot.Disk{Type: string(v.VolumeType)}
	if hasIOPS(v.VolumeType) && v.Iops != nil {
		d.IOPS = aws.Int64(int64(*v.Iops))
	}
	return d, nil
}

// hasIOPS says whether one can choose the speed of a volume of this type.
func hasIOPS(t types.VolumeType) bool {
	return t == types.VolumeTypeIo1 || t == types.VolumeTypeIo2 || t == types.VolumeTypeGp3
}

// takeVolume returns what Disk has read of a volume, once; else it asks.
func (s *snapshotter) takeVolume(ctx context.Context, id string) (types.Volume, error) {
	s.mu.Lock()
	v, ok := s.disks[id]
	delete(s.disks, id)
	s.mu.Unlock()
	if ok {
		return v, nil
	}
	return s.describeVolume(ctx, id)
}

func (s *snapshotter) describeVolume(ctx context.Context, id string) (types.Volume, error) {
	op := fmt.Sprintf("describe volume %s", id)
	out, err := send(ctx, attempt{s: s, op: op}, s.client.DescribeVolumes, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err != nil {
		return types.Volume{}, err
	}
	if len(out.Volumes) != 1 {
		return types.Volume{}, fmt.Errorf("snapshot location %q: %s in AWS %s: the answer has %d volumes: %w", s.config.Location, op, s.region, len(out.Volumes), snapshot.ErrNotExist)
	}
	return out.Volumes[0], nil
}
