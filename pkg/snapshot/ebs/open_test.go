package ebs_test

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// noIdentity keeps the machine's own credentials out.
func noIdentity(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"} {
		t.Setenv(name, "")
	}
	nothing := filepath.Join(t.TempDir(), "nothing")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
	t.Setenv("AWS_CONFIG_FILE", nothing)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// TestWhoWeAre finds credentials in each of their places.
func TestWhoWeAre(t *testing.T) {
	noIdentity(t)
	server := ec2test.Start(t)
	disk := server.AddDisk(ec2test.Disk{})
	file := ec2test.CredentialsFile(t, ec2test.SecretKey)
	profiles := filepath.Join(t.TempDir(), "profiles")
	text := "[default]\naws_access_key_id = other\naws_secret_access_key = other\n[snapshots]\naws_access_key_id = " +
		ec2test.AccessKey + "\naws_secret_access_key = " + ec2test.SecretKey + "\n"
	if err := os.WriteFile(profiles, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	tests := map[string]struct {
		file     string
		settings map[string]string
		env      map[string]string
		want     string
	}{
		"file":            {file: file},
		"file and env":    {file: file, env: map[string]string{"AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other"}},
		"configured file": {file: missing, settings: map[string]string{"credentialsFile": file, "enableSharedConfig": "true"}},
		"profile":         {file: profiles, settings: map[string]string{"profile": "snapshots"}},
		"wrong profile":   {file: profiles, settings: map[string]string{"profile": "nobody"}, want: `no profile "nobody"`},
		"environment":     {file: missing, env: map[string]string{"AWS_ACCESS_KEY_ID": ec2test.AccessKey, "AWS_SECRET_ACCESS_KEY": ec2test.SecretKey}},
		"nobody":          {file: missing, want: "no credentials: "},
		"another key":     {file: ec2test.CredentialsFile(t, "wrong"), want: "AuthFailure: AWS was not able to validate the provided access credentials (request "},
		"no such file":    {settings: map[string]string{"credentialsFile": missing}, want: "no such file"},
		"no region":       {file: file, settings: map[string]string{"region": ""}, want: `config key "region" is missing`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			c := snapshot.Config{Location: "aws", CredentialsFile: test.file, Endpoint: server.URL, Settings: map[string]string{"region": ec2test.Region}}
			for k, v := range test.settings {
				c.Settings[k] = v
			}
			s, err := ebs.Open(t.Context(), c)
			if err == nil {
				_, err = s.Disk(t.Context(), disk, "")
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), `snapshot location "aws": `)):
				t.Errorf("%v", err)
			case err != nil && strings.Contains(err.Error(), "geheim"):
				t.Error("the error has a secret: ", err)
			}
		})
	}
}

// TestReplacedSecret has the file of a mounted Secret replaced while we run.
func TestReplacedSecret(t *testing.T) {
	noIdentity(t)
	server := ec2test.Start(t)
	disk := server.AddDisk(ec2test.Disk{})
	config := server.Config(t)
	now, err := os.ReadFile(config.CredentialsFile)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(config.CredentialsFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.ReplaceAll(string(now), ec2test.AccessKey, "AKIDOLDER"))
	s := ebs.OpenFast(t, config)
	if _, err := s.Disk(t.Context(), disk, ""); !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "hint: check the credentials") {
		t.Fatal(err)
	}
	write(string(now))
	if _, err := s.Disk(t.Context(), disk, ""); err != nil {
		t.Error(err)
	}
}

// TestEndpointVariable goes where the SDK's own variable points.
func TestEndpointVariable(t *testing.T) {
	noIdentity(t)
	server := ec2test.Start(t)
	t.Setenv("AWS_ENDPOINT_URL_EC2", server.URL)
	config := server.Config(t)
	config.Endpoint = ""
	if _, err := ebs.OpenFast(t, config).Disk(t.Context(), server.AddDisk(ec2test.Disk{}), ""); err != nil {
		t.Error(err)
	}
}

// TestOwnCA asks a server whose certificate isn't one of the public ones.
func TestOwnCA(t *testing.T) {
	noIdentity(t)
	plain := ec2test.Start(t)
	disk := plain.AddDisk(ec2test.Disk{})
	server := httptest.NewUnstartedServer(plain)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of the client that doesn't trust it
	server.StartTLS()
	t.Cleanup(server.Close)
	config := plain.Config(t)
	config.Endpoint = server.URL
	_, err := ebs.OpenFast(t, config).Disk(t.Context(), disk, "")
	if err == nil || !strings.Contains(err.Error(), "unknown authority; hint: name a file") || !strings.HasSuffix(err.Error(), "AWS_CA_BUNDLE") {
		t.Error(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config.CACert = ca
	if _, err := ebs.OpenFast(t, config).Disk(t.Context(), disk, ""); err != nil {
		t.Error(err)
	}
	config.CACert = nil
	bundle := filepath.Join(t.TempDir(), "bundle")
	if err := os.WriteFile(bundle, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	if _, err := ebs.OpenFast(t, config).Disk(t.Context(), disk, ""); err != nil {
		t.Error(err)
	}
}

// TestNobodyThere reports an address where nothing listens soon.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	config := ec2test.Start(t).Config(t)
	config.Endpoint = "http://127.0.0.1:1"
	start := time.Now()
	_, err := ebs.OpenFast(t, config).Create(t.Context(), cutRequest("vol-1"))
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "connection refused; hint: check that AWS can be reached") || time.Since(start) > time.Minute {
		t.Error(err)
	}
}

// TestBusy gives up when EC2 stays busy, and says so.
func TestBusy(t *testing.T) {
	t.Parallel()
	server := ec2test.Start(t)
	server.Fault(ec2test.Fault{Action: "DeleteSnapshot", Code: "RequestLimitExceeded", Message: "Request limit exceeded."})
	err := ebs.OpenFast(t, server.Config(t)).Delete(t.Context(), "snap-1")
	if err == nil || !strings.Contains(err.Error(), "delete snapshot snap-1 in AWS eu-central-1: RequestLimitExceeded: Request limit exceeded (request ") {
		t.Error(err)
	}
	if n := len(server.Requests("DeleteSnapshot")); n != 12 {
		t.Errorf("%d attempts", n)
	}
	server.Fault(ec2test.Fault{Action: "DescribeVolumes", Code: "InternalError"})
	if _, err := ebs.OpenFast(t, server.Config(t)).Disk(t.Context(), "vol-1", ""); err == nil || len(server.Requests("DescribeVolumes")) != 3 {
		t.Error(err)
	}
}
