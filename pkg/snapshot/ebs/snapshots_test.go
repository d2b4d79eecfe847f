package ebs_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
)

var owner = snapshot.Owner{Backup: "nightly", UID: "uid-1"}

func cutRequest(disk string) snapshot.CreateRequest {
	return snapshot.CreateRequest{VolumeID: disk, Owner: owner, Volume: "pv-" + disk, Tags: map[string]string{"velero.io/backup": "nightly", "velero.io/pv": "pv"}}
}

// ids are those of the server's snapshots.
func ids(server *ec2test.Server) []string {
	var l []string
	for _, sn := range server.Snapshots() {
		l = append(l, sn.ID)
	}
	return l
}

func TestCreate(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	disk := server.AddDisk(ec2test.Disk{Content: "before", Throughput: 250, Tags: map[string]string{"team": "shop", "velero.io/pv": "older", "aws:cloudformation:x": "y"}})
	if _, err := s.Disk(t.Context(), disk, ""); err != nil {
		t.Fatal(err)
	}
	id, err := s.Create(t.Context(), cutRequest(disk))
	if err != nil {
		t.Fatal(err)
	}
	server.Write(disk, "after")
	got := server.Snapshots()[0]
	delete(got.Tags, "kubectl-velero.io/request")
	want := map[string]string{
		"velero.io/backup": "nightly", "velero.io/pv": "pv", "team": "shop",
		"kubectl-velero.io/backup-uid": "uid-1", "kubectl-velero.io/disk": "zone=eu-central-1a throughput=250",
	}
	if diff := cmp.Diff(want, got.Tags); diff != "" || got.ID != id || got.Content != "before" {
		t.Errorf("%+v\n%s", got, diff)
	}
	if n := len(server.Requests("DescribeVolumes")); n != 1 {
		t.Errorf("the disk was described %d times", n)
	}
}

// TestCreateUnclear has answers get lost: there must be one snapshot, and we must
// know it.
func TestCreateUnclear(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		faults []ec2test.Fault
		hide   int
	}{
		"cut before":              {faults: []ec2test.Fault{{Cut: true, Times: 1}}},
		"cut after":               {faults: []ec2test.Fault{{Cut: true, Done: true, Times: 1}}},
		"server error after":      {faults: []ec2test.Fault{{Code: "InternalError", Done: true, Times: 1}}},
		"twice before, one after": {faults: []ec2test.Fault{{Code: "InternalError", Times: 2}, {Cut: true, Done: true, Times: 1}}},
		"throttled":               {faults: []ec2test.Fault{{Code: "RequestLimitExceeded", Times: 5}}},
		"the volume's own rate":   {faults: []ec2test.Fault{{Code: "SnapshotCreationPerVolumeRateExceeded", Times: 5}}},
		"unseen for a while":      {hide: 2, faults: []ec2test.Fault{{Cut: true, Done: true, Times: 1}}},
		"unavailable after":       {faults: []ec2test.Fault{{Code: "ServiceUnavailable", Status: 503, Done: true, Times: 1}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := ec2test.Start(t)
			s := ebs.OpenFast(t, server.Config(t))
			server.Hide(test.hide)
			disk := server.AddDisk(ec2test.Disk{})
			for _, f := range test.faults {
				f.Action = "CreateSnapshot"
				server.Fault(f)
			}
			id, err := s.Create(t.Context(), cutRequest(disk))
			if err != nil {
				t.Fatal(err)
			}
			if got := ids(server); !slices.Equal(got, []string{id}) {
				t.Errorf("%s of %s", id, got)
			}
		})
	}
}

