package gcepd

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/gcepd/gcetest"
)

// veleroRights are those of the role that Velero's documentation makes.
var veleroRights = []string{
	"compute.disks.get", "compute.disks.create", "compute.disks.createSnapshot", "compute.projects.get", "compute.snapshots.get",
	"compute.snapshots.create", "compute.snapshots.useReadOnly", "compute.snapshots.delete", "compute.zones.get",
}

// documentedRights reads the role from the page that people copy it from.
func documentedRights(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/snapshots-gcp.md")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`--permissions (\S+)`).FindSubmatch(page)
	if list == nil {
		t.Fatal("the page has no rights")
	}
	return strings.Split(string(list[1]), ",")
}

// useAll does everything that needs a right, but to look for leftovers.
func useAll(ctx context.Context, server *gcetest.Server, s *Snapshotter) error {
	for _, zone := range []string{testZone, testRegion} {
		id, err := s.Create(ctx, requestFor("data", zone))
		if err != nil {
			return err
		}
		server.EditSnapshot(id, func(c *compute.Snapshot) { c.Status = "READY" })
		if _, err := s.State(ctx, id); err != nil {
			return err
		}
		if _, err := s.Disk(ctx, "data", zone); err != nil {
			return err
		}
		if _, err := s.CreateVolume(ctx, snapshot.VolumeRequest{SnapshotID: id, Zone: zone, Token: testToken}); err != nil {
			return err
		}
		if err := s.Delete(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// rightsServer has a zonal and a regional disk, and takes its time.
func rightsServer(t *testing.T, rights []string) (*gcetest.Server, *Snapshotter) {
	t.Helper()
	server := gcetest.Start(t)
	for _, zone := range []string{testZone, testRegion} {
		server.AddDisk(gcetest.Project, zone, compute.Disk{Name: "data", Labels: map[string]string{"env": "prod"}})
	}
	server.SetSlow(gcetest.Slow{Creating: 2, Deleting: 2, Disk: 2})
	server.SetRights(rights...)
	return server, open(t, server, nil)
}

func TestDocumentedRights(t *testing.T) {
	t.Parallel()
	server, s := rightsServer(t, documentedRights(t))
	if err := useAll(t.Context(), server, s); err != nil {
		t.Error(err)
	}
	if _, err := s.Find(t.Context(), testOwner); err != nil {
		t.Error(err)
	}
	for _, r := range server.Requests() {
		if r.Status == 403 {
			t.Errorf("%s was refused", r.Method)
		}
	}
}

// TestEachRightIsNeeded takes one away at a time: something is refused then, if not
// what a user asked for.
func TestEachRightIsNeeded(t *testing.T) {
	t.Parallel()
	all := documentedRights(t)
	for _, right := range all {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			server, s := rightsServer(t, slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == right }))
			err := useAll(t.Context(), server, s)
			if err == nil {
				_, err = s.Find(t.Context(), testOwner)
			}
			optional := strings.HasSuffix(right, ".setLabels") || strings.HasSuffix(right, "Operations.get")
			if optional != (err == nil) {
				t.Errorf("error %v", err)
			}
			if !optional {
				wantError(t, err, "hint: grant the account "+right+"; ")
			}
			refused := func(r gcetest.Request) bool { return r.Status == 403 }
			if !slices.ContainsFunc(server.Requests(), refused) {
				t.Error("nothing was refused")
			}
		})
	}
}

func TestVelerosRole(t *testing.T) {
	t.Parallel()
	server, s := rightsServer(t, veleroRights)
	if err := useAll(t.Context(), server, s); err != nil {
		t.Error(err)
	}
}
