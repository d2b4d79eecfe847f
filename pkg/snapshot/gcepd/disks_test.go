package gcepd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/gcepd/gcetest"
)

func TestDisk(t *testing.T) {
	t.Parallel()
	server := gcetest.Start(t)
	server.AddDisk(gcetest.Project, testZone, compute.Disk{Name: "data"})
	server.AddDisk(gcetest.Project, testZone, compute.Disk{Name: "fast", Type: "hyperdisk-balanced", ProvisionedIops: 9000})
	server.AddDisk(gcetest.Project, testRegion, compute.Disk{Name: "twice", Type: "pd-ssd"})
	s := open(t, server, nil)
	iops := int64(9000)
	at := server.URL + "/compute/v1/projects/test-project/"
	for _, test := range []struct {
		id, zone string
		want     snapshot.Disk
	}{
		{"data", testZone, snapshot.Disk{Type: at + "zones/europe-west1-b/diskTypes/pd-balanced"}},
		{"fast", testZone, snapshot.Disk{Type: at + "zones/europe-west1-b/diskTypes/hyperdisk-balanced", IOPS: &iops}},
		{"twice", testRegion, snapshot.Disk{Type: at + "regions/europe-west1/diskTypes/pd-ssd"}},
	} {
		got, err := s.Disk(t.Context(), test.id, test.zone)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("disk %q: error %v, %s", test.id, err, diff)
		}
	}
	_, err := s.Disk(t.Context(), "data", "europe-west1-c")
	wantError(t, err, `get disk "data" in zone "europe-west1-c" of project "test-project": it does not exist`)
	if !errors.Is(err, snapshot.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	for _, zone := range []string{"", "mars-1", "a__b"} {
		if _, err := s.Disk(t.Context(), "data", zone); !errors.Is(err, snapshot.ErrNoZone) {
			t.Errorf("zone %q: error %v", zone, err)
		}
	}
}

// TestCreateVolume has all of a disk in its snapshot.
func TestCreateVolume(t *testing.T) {
	t.Parallel()
	const otherType = "https://www.googleapis.com/compute/v1/projects/elsewhere/zones/us-central1-a/diskTypes/"
	iops := int64(9000)
	for name, test := range map[string]struct {
		zone string
		disk compute.Disk
		r    snapshot.VolumeRequest
		want compute.Disk
	}{
		"zonal": {testZone, compute.Disk{Type: "pd-ssd"}, snapshot.VolumeRequest{Type: otherType + "pd-ssd"},
			compute.Disk{Type: "projects/test-project/zones/europe-west1-b/diskTypes/pd-ssd"}},
		"regional": {testRegion, compute.Disk{Type: "pd-ssd"}, snapshot.VolumeRequest{Type: otherType + "pd-ssd"},
			compute.Disk{
				Type:         "projects/test-project/regions/europe-west1/diskTypes/pd-ssd",
				ReplicaZones: []string{"projects/test-project/zones/europe-west1-b", "projects/test-project/zones/europe-west1-c"},
			}},
		"fast, for many": {testZone, compute.Disk{Type: "hyperdisk-balanced", ProvisionedThroughput: 300, AccessMode: "READ_WRITE_MANY"},
			snapshot.VolumeRequest{Type: otherType + "hyperdisk-balanced", IOPS: &iops},
			compute.Disk{
				Type:            "projects/test-project/zones/europe-west1-b/diskTypes/hyperdisk-balanced",
				ProvisionedIops: 9000, ProvisionedThroughput: 300, AccessMode: "READ_WRITE_MANY",
			}},
		"encrypted": {testZone, compute.Disk{
			DiskEncryptionKey:         &compute.CustomerEncryptionKey{KmsKeyName: testKey + "/cryptoKeyVersions/3", KmsKeyServiceAccount: "a@p.iam.gserviceaccount.com"},
			EnableConfidentialCompute: true,
		}, snapshot.VolumeRequest{Type: "pd-balanced", IOPS: new(int64)}, compute.Disk{
			Type:                      "projects/test-project/zones/europe-west1-b/diskTypes/pd-balanced",
			DiskEncryptionKey:         &compute.CustomerEncryptionKey{KmsKeyName: testKey + "/cryptoKeyVersions/1", KmsKeyServiceAccount: "a@p.iam.gserviceaccount.com"},
			EnableConfidentialCompute: true,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := gcetest.Start(t)
			test.disk.Name, test.disk.Labels, test.disk.Description = "data", map[string]string{"env": "prod"}, `{"a":"b"}`
			server.AddDisk(gcetest.Project, test.zone, test.disk)
			server.SetSlow(gcetest.Slow{Disk: 5})
			s := open(t, server, nil)
			var err error
			if test.r.SnapshotID, err = s.Create(t.Context(), requestFor("data", test.zone)); err != nil {
				t.Fatal(err)
			}
			server.EditSnapshot(test.r.SnapshotID, func(c *compute.Snapshot) { c.Status = "READY" })
			test.r.Zone, test.r.Token = test.zone, testToken
			id, err := s.CreateVolume(t.Context(), test.r)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := server.Disk(id)
			source, _ := server.Snapshot(test.r.SnapshotID)
			test.want.Kind, test.want.Name, test.want.Status, test.want.SizeGb = "compute#disk", "restore-"+testToken, "READY", 10
			test.want.Labels, test.want.SourceSnapshot = map[string]string{"env": "prod"}, source.SelfLink
			test.want.Description = `{"a":"b","team":"shop","velero.io/backup":"nightly","velero.io/pv":"pv-data"}`
			test.want.Id, test.want.SelfLink = got.Id, got.SelfLink
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			again, err := s.CreateVolume(t.Context(), test.r)
			if err != nil || again != id || len(server.Disks()) != 2 {
				t.Errorf("once more: %q, error %v, %d disks", again, err, len(server.Disks()))
			}
		})
	}
}

