package gcepd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/gcepd/gcetest"
)

const testKey = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"

func TestCreate(t *testing.T) {
	t.Parallel()
	server := gcetest.Start(t)
	server.AddDisk(gcetest.Project, testZone, compute.Disk{
		Name: "data", Labels: map[string]string{"env": "prod"}, Description: `{"kubernetes.io/created-for/pv/name":"pv-data"}`,
		DiskEncryptionKey: &compute.CustomerEncryptionKey{KmsKeyName: testKey + "/cryptoKeyVersions/3"},
	})
	s := open(t, server, map[string]string{"snapshotLocation": "europe-west1", "snapshotType": "ARCHIVE"})
	id, err := s.Create(t.Context(), requestFor("data", testZone))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := server.Snapshot(id)
	got.Id, got.SelfLink, got.SourceDiskId, got.SourceDisk = 0, "", "", strings.TrimPrefix(got.SourceDisk, server.URL)
	want := compute.Snapshot{
		Kind: "compute#snapshot", Name: snapshotName(testOwner.UID, "data", gcetest.Project+"/zones/"+testZone), DiskSizeGb: 10, Status: "UPLOADING",
		Description: `{"kubectl-velero.io/backup-uid":"` + testOwner.UID + `","kubernetes.io/created-for/pv/name":"pv-data",` +
			`"team":"shop","velero.io/backup":"nightly","velero.io/pv":"pv-data"}`,
		Labels:     map[string]string{"env": "prod"},
		SourceDisk: "/compute/v1/projects/test-project/zones/europe-west1-b/disks/data", SnapshotType: "ARCHIVE", StorageLocations: []string{"europe-west1"},
		SnapshotEncryptionKey: &compute.CustomerEncryptionKey{KmsKeyName: testKey + "/cryptoKeyVersions/3"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestCreateReturnsWhenCut writes to the disk before and after.
func TestCreateReturnsWhenCut(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{"zonal": testZone, "regional": testRegion} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := gcetest.Start(t)
			server.AddDisk(gcetest.Project, at, compute.Disk{Name: "data"})
			server.SetSlow(gcetest.Slow{Creating: 7, Uploading: 100})
			s := open(t, server, nil)
			server.Write("data", "before")
			id, err := s.Create(t.Context(), requestFor("data", at))
			if err != nil {
				t.Fatal(err)
			}
			server.Write("data", "after")
			server.SetSlow(gcetest.Slow{})
			for state := (snapshot.State{}); !state.Ready; {
				if state, err = s.State(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			disk, err := s.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Zone: at, Token: testToken})
			if err != nil {
				t.Fatal(err)
			}
			if got := server.Read(disk); got != "before" {
				t.Errorf("the snapshot has what was written %s it", got)
			}
		})
	}
}

// TestCreateAgain has what an earlier attempt left.
func TestCreateAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		left    func(*compute.Snapshot)
		inserts int
		want    string
	}{
		"cut":          {func(s *compute.Snapshot) { s.Status = "READY" }, 2, ""},
		"not cut yet":  {func(s *compute.Snapshot) { s.Status = "CREATING" }, 2, ""},
		"on its way":   {func(s *compute.Snapshot) { s.Status = "DELETING" }, 3, ""},
		"failed":       {func(s *compute.Snapshot) { s.Status = "FAILED" }, 3, ""},
		"another's":    {func(s *compute.Snapshot) { s.Description = "mine" }, 2, "there is a snapshot of that name, which this backup didn't make"},
		"another disk": {func(s *compute.Snapshot) { s.SourceDisk += "-2" }, 2, "which this backup didn't make"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := withDisk(t)
			s := open(t, server, nil)
			first, err := s.Create(t.Context(), requestFor("data", testZone))
			if err != nil {
				t.Fatal(err)
			}
			server.EditSnapshot(first, test.left)
			second, err := s.Create(t.Context(), requestFor("data", testZone))
			if test.want != "" {
				wantError(t, err, test.want)
			} else if err != nil || second != first {
				t.Errorf("id %q, error %v", second, err)
			}
			if all, n := server.Snapshots(), server.Count("snapshots.insert"); len(all) != 1 || n != test.inserts {
				t.Errorf("%d snapshots after %d requests", len(all), n)
			}
		})
	}
}

