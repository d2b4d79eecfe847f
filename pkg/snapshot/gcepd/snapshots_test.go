package gcepd

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/gcepd/gcetest"
)

// ready is a server with a snapshot of disk "data" that is ready.
func ready(t *testing.T, settings map[string]string) (*gcetest.Server, *Snapshotter, string) {
	t.Helper()
	server := withDisk(t)
	s := open(t, server, settings)
	id, err := s.Create(t.Context(), requestFor("data", testZone))
	if err != nil {
		t.Fatal(err)
	}
	server.EditSnapshot(id, func(c *compute.Snapshot) { c.Status = "READY" })
	return server, s, id
}

func TestState(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]snapshot.State{
		"READY":    {Ready: true, Progress: 100},
		"FAILED":   {Failure: "Compute Engine says that it failed"},
		"DELETING": {Failure: "it is being deleted"},
	} {
		server, s, id := ready(t, nil)
		server.SetSlow(gcetest.Slow{Deleting: -1})
		server.EditSnapshot(id, func(c *compute.Snapshot) { c.Status = status })
		if status == "DELETING" {
			server.EditSnapshot(id, func(c *compute.Snapshot) { c.Status = "READY" })
			if err := s.Delete(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.State(t.Context(), id)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("status %s: error %v, %s", status, err, diff)
		}
	}
}

func TestStateWhileUploading(t *testing.T) {
	t.Parallel()
	server := withDisk(t)
	server.SetSlow(gcetest.Slow{Uploading: 2})
	s := open(t, server, nil)
	id, err := s.Create(t.Context(), requestFor("data", testZone))
	if err != nil {
		t.Fatal(err)
	}
	var seen []bool
	for range 4 {
		state, err := s.State(t.Context(), id)
		if err != nil || state.Failure != "" {
			t.Fatal(state, err)
		}
		seen = append(seen, state.Ready)
	}
	if want := []bool{false, false, true, true}; !slices.Equal(seen, want) {
		t.Errorf("ready: %v", seen)
	}
}

// TestStateMissing tells a snapshot that is gone from a project that is.
func TestStateMissing(t *testing.T) {
	t.Parallel()
	server, s, _ := ready(t, nil)
	_, err := s.State(t.Context(), "nothing")
	if !errors.Is(err, snapshot.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	wantError(t, err, `get snapshot "nothing" of project "test-project": it does not exist: notFound: The resource 'projects/test-project/global/snapshots/nothing' was not found`)
	server.SetFaults(gcetest.Fault{Status: 404, Reason: "notFound", Message: "The resource 'projects/test-project' was not found"})
	_, err = s.State(t.Context(), "nothing")
	if errors.Is(err, snapshot.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := s.Delete(t.Context(), "nothing"); err == nil {
		t.Error("nothing was deleted in a project that isn't there, without an error")
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	server := gcetest.Start(t)
	server.SetPageSize(2)
	s := open(t, server, nil)
	var want []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		server.AddDisk(gcetest.Project, testZone, compute.Disk{Name: name})
		id, err := s.Create(t.Context(), requestFor(name, testZone))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
		another := requestFor(name, testZone)
		another.Owner.UID = "another"
		if _, err := s.Create(t.Context(), another); err != nil {
			t.Fatal(err)
		}
	}
	// One has the name of ours only, another one is on its way out.
	server.EditSnapshot(want[4], func(c *compute.Snapshot) { c.Description = "" })
	server.EditSnapshot(want[3], func(c *compute.Snapshot) { c.Status = "DELETING" })
	before := server.Count("snapshots.list")
	got, err := s.Find(t.Context(), testOwner)
	if diff := cmp.Diff(want[:3], got); err != nil || diff != "" {
		t.Errorf("error %v, %s", err, diff)
	}
	if n := server.Count("snapshots.list") - before; n != 3 {
		t.Errorf("%d pages", n)
	}
}

func TestFindFails(t *testing.T) {
	t.Parallel()
	server, s, _ := ready(t, nil)
	server.SetRights(veleroRights...)
	_, err := s.Find(t.Context(), testOwner)
	wantError(t, err, `list the snapshots of backup "nightly" in project "test-project": access denied`, "grant the account compute.snapshots.list")
}

func TestDelete(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		slow   gcetest.Slow
		faults []gcetest.Fault
		rights []string
		kind   error
		want   string
	}{
		"at once":          {},
		"slowly":           {slow: gcetest.Slow{Deleting: 5}},
		"not looking":      {slow: gcetest.Slow{Deleting: 5}, rights: veleroRights},
		"answer lost":      {faults: []gcetest.Fault{{Method: "snapshots.delete", Times: 2, LoseAnswer: true}}},
		"throttled":        {faults: []gcetest.Fault{gcetest.Throttled("snapshots.delete", 4)}},
		"not ready for it": {faults: []gcetest.Fault{{Method: "snapshots.delete", Times: 3, Status: 400, Reason: "resourceNotReady", Message: "The resource 'projects/p/global/snapshots/s' is not ready"}}},
		"never ready for it": {faults: []gcetest.Fault{{Method: "snapshots.delete", Status: 400, Reason: "resourceNotReady", Message: "The resource 'projects/p/global/snapshots/s' is not ready"}},
			kind: snapshot.ErrInUse, want: "it is in use: something is being done with it"},
		"in use": {faults: []gcetest.Fault{{Method: "snapshots.delete", Status: 400, Reason: "resourceInUseByAnotherResource", Message: "The snapshot resource 's' is already being used by 'projects/p/zones/z/disks/d'"}},
			kind: snapshot.ErrInUse, want: "already being used by 'projects/p/zones/z/disks/d'"},
		"in use, told later": {faults: []gcetest.Fault{{Method: "snapshots.delete", Operation: "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", Message: "used by d"}},
			kind: snapshot.ErrInUse, want: "used by d (operation operation-"},
		"no right": {rights: []string{"compute.snapshots.get"}, kind: errDenied, want: "grant the account compute.snapshots.delete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s, id := ready(t, nil)
			server.SetSlow(test.slow)
			server.SetFaults(test.faults...)
			if test.rights != nil {
				server.SetRights(test.rights...)
			}
			err := s.Delete(t.Context(), id)
			if test.want != "" {
				wantError(t, err, `delete snapshot "`+id+`" of project "test-project": `, test.want)
				if !errors.Is(err, test.kind) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if found, ok := server.Snapshot(id); ok && found.Status != "DELETING" {
				t.Errorf("its status is %s", found.Status)
			}
			server.SetRights()
			s.lookUntil(t, "gone", func() bool { return len(server.Snapshots()) == 0 })
			if err := s.Delete(t.Context(), id); err != nil {
				t.Errorf("once more: %v", err)
			}
		})
	}
}