// TestCreateVolumeFromVelero has a snapshot as Velero's plugin makes it.
func TestCreateVolumeFromVelero(t *testing.T) {
	t.Parallel()
	for name, description := range map[string]string{"tags": `{"velero.io/backup":"b","velero.io/pv":"pv"}`, "a person's": "mine", "none": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := gcetest.Start(t)
			server.AddSnapshot(gcetest.Project, compute.Snapshot{Name: "gke-data-5f0f6d12-0cc8-4a5d-9c0f-5f3a1f3b1d10", Description: description, DiskSizeGb: 20})
			id, err := open(t, server, nil).CreateVolume(t.Context(), snapshot.VolumeRequest{
				SnapshotID: "gke-data-5f0f6d12-0cc8-4a5d-9c0f-5f3a1f3b1d10", Zone: testZone, Token: testToken,
				Type: "https://www.googleapis.com/compute/v1/projects/test-project/zones/europe-west1-b/diskTypes/pd-standard", IOPS: new(int64),
			})
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := server.Disk(id); got.SizeGb != 20 || got.Description != description || got.ProvisionedIops != 0 {
				t.Errorf("disk %+v", got)
			}
		})
	}
}

func TestCreateVolumeFails(t *testing.T) {
	t.Parallel()
	fails := func(code, message string) []gcetest.Fault {
		return []gcetest.Fault{{Method: "disks.insert", Operation: code, Message: message}}
	}
	for name, test := range map[string]struct {
		r      snapshot.VolumeRequest
		edit   func(*compute.Snapshot)
		faults []gcetest.Fault
		kind   error
		want   string
	}{
		"no such snapshot": {r: snapshot.VolumeRequest{SnapshotID: "nothing"}, kind: snapshot.ErrNotExist, want: `get snapshot "nothing" of project "test-project": it does not exist`},
		"no such zone":     {r: snapshot.VolumeRequest{Zone: "mars-1"}, kind: snapshot.ErrNoZone, want: "Unknown zone"},
		"no zone":          {r: snapshot.VolumeRequest{Zone: "none"}, kind: snapshot.ErrNoZone},
		"not ready":        {edit: func(c *compute.Snapshot) { c.Status = "FAILED" }, want: "no disk can be made from it, its status is FAILED"},
		"customer's key":   {edit: func(c *compute.Snapshot) { c.SnapshotEncryptionKey = &compute.CustomerEncryptionKey{Sha256: "x"} }, want: "(CSEK)"},
		"no such type":     {r: snapshot.VolumeRequest{Type: "pd-golden"}, kind: snapshot.ErrNoZone, want: "hint: this kind of disk isn't offered there"},
		"zone is full":     {faults: fails("ZONE_RESOURCE_POOL_EXHAUSTED", "The zone does not have enough resources"), kind: snapshot.ErrNoZone, want: "hint: the zone has no room"},
		"quota":            {faults: fails("QUOTA_EXCEEDED", "Quota 'SSD_TOTAL_GB' exceeded. Limit: 500.0 in region europe-west1."), kind: snapshot.ErrQuota, want: "SSD_TOTAL_GB"},
		"vanished":         {faults: fails("INTERNAL_ERROR", "Code: '1'"), want: "INTERNAL_ERROR: Code: '1' (operation operation-"},
		"no right": {faults: []gcetest.Fault{{Method: "disks.insert", Status: 403, Reason: "forbidden", Message: "Required 'compute.snapshots.useReadOnly' permission for 'projects/p/global/snapshots/s'"}},
			kind: errDenied, want: "grant the account compute.snapshots.useReadOnly"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s, id := ready(t, nil)
			if test.edit != nil {
				server.EditSnapshot(id, test.edit)
			}
			server.SetFaults(test.faults...)
			test.r.Token = testToken
			if test.r.SnapshotID == "" {
				test.r.SnapshotID = id
			}
			if test.r.Zone == "" {
				test.r.Zone = testZone
			}
			got, err := s.CreateVolume(t.Context(), test.r)
			wantError(t, err, `snapshot location "default": `, test.want)
			if got != "" || test.kind != nil && !errors.Is(err, test.kind) || len(server.Disks()) != 1 {
				t.Errorf("disk %q, error %v, %d disks", got, err, len(server.Disks()))
			}
		})
	}
}