func TestCreateFails(t *testing.T) {
	t.Parallel()
	refused := func(method string, status int, reason, message string) gcetest.Fault {
		return gcetest.Fault{Method: method, Status: status, Reason: reason, Message: message}
	}
	fails := func(code, message string) gcetest.Fault {
		return gcetest.Fault{Method: "snapshots.insert", Operation: code, Message: message}
	}
	for name, test := range map[string]struct {
		fault gcetest.Fault
		kind  error
		texts []string
	}{
		"quota": {refused("snapshots.insert", 403, "quotaExceeded", "Quota 'SNAPSHOTS' exceeded.  Limit: 1000.0 globally."), snapshot.ErrQuota,
			[]string{`create a snapshot of disk "data" in zone "europe-west1-b" of project "test-project": the quota is used up: quotaExceeded: Quota 'SNAPSHOTS' exceeded. Limit: 1000.0 globally.; hint: have the quota raised`}},
		"quota, later": {fails("QUOTA_EXCEEDED", "Quota 'SNAPSHOTS' exceeded."), snapshot.ErrQuota, []string{"QUOTA_EXCEEDED: Quota 'SNAPSHOTS' exceeded. (operation operation-"}},
		"too often":    {fails("RESOURCE_OPERATION_RATE_EXCEEDED", "Too frequent operations from the source resource."), nil, []string{"hint: a disk can be snapshotted every ten minutes"}},
		"no right": {refused("snapshots.insert", 403, "forbidden", "Required 'compute.disks.createSnapshot' permission for 'projects/p/zones/z/disks/data'"), errDenied,
			[]string{"access denied: forbidden: Required", "hint: grant the account compute.disks.createSnapshot; docs/snapshots-gcp.md"}},
		"API off": {gcetest.Fault{Method: "disks.get", Status: 403, Reason: "accessNotConfigured", Message: "Compute Engine API has not been used", Detail: "SERVICE_DISABLED"}, errDenied,
			[]string{"hint: switch the API on"}},
		"key": {fails("PERMISSIONS_ERROR", "Cloud KMS error when using key projects/p: Permission 'cloudkms.cryptoKeyVersions.useToEncrypt' denied"), errDenied,
			[]string{"roles/cloudkms.cryptoKeyEncrypterDecrypter"}},
		"no such zone":   {refused("disks.get", 400, "invalid", "Invalid value for field 'zone': 'x'. Unknown zone."), snapshot.ErrNoZone, nil},
		"token":          {refused("disks.get", 401, "authError", "Invalid Credentials"), errDenied, []string{"doesn't take this account's token"}},
		"no such disk":   {gcetest.Fault{Method: "disks.get", Status: 404, Reason: "notFound", Message: "The resource 'projects/test-project/zones/europe-west1-b/disks/data' was not found"}, snapshot.ErrNotExist, []string{`hint: if it is in another project, set the config key "volumeProject"`}},
		"broken":         {refused("snapshots.insert", 503, "backendError", "Backend Error"), nil, []string{"backendError: Backend Error"}},
		"a proxy's page": {refused("snapshots.insert", 502, "", ""), nil, []string{"HTTP status 502"}},
		"never cut":      {gcetest.Fault{Method: "snapshots.get", Skip: 1, Status: 400, Reason: "invalid", Message: "no"}, nil, []string{"invalid: no"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := withDisk(t)
			server.SetSlow(gcetest.Slow{Creating: 3})
			s := open(t, server, nil)
			server.SetFaults(test.fault)
			id, err := s.Create(t.Context(), requestFor("data", testZone))
			wantError(t, err, append(test.texts, `snapshot location "default": `)...)
			if id != "" || test.kind != nil && !errors.Is(err, test.kind) {
				t.Errorf("id %q, error %v", id, err)
			}
			server.SetFaults()
			s.lookUntil(t, "nothing left", func() bool { return len(server.Snapshots()) == 0 })
		})
	}
}

