package ebs_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
)

// restored makes a volume of a snapshot of a disk, and returns it.
func restored(t *testing.T, server *ec2test.Server, s snapshot.Snapshotter, disk ec2test.Disk, change func(*snapshot.VolumeRequest)) (ec2test.Disk, error) {
	t.Helper()
	id := server.AddDisk(disk)
	described, err := s.Disk(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	cut, err := s.Create(t.Context(), cutRequest(id))
	if err != nil {
		t.Fatal(err)
	}
	server.DeleteDisk(id)
	r := snapshot.VolumeRequest{SnapshotID: cut, Type: described.Type, IOPS: described.IOPS, Zone: disk.Zone, Token: "token-" + id}
	if change != nil {
		change(&r)
	}
	made, err := s.CreateVolume(t.Context(), r)
	if err != nil {
		return ec2test.Disk{}, err
	}
	for _, d := range server.Disks() {
		if d.ID == made {
			return d, nil
		}
	}
	t.Fatalf("there is no %s", made)
	return ec2test.Disk{}, nil
}

func TestCreateVolume(t *testing.T) {
	t.Parallel()
	const key = "arn:aws:kms:eu-central-1:123456789012:key/1"
	none := int64(0)
	tests := map[string]struct {
		disk   ec2test.Disk
		change func(*snapshot.VolumeRequest)
		want   ec2test.Disk
	}{
		"gp2":             {disk: ec2test.Disk{Type: "gp2", IOPS: 300, Content: "x"}, want: ec2test.Disk{Type: "gp2", Content: "x"}},
		"gp3":             {disk: ec2test.Disk{Type: "gp3"}, want: ec2test.Disk{Type: "gp3", IOPS: 3000, Throughput: 125}},
		"fast gp3":        {disk: ec2test.Disk{Type: "gp3", IOPS: 9000, Throughput: 500}, want: ec2test.Disk{Type: "gp3", IOPS: 9000, Throughput: 500}},
		"io1":             {disk: ec2test.Disk{Type: "io1", IOPS: 400, GiB: 8}, want: ec2test.Disk{Type: "io1", IOPS: 400, GiB: 8}},
		"io2, multi":      {disk: ec2test.Disk{Type: "io2", IOPS: 400, MultiAttach: true}, want: ec2test.Disk{Type: "io2", IOPS: 400, MultiAttach: true}},
		"st1":             {disk: ec2test.Disk{Type: "st1"}, want: ec2test.Disk{Type: "st1"}},
		"zone":            {disk: ec2test.Disk{Type: "gp2", Zone: "eu-central-1c"}, want: ec2test.Disk{Type: "gp2", Zone: "eu-central-1c"}},
		"another zone":    {disk: ec2test.Disk{Type: "gp2"}, change: func(r *snapshot.VolumeRequest) { r.Zone = "eu-central-1b" }, want: ec2test.Disk{Type: "gp2", Zone: "eu-central-1b"}},
		"encrypted":       {disk: ec2test.Disk{Type: "gp2", Encrypted: true, KMSKeyID: key}, want: ec2test.Disk{Type: "gp2", Encrypted: true, KMSKeyID: key}},
		"Velero's record": {disk: ec2test.Disk{Type: "gp2"}, change: func(r *snapshot.VolumeRequest) { r.IOPS = &none }, want: ec2test.Disk{Type: "gp2"}},
		"tags": {
			disk: ec2test.Disk{Type: "gp2", Tags: map[string]string{"CSIVolumeName": "pvc-1", "ebs.csi.aws.com/cluster": "true"}},
			want: ec2test.Disk{Type: "gp2", Tags: map[string]string{"CSIVolumeName": "pvc-1", "ebs.csi.aws.com/cluster": "true"}},
		},
	}
	server := ec2test.Start(t)
	server.Slow(2)
	s := ebs.OpenFast(t, server.Config(t))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := restored(t, server, s, test.disk, test.change)
			if err != nil {
				t.Fatal(err)
			}
			want := test.want
			want.State, want.GiB = "available", max(want.GiB, 1)
			if want.Zone == "" {
				want.Zone = "eu-central-1a"
			}
			tags := map[string]string{"velero.io/backup": "nightly", "velero.io/pv": "pv"}
			for k, v := range want.Tags {
				tags[k] = v
			}
			want.Tags = tags
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ec2test.Disk{}, "ID", "SnapshotID")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestVeleroSnapshot restores from one that Velero's plugin has made: without what
// only we put into its tags.
func TestVeleroSnapshot(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	iops := int64(500)
	id := server.AddSnapshot(ec2test.Snapshot{Content: "x", Tags: map[string]string{"velero.io/backup": "b"}})
	r := snapshot.VolumeRequest{SnapshotID: id, Type: "io1", IOPS: &iops, Zone: "eu-central-1b"}
	if _, err := s.CreateVolume(t.Context(), r); err != nil {
		t.Error(err)
	}
	if d := server.Disks()[0]; d.IOPS != 500 || d.Content != "x" || d.Tags["velero.io/backup"] != "b" {
		t.Errorf("%+v", d)
	}
	r.Zone = ""
	if _, err := s.CreateVolume(t.Context(), r); !errors.Is(err, snapshot.ErrNoZone) {
		t.Error(err)
	}
}

func TestKeyOfLocation(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	config := server.Config(t)
	config.Settings["ebsKmsKeyId"] = "alias/restored"
	for _, encrypted := range []bool{false, true} {
		d, err := restored(t, server, ebs.OpenFast(t, config), ec2test.Disk{Encrypted: encrypted}, nil)
		if err != nil || !d.Encrypted || d.KMSKeyID != "alias/restored" {
			t.Errorf("%+v, %v", d, err)
		}
	}
}

func TestClusterTags(t *testing.T) {
	t.Setenv("AWS_CLUSTER_NAME", "new")
	server := ec2test.Start(t)
	disk := ec2test.Disk{Tags: map[string]string{"kubernetes.io/cluster/old": "owned", "KubernetesCluster": "old", "team": "shop"}}
	d, err := restored(t, server, ebs.OpenFast(t, server.Config(t)), disk, nil)
	want := map[string]string{
		"velero.io/backup": "nightly", "velero.io/pv": "pv", "team": "shop",
		"kubernetes.io/cluster/new": "owned", "KubernetesCluster": "new",
	}
	if diff := cmp.Diff(want, d.Tags); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestCreateVolumeAgain makes the same disk several times, and at once.
func TestCreateVolumeAgain(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	r := snapshot.VolumeRequest{SnapshotID: server.AddSnapshot(ec2test.Snapshot{}), Type: "gp3", Zone: "eu-central-1a", Token: "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}
	server.Fault(ec2test.Fault{Action: "CreateVolume", Cut: true, Done: true, Times: 2})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := s.CreateVolume(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if disks := server.Disks(); len(disks) != 1 {
		t.Errorf("%+v", disks)
	}
	r.Zone = "eu-central-1b"
	if _, err := s.CreateVolume(t.Context(), r); err == nil || !strings.Contains(err.Error(), "IdempotentParameterMismatch") {
		t.Error(err)
	}
}

func TestCreateVolumeFails(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		prepare func(*ec2test.Server)
		change  func(*snapshot.VolumeRequest)
		kind    error
		want    string
	}{
		"unknown zone": {
			change: func(r *snapshot.VolumeRequest) { r.Zone = "eu-central-1x" },
			kind:   snapshot.ErrNoZone, want: "region eu-central-1 has the zones eu-central-1a, eu-central-1b, eu-central-1c",
		},
		"zone of another region": {change: func(r *snapshot.VolumeRequest) { r.Zone = "us-east-1a" }, kind: snapshot.ErrNoZone, want: "us-east-1a"},
		"no such type in the zone": {
			prepare: func(s *ec2test.Server) {
				s.Fault(ec2test.Fault{Action: "CreateVolume", Code: "VolumeTypeNotAvailableInZone"})
			},
			kind: snapshot.ErrNoZone, want: "VolumeTypeNotAvailableInZone",
		},
		"quota": {
			prepare: func(s *ec2test.Server) { s.Fault(ec2test.Fault{Action: "CreateVolume", Code: "VolumeLimitExceeded"}) },
			kind:    snapshot.ErrQuota, want: "hint: ask AWS for more",
		},
		"no capacity": {
			prepare: func(s *ec2test.Server) {
				s.Fault(ec2test.Fault{Action: "CreateVolume", Code: "InsufficientVolumeCapacity"})
			},
			want: "hint: AWS has no room",
		},
		"snapshot gone":   {change: func(r *snapshot.VolumeRequest) { r.SnapshotID = "snap-0gone" }, kind: snapshot.ErrNotExist, want: "snap-0gone"},
		"snapshot failed": {prepare: func(s *ec2test.Server) { s.SetSnapshotState(ids(s)[0], "error", "disk broke") }, want: "disk broke"},
		"archived": {
			change: func(r *snapshot.VolumeRequest) { r.SnapshotID = "snap-0archived" }, want: "hint: aws ec2 restore-snapshot-tier --snapshot-id snap-0archived",
			prepare: func(s *ec2test.Server) { s.AddSnapshot(ec2test.Snapshot{ID: "snap-0archived", Tier: "archive"}) },
		},
		"in the bin": {prepare: func(s *ec2test.Server) { s.SetSnapshotState(ids(s)[0], "recoverable", "") }, want: "recycle bin"},
		"key not allowed": {
			prepare: func(s *ec2test.Server) {
				s.OnRequest(func(action string) {
					if action == "CreateVolume" {
						s.DeleteDisk(s.Disks()[0].ID)
					}
				})
			},
			want: "AWS has dropped it; hint: the account must have the rights for the KMS keys",
		},
		"broken volume": {
			prepare: func(s *ec2test.Server) {
				s.OnRequest(func(action string) {
					if action == "CreateVolume" {
						s.SetDiskState(s.Disks()[0].ID, "error")
					}
				})
			},
			want: `its state is "error"; hint: delete it`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := ec2test.Start(t)
			r := snapshot.VolumeRequest{SnapshotID: server.AddSnapshot(ec2test.Snapshot{}), Type: "gp3", Zone: "eu-central-1a", Token: "t"}
			if test.prepare != nil {
				test.prepare(server)
			}
			if test.change != nil {
				test.change(&r)
			}
			id, err := ebs.OpenFast(t, server.Config(t)).CreateVolume(t.Context(), r)
			if id != "" || err == nil || !strings.Contains(err.Error(), test.want) || test.kind != nil && !errors.Is(err, test.kind) {
				t.Errorf("%q, %v", id, err)
			}
		})
	}
}

// TestCreateVolumeWaits ends with its caller: for the snapshot, and for the disk.
func TestCreateVolumeWaits(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"DescribeSnapshots", "DescribeVolumes"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			server := ec2test.Start(t)
			s := ebs.OpenFast(t, server.Config(t))
			if action == "DescribeVolumes" {
				server.OnRequest(func(action string) {
					if action == "CreateSnapshot" {
						server.Slow(math.MaxInt)
					}
				})
			} else {
				server.Slow(math.MaxInt)
			}
			cut, err := s.Create(t.Context(), cutRequest(server.AddDisk(ec2test.Disk{})))
			if err != nil {
				t.Fatal(err)
			}
			before := len(server.Requests(action))
			ctx, cancel := context.WithCancel(t.Context())
			server.OnRequest(func(got string) {
				if got == action && len(server.Requests(action)) > before+3 {
					cancel()
				}
			})
			if _, err := s.CreateVolume(ctx, snapshot.VolumeRequest{SnapshotID: cut, Type: "gp3", Zone: "eu-central-1a"}); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}
