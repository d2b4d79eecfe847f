package gcepd

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/compute/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/gcepd/gcetest"
)

const (
	testZone   = "europe-west1-b"
	testRegion = "europe-west1-b__europe-west1-c"
	testToken  = "6f1c2f3e-94a1-5d3b-8a73-3a55ab5e2f10"
)

var testOwner = snapshot.Owner{Backup: "nightly", UID: "0f0e0d0c-1111-2222-3333-444455556666"}

// open opens a server's location; its pauses are none.
func open(t *testing.T, server *gcetest.Server, settings map[string]string) *Snapshotter {
	t.Helper()
	s, err := Open(t.Context(), server.Config(settings))
	if err != nil {
		t.Fatal(err)
	}
	s.pause = func(context.Context, time.Duration) {}
	return s
}

// requestFor is the request to snapshot a disk.
func requestFor(disk, zone string) snapshot.CreateRequest {
	return snapshot.CreateRequest{
		VolumeID: disk, Zone: zone, Owner: testOwner, Volume: "pv-" + disk,
		Tags: map[string]string{"velero.io/backup": "nightly", "velero.io/pv": "pv-" + disk, "team": "shop"},
	}
}

// withDisk is a server with the disk "data".
func withDisk(t *testing.T) *gcetest.Server {
	t.Helper()
	server := gcetest.Start(t)
	server.AddDisk(gcetest.Project, testZone, compute.Disk{Name: "data", Labels: map[string]string{"env": "prod"}})
	return server
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error is %q, without %q", err, text)
		}
	}
}

func TestOpenSendsNothing(t *testing.T) {
	t.Parallel()
	server := gcetest.Start(t)
	open(t, server, nil)
	if got := server.Requests(); len(got) > 0 {
		t.Errorf("requests: %v", got)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cloud")
	if err := os.WriteFile(file, []byte("[default]"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), snapshot.Config{Location: "here", CredentialsFile: file})
	wantError(t, err, `snapshot location "here": credentials file `, "is not JSON; hint: ")
	_, err = Open(t.Context(), snapshot.Config{Location: "here", CredentialsFile: "/nowhere", Settings: map[string]string{"credentialsFile": "/nowhere/else"}})
	wantError(t, err, `config key "credentialsFile": open /nowhere/else`)
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ configured, universe, want string }{
		{"", "googleapis.com", "https://compute.googleapis.com/compute/v1/"},
		{"", "apis.example", "https://compute.apis.example/compute/v1/"},
		{"http://127.0.0.1:1", "googleapis.com", "http://127.0.0.1:1/compute/v1/"},
		{"http://127.0.0.1:1/compute/v1/", "googleapis.com", "http://127.0.0.1:1/compute/v1/"},
	} {
		if got := endpoint(test.configured, test.universe); got != test.want {
			t.Errorf("endpoint of %q in %q: %q", test.configured, test.universe, got)
		}
	}
}

// TestProjects has the disks in one project and the snapshots in another.
func TestProjects(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings         map[string]string
		disks, snapshots string
	}{
		"of the credentials": {disks: gcetest.Project, snapshots: gcetest.Project},
		"of the disks":       {settings: map[string]string{"volumeProject": "disks"}, disks: "disks", snapshots: "disks"},
		"of the snapshots":   {settings: map[string]string{"project": "vault"}, disks: gcetest.Project, snapshots: "vault"},
		"two":                {settings: map[string]string{"volumeProject": "disks", "project": "vault"}, disks: "disks", snapshots: "vault"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := gcetest.Start(t)
			server.AddDisk(test.disks, testZone, compute.Disk{Name: "data"})
			s := open(t, server, test.settings)
			id, err := s.Create(t.Context(), requestFor("data", testZone))
			if err != nil {
				t.Fatal(err)
			}
			found, _ := server.Snapshot(id)
			if !strings.Contains(found.SelfLink, "/projects/"+test.snapshots+"/") || !strings.Contains(found.SourceDisk, "/projects/"+test.disks+"/") {
				t.Errorf("snapshot %s of disk %s", found.SelfLink, found.SourceDisk)
			}
			restored, err := s.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Zone: testZone, Token: testToken})
			if err != nil {
				t.Fatal(err)
			}
			if disk, _ := server.Disk(restored); !strings.Contains(disk.SelfLink, "/projects/"+test.disks+"/") {
				t.Errorf("restored disk %s", disk.SelfLink)
			}
		})
	}
}

func TestNoProject(t *testing.T) {
	t.Parallel()
	server := gcetest.Start(t)
	body, err := os.ReadFile(server.CredentialsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]string
	if err := json.Unmarshal(body, &file); err != nil {
		t.Fatal(err)
	}
	delete(file, "project_id")
	if body, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	config := server.Config(nil)
	config.CredentialsFile = filepath.Join(t.TempDir(), "cloud")
	if err := os.WriteFile(config.CredentialsFile, body, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Disk(t.Context(), "data", testZone)
	wantError(t, err, `snapshot location "default": which project the disks are in is not known; hint: set the config keys "volumeProject"`)
}

// TestUnreachable has a server that is gone.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	server := withDisk(t)
	s := open(t, server, nil)
	server.SetFaults(gcetest.Fault{Lose: true})
	_, err := s.Disk(t.Context(), "data", testZone)
	wantError(t, err, `snapshot location "default": get disk "data" in zone "europe-west1-b" of project "test-project": `, "hint: check that Google's API can be reached")
	if n := server.Count("disks.get"); n != maxBroken {
		t.Errorf("it was tried %d times", n)
	}
}

// TestRefusedToken has a key of an account that is gone.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	server := withDisk(t)
	s := open(t, server, nil)
	server.SetFaults(gcetest.Fault{Method: "token", Status: http.StatusBadRequest, Message: "Invalid grant: account not found"})
	_, err := s.Disk(t.Context(), "data", testZone)
	wantError(t, err, "the token server answers with HTTP status 400", "hint: the service account of the credentials secret does not exist any more")
	if n := server.Count("disks.get"); n != 0 {
		t.Errorf("%d requests without a token", n)
	}
}

// TestSecretsStayOut has an answer that quotes what it was asked with.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	server := withDisk(t)
	s := open(t, server, nil)
	server.SetFaults(gcetest.Fault{Status: http.StatusBadRequest, Reason: "invalid", Message: "you sent Bearer ya29.gcetest-token"})
	_, err := s.Disk(t.Context(), "data", testZone)
	wantError(t, err, "invalid: you sent Bearer REDACTED")
}

// TestUniverse has credentials of another cloud than Google's own.
func TestUniverse(t *testing.T) {
	t.Parallel()
	server := gcetest.Start(t)
	body, err := os.ReadFile(server.CredentialsFile)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cloud")
	if err := os.WriteFile(file, []byte(strings.Replace(string(body), "{", `{"universe_domain":"apis.example",`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), snapshot.Config{CredentialsFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.api.BasePath; got != "https://compute.apis.example/compute/v1/" {
		t.Errorf("the API is at %s", got)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	pause(t.Context(), time.Nanosecond)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pause(ctx, time.Hour)
}