// lookUntil looks at the server's snapshots, which moves them on, until it is so.
func (s *Snapshotter) lookUntil(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	for range 20 {
		if isSo() {
			return
		}
		all, err := s.api.Snapshots.List(gcetest.Project).Context(t.Context()).Do()
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range all.Items {
			_, _ = s.api.Snapshots.Get(gcetest.Project, found.Name).Context(t.Context()).Do() // gone is fine
		}
	}
	t.Errorf("never: %s", what)
}

// TestCreateWhileQuotaIsUsedUp has a server that agrees first.
func TestCreateWhileQuotaIsUsedUp(t *testing.T) {
	t.Parallel()
	for name, rights := range map[string][]string{"told why": nil, "as Velero's role": veleroRights} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := withDisk(t)
			server.AddSnapshot("another", compute.Snapshot{Name: "other"})
			server.SetQuota(1)
			if rights != nil {
				server.SetRights(rights...)
			}
			_, err := open(t, server, nil).Create(t.Context(), requestFor("data", testZone))
			if rights == nil && !errors.Is(err, snapshot.ErrQuota) || rights != nil && !errors.Is(err, errVanished) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestCreateThroughTrouble has trouble that passes.
func TestCreateThroughTrouble(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]gcetest.Fault{
		"throttled":       gcetest.Throttled("snapshots.insert", maxThrottled-1),
		"throttled often": gcetest.Throttled("", maxThrottled-1),
		"429":             {Method: "disks.get", Times: 3, Status: 429, Reason: "rateLimitExceeded", Message: "slow down", RetryAfter: 7},
		"503":             {Method: "snapshots.get", Times: maxBroken - 1, Status: 503, Reason: "backendError", Message: "Backend Error"},
		"request lost":    {Method: "snapshots.insert", Times: 2, Lose: true},
		"answer lost":     {Method: "snapshots.insert", Times: 2, LoseAnswer: true},
		"poll lost":       {Method: "globalOperations.get", Times: 2, Lose: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := withDisk(t)
			server.SetSlow(gcetest.Slow{Creating: 3})
			s := open(t, server, nil)
			var longest time.Duration
			s.pause = func(_ context.Context, d time.Duration) { longest = max(longest, d) }
			server.SetFaults(fault)
			if _, err := s.Create(t.Context(), requestFor("data", testZone)); err != nil {
				t.Fatal(err)
			}
			if n := len(server.Snapshots()); n != 1 {
				t.Errorf("%d snapshots", n)
			}
			if fault.RetryAfter > 0 && longest != time.Duration(fault.RetryAfter)*time.Second {
				t.Errorf("the longest pause was %s", longest)
			}
		})
	}
}

func TestThrottledForTooLong(t *testing.T) {
	t.Parallel()
	server := withDisk(t)
	s := open(t, server, nil)
	var all time.Duration
	s.pause = func(_ context.Context, d time.Duration) { all += d }
	server.SetFaults(gcetest.Throttled("disks.get", 0))
	_, err := s.Disk(t.Context(), "data", testZone)
	wantError(t, err, "rateLimitExceeded: Rate Limit Exceeded")
	if n := server.Count("disks.get"); n != maxThrottled || all < time.Minute {
		t.Errorf("%d requests in %s", n, all)
	}
}