func TestCreateVolumeThroughTrouble(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]gcetest.Fault{
		"answer lost": {Method: "disks.insert", Times: 2, LoseAnswer: true},
		"throttled":   gcetest.Throttled("disks.insert", 5),
		"503":         {Method: "zoneOperations.get", Times: 3, Status: 503, Reason: "backendError", Message: "Backend Error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s, id := ready(t, nil)
			server.SetSlow(gcetest.Slow{Disk: 3})
			server.SetFaults(fault)
			if _, err := s.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Zone: testZone, Token: testToken}); err != nil {
				t.Fatal(err)
			}
			if n := len(server.Disks()); n != 2 {
				t.Errorf("%d disks", n)
			}
		})
	}
}

// TestCreateVolumeSoonAfterTheBackup has a snapshot that is still being uploaded.
func TestCreateVolumeSoonAfterTheBackup(t *testing.T) {
	t.Parallel()
	server := gcetest.Start(t)
	server.AddDisk(gcetest.Project, testZone, compute.Disk{Name: "data"})
	server.SetSlow(gcetest.Slow{Uploading: 4})
	s := open(t, server, nil)
	id, err := s.Create(t.Context(), requestFor("data", testZone))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Zone: testZone, Token: testToken}); err != nil {
		t.Error(err)
	}
	server.SetSlow(gcetest.Slow{Uploading: -1})
	server.AddDisk(gcetest.Project, testZone, compute.Disk{Name: "more"})
	if id, err = s.Create(t.Context(), requestFor("more", testZone)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	s.pause = func(context.Context, time.Duration) { cancel(errors.New("the restore ends")) }
	_, err = s.CreateVolume(ctx, snapshot.VolumeRequest{SnapshotID: id, Zone: testZone, Token: testToken})
	wantError(t, err, "its status is UPLOADING: the restore ends")
}

// TestVolumeInAnotherZone has disks that are made elsewhere than the snapshots' were.
func TestVolumeInAnotherZone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ zone, want string }{
		"zone":   {"europe-west1-c", "projects/test-project/zones/europe-west1-c/disks/"},
		"region": {testRegion, "projects/test-project/regions/europe-west1/disks/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s, snapshotID := ready(t, nil)
			server.AddDisk(gcetest.Project, testRegion, compute.Disk{Name: "other"}) // both zones are there
			id, err := s.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: snapshotID, Zone: test.zone, Token: testToken})
			if err != nil {
				t.Fatal(err)
			}
			pv := ofDriver("pd.csi.storage.gke.io", "projects/test-project/zones/"+testZone+"/disks/data")
			if err := s.SetVolumeID(pv, id); err != nil || pv.Spec.CSI.VolumeHandle != test.want+id {
				t.Errorf("handle %q, error %v", pv.Spec.CSI.VolumeHandle, err)
			}
		})
	}
}

// TestCreateVolumeElsewhere has a disk with the name of the one to make.
func TestCreateVolumeElsewhere(t *testing.T) {
	t.Parallel()
	server, s, id := ready(t, nil)
	server.AddDisk(gcetest.Project, testZone, compute.Disk{Name: "restore-" + testToken})
	_, err := s.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Zone: testZone, Token: testToken})
	wantError(t, err, "there is a disk of that name, which was made from something else")
}

func TestCreateVolumeCancelled(t *testing.T) {
	t.Parallel()
	server, s, id := ready(t, nil)
	server.SetSlow(gcetest.Slow{Disk: -1})
	ctx, cancel := context.WithCancelCause(t.Context())
	s.pause = func(context.Context, time.Duration) { cancel(errors.New("the restore ends")) }
	_, err := s.CreateVolume(ctx, snapshot.VolumeRequest{SnapshotID: id, Zone: testZone, Token: testToken})
	wantError(t, err, "the restore ends")
	// The next attempt goes on with it.
	server.SetSlow(gcetest.Slow{})
	if !strings.Contains(err.Error(), `create disk "restore-`+testToken) {
		t.Errorf("error %v", err)
	}
}
