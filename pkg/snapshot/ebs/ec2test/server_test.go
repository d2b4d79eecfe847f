package ec2test_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
)

func client(s *ec2test.Server, region, secret string) *ec2.Client {
	return ec2.New(ec2.Options{
		Region: region, BaseEndpoint: &s.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(ec2test.AccessKey, secret, ""),
	})
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// TestLifeOfSnapshot goes through the protocol with the real SDK.
func TestLifeOfSnapshot(t *testing.T) {
	t.Parallel()
	s := ec2test.Start(t)
	s.Slow(1)
	id := s.AddDisk(ec2test.Disk{Content: "before", Type: "io2", IOPS: 500, Tags: map[string]string{"team": "shop"}})
	c := client(s, ec2test.Region, ec2test.SecretKey)
	disks, err := c.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err != nil || len(disks.Volumes) != 1 || *disks.Volumes[0].Iops != 500 || *disks.Volumes[0].Tags[0].Value != "shop" || disks.Volumes[0].CreateTime == nil {
		t.Fatalf("%+v, %v", disks, err)
	}
	cut, err := c.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: &id, TagSpecifications: []types.TagSpecification{
		{ResourceType: types.ResourceTypeSnapshot, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}}})
	if err != nil || cut.State != types.SnapshotStatePending {
		t.Fatalf("%+v, %v", cut, err)
	}
	s.Write(id, "after")
	find := &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{{Name: aws.String("tag:a"), Values: []string{"b"}}}}
	for _, want := range []string{"50%", "100%"} {
		got, err := c.DescribeSnapshots(t.Context(), find)
		if err != nil || len(got.Snapshots) != 1 || *got.Snapshots[0].Progress != want {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	disk, err := c.CreateVolume(t.Context(), &ec2.CreateVolumeInput{SnapshotId: cut.SnapshotId, AvailabilityZone: aws.String("eu-central-1b"), ClientToken: aws.String("t")})
	if err != nil || disk.State != types.VolumeStateCreating {
		t.Fatalf("%+v, %v", disk, err)
	}
	if all := s.Disks(); len(all) != 2 || all[1].Content != "before" || all[1].Zone != "eu-central-1b" {
		t.Errorf("%+v", all)
	}
	if _, err := c.DeleteSnapshot(t.Context(), &ec2.DeleteSnapshotInput{SnapshotId: cut.SnapshotId}); err != nil {
		t.Error(err)
	}
	if left := s.Snapshots(); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

// TestSignature refuses what isn't signed, and what is signed for something else.
func TestSignature(t *testing.T) {
	t.Parallel()
	s := ec2test.Start(t)
	for region, secret := range map[string]string{ec2test.Region: "wrong", "us-east-1": ec2test.SecretKey} {
		_, err := client(s, region, secret).DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{})
		if code(err) != "AuthFailure" {
			t.Errorf("%s, %s: %v", region, secret, err)
		}
	}
	answer, err := http.Post(s.URL, "application/x-www-form-urlencoded", strings.NewReader("Action=DescribeVolumes&Version=2016-11-15"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Error(answer.Status)
	}
}

// TestPages walks through pages.
func TestPages(t *testing.T) {
	t.Parallel()
	s := ec2test.Start(t)
	s.PageSize(2)
	for range 5 {
		s.AddSnapshot(ec2test.Snapshot{})
	}
	pages := ec2.NewDescribeSnapshotsPaginator(client(s, ec2test.Region, ec2test.SecretKey), &ec2.DescribeSnapshotsInput{})
	var sizes []int
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(page.Snapshots))
	}
	if len(sizes) != 3 || sizes[2] != 1 {
		t.Error(sizes)
	}
}