// TestLabelsRefused has an account that may not set labels, and labels that the API
// doesn't take.
func TestLabelsRefused(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*gcetest.Server){
		"right": func(s *gcetest.Server) {
			s.SetRights(veleroRights...)
			s.AddDisk(gcetest.Project, testZone, compute.Disk{Name: "data", Labels: map[string]string{"env": "prod"}})
		},
		"key": func(s *gcetest.Server) {
			s.AddDisk(gcetest.Project, testZone, compute.Disk{Name: "data", Labels: map[string]string{"UPPER": "x"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := gcetest.Start(t)
			prepare(server)
			id, err := open(t, server, nil).Create(t.Context(), requestFor("data", testZone))
			if err != nil {
				t.Fatal(err)
			}
			if found, _ := server.Snapshot(id); len(found.Labels) > 0 || !strings.Contains(found.Description, "velero.io/pv") {
				t.Errorf("labels %v, description %s", found.Labels, found.Description)
			}
		})
	}
}

// TestCreateCancelled gives up while the snapshot is being cut.
func TestCreateCancelled(t *testing.T) {
	t.Parallel()
	server := withDisk(t)
	server.SetSlow(gcetest.Slow{Creating: 4})
	s := open(t, server, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	s.pause = func(context.Context, time.Duration) { cancel(errors.New("the backup ends")) }
	_, err := s.Create(ctx, requestFor("data", testZone))
	wantError(t, err, "the backup ends")
	s.lookUntil(t, "nothing left", func() bool { return len(server.Snapshots()) == 0 })
}

// TestCreateComesToNothing has a snapshot that fails while it is cut.
func TestCreateComesToNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rights []string
		later  gcetest.Fault
		want   string
	}{
		"no reason": {want: "its status is FAILED"},
		"hidden":    {rights: veleroRights, want: "its status is FAILED"},
		"reason":    {later: gcetest.Fault{Method: "globalOperations.get", Status: 400, Reason: "internalError", Message: "the disk is broken"}, want: "internalError: the disk is broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := withDisk(t)
			server.SetSlow(gcetest.Slow{Creating: 5})
			server.SetRights(test.rights...)
			fail := func() {
				for _, found := range server.Snapshots() {
					server.EditSnapshot(found.Name, func(c *compute.Snapshot) { c.Status = "FAILED" })
				}
			}
			server.SetFaults(gcetest.Fault{Method: "snapshots.get", Times: 1, Before: fail}, test.later)
			_, err := open(t, server, nil).Create(t.Context(), requestFor("data", testZone))
			wantError(t, err, `create a snapshot of disk "data"`, test.want)
		})
	}
}

// TestCreateLeftBehind can't delete what came to nothing.
func TestCreateLeftBehind(t *testing.T) {
	t.Parallel()
	server := withDisk(t)
	server.SetSlow(gcetest.Slow{Creating: 3})
	s := open(t, server, nil)
	server.SetFaults(
		gcetest.Fault{Method: "snapshots.get", Status: 400, Reason: "invalid", Message: "no"},
		gcetest.Fault{Method: "snapshots.delete", Status: 403, Reason: "forbidden", Message: "Required 'compute.snapshots.delete' permission"},
	)
	_, err := s.Create(t.Context(), requestFor("data", testZone))
	wantError(t, err, "invalid: no", `snapshot "data-`, "may be left: ", "grant the account compute.snapshots.delete")
	server.SetFaults()
	ids, err := s.Find(t.Context(), testOwner)
	if err != nil || len(ids) != 1 {
		t.Errorf("found %v, error %v", ids, err)
	}
}

func TestCustomersOwnKey(t *testing.T) {
	t.Parallel()
	server := gcetest.Start(t)
	server.AddDisk(gcetest.Project, testZone, compute.Disk{Name: "data", DiskEncryptionKey: &compute.CustomerEncryptionKey{Sha256: "x"}})
	_, err := open(t, server, nil).Create(t.Context(), requestFor("data", testZone))
	wantError(t, err, "it is encrypted with a key that the customer supplies (CSEK); hint: ")
	if n := server.Count("snapshots.insert"); n > 0 {
		t.Errorf("%d requests", n)
	}
}

// TestManyAtOnce cuts more snapshots at a time than there may be requests.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const disks = 3 * maxInFlight
	server := gcetest.Start(t)
	server.SetSlow(gcetest.Slow{Creating: 2})
	server.SetFaults(gcetest.Throttled("", 40))
	s := open(t, server, nil)
	var group errgroup.Group
	for i := range disks {
		name := fmt.Sprintf("data-%d", i)
		server.AddDisk(gcetest.Project, testZone, compute.Disk{Name: name})
		group.Go(func() error {
			_, err := s.Create(t.Context(), requestFor(name, testZone))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := len(server.Snapshots()); n != disks {
		t.Errorf("%d snapshots", n)
	}
	if n := server.MostAtOnce(); n > maxInFlight {
		t.Errorf("%d requests at once", n)
	}
	if n := server.Count("disks.get"); n < disks || n > disks+40 {
		t.Errorf("%d requests for disks", n)
	}
}