// TestCreateCancelled gives up while a request is on its way: what it has made is
// still told.
func TestCreateCancelled(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	disk := server.AddDisk(ec2test.Disk{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server.Fault(ec2test.Fault{Action: "CreateSnapshot", Done: true, Cut: true})
	server.OnRequest(func(action string) {
		if action == "CreateSnapshot" {
			cancel()
		}
	})
	id, err := s.Create(ctx, cutRequest(disk))
	if err != nil || !slices.Equal(ids(server), []string{id}) {
		t.Errorf("%s, %v; %s", id, err, ids(server))
	}
	if _, err := s.Create(ctx, cutRequest(disk)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCreateMany(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	server.PageSize(3)
	server.Fault(ec2test.Fault{Code: "RequestLimitExceeded", Times: 40})
	server.AddSnapshot(ec2test.Snapshot{Tags: map[string]string{"velero.io/backup": "nightly", "kubectl-velero.io/backup-uid": "uid-0"}})
	const disks, inFlight = 25, 10
	arrived, open := atomic.Int32{}, make(chan struct{})
	server.OnRequest(func(string) {
		if arrived.Add(1) == inFlight {
			close(open)
		}
		select {
		case <-open:
		case <-time.After(time.Minute):
		}
	})
	made := make([]string, disks)
	var all sync.WaitGroup
	for i := range disks {
		all.Go(func() {
			var err error
			if made[i], err = s.Create(t.Context(), cutRequest(server.AddDisk(ec2test.Disk{}))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := server.MostAtATime(); n != inFlight {
		t.Errorf("%d requests at a time", n)
	}
	found, err := s.Find(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(made)
	slices.Sort(found)
	if diff := cmp.Diff(made, found); diff != "" {
		t.Error(diff)
	}
	for _, id := range found {
		all.Go(func() {
			if err := s.Delete(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if left := ids(server); len(left) != 1 {
		t.Errorf("left: %s", left)
	}
	if _, err := s.Find(t.Context(), snapshot.Owner{Backup: "nightly"}); err == nil {
		t.Error("snapshots were found by a name that may be another backup's")
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	server.Slow(3)
	server.Hide(1)
	id, err := s.Create(t.Context(), cutRequest(server.AddDisk(ec2test.Disk{})))
	if err != nil {
		t.Fatal(err)
	}
	var got []snapshot.State
	for range 5 {
		state, err := s.State(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, state)
	}
	// At first EC2 doesn't know it.
	want := []snapshot.State{{}, {Progress: 25}, {Progress: 50}, {Progress: 75}, {Progress: 100, Ready: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for message, want := range map[string]string{"no right for the key": "no right for the key", "": "gives no reason"} {
		server.SetSnapshotState(id, "error", message)
		if state, err := s.State(t.Context(), id); err != nil || state.Ready || !strings.Contains(state.Failure, want) {
			t.Errorf("%+v, %v", state, err)
		}
	}
	if _, err := s.State(t.Context(), "snap-0gone"); !errors.Is(err, snapshot.ErrNotExist) {
		t.Error(err)
	}
}

func TestNeverReady(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	server.Slow(math.MaxInt)
	id, err := s.Create(t.Context(), cutRequest(server.AddDisk(ec2test.Disk{})))
	if err != nil {
		t.Fatal(err)
	}
	if state, err := s.State(t.Context(), id); err != nil || state != (snapshot.State{}) {
		t.Errorf("%+v, %v", state, err)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	used, locked, free := server.AddSnapshot(ec2test.Snapshot{}), server.AddSnapshot(ec2test.Snapshot{}), server.AddSnapshot(ec2test.Snapshot{})
	server.UseSnapshot(used, "ami-0123")
	server.Fault(ec2test.Fault{Action: "DeleteSnapshot", ID: locked, Code: "OperationNotPermitted", Message: "The snapshot is locked."})
	server.Fault(ec2test.Fault{Action: "DeleteSnapshot", ID: free, Cut: true, Done: true, Times: 1})
	for id, want := range map[string]string{used: "in use by ami-0123", locked: "hint: its lock must end"} {
		if err := s.Delete(t.Context(), id); !errors.Is(err, snapshot.ErrInUse) || !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
	for range 2 {
		if err := s.Delete(t.Context(), free); err != nil {
			t.Error(err)
		}
	}
	if left := ids(server); !slices.Equal(left, []string{used, locked}) {
		t.Errorf("left: %s", left)
	}
}

// TestTagLimits has more tags than AWS takes.
func TestTagLimits(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	s := ebs.OpenFast(t, server.Config(t))
	disk := ec2test.Disk{Tags: map[string]string{"kubectl-velero.io/backup-uid": "older"}}
	r := cutRequest("")
	for i := range 40 {
		disk.Tags[fmt.Sprintf("disk-%d", i)] = "x"
		r.Tags[fmt.Sprintf("label-%d", i)] = "x"
	}
	r.Tags[strings.Repeat("long/", 30)] = "x"
	r.Tags["long"] = strings.Repeat("x", 257)
	r.VolumeID = server.AddDisk(disk)
	if _, err := s.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	tags := server.Snapshots()[0].Tags
	if len(tags) != 50 || tags["velero.io/backup"] != "nightly" || tags["label-39"] != "x" || tags["kubectl-velero.io/backup-uid"] != "uid-1" {
		t.Errorf("%d tags: %v", len(tags), tags)
	}
}
