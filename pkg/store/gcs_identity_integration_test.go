//go:build integration

package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// gcsChildVariable has the location that TestGCSIdentityChild uses.
const gcsChildVariable = "TEST_GCS_CHILD_LOCATION"

// gcsIdentity is an environment in which the SDK finds an identity, or none.
type gcsIdentity struct {
	env []string
	// file is the location's credentials file.
	file   string
	config map[string]string
	// want is in the error; empty: it works.
	want string
}

// TestGCSIdentity has no file of the location's. The SDK asks only once whether
// there is a metadata server, so each case is a process of its own.
func TestGCSIdentity(t *testing.T) {
	t.Parallel()
	server := startGCS(t, testenv.GCSOptions{})
	asked := make(chan string, 100)
	metadata := metadataServer(t, server, asked)
	for name, test := range map[string]gcsIdentity{
		"metadata server":          {env: []string{"GCE_METADATA_HOST=" + metadata}},
		"metadata server, no file": {env: []string{"GCE_METADATA_HOST=" + metadata}, file: "/nowhere/cloud"},
		"file of the environment":  {env: []string{"GOOGLE_APPLICATION_CREDENTIALS=" + server.CredentialsFile}},
		"emulator":                 {env: []string{"STORAGE_EMULATOR_HOST=" + strings.TrimPrefix(server.DirectURL, "http://")}, config: map[string]string{"storeEndpoint": ""}},
		"emulator at an endpoint":  {env: []string{"STORAGE_EMULATOR_HOST=127.0.0.1:1"}, config: map[string]string{"storeEndpoint": server.DirectURL}},
		"file beside an emulator":  {env: []string{"STORAGE_EMULATOR_HOST=127.0.0.1:1"}, file: server.CredentialsFile},
		"another universe": {env: []string{"GCE_METADATA_HOST=" + metadata}, config: map[string]string{"universeDomain": "apis.example"},
			want: `access denied: the credentials belong to the universe "googleapis.com", the location to "apis.example"`},
		"none": {want: "access denied: no credentials: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.run(t, server)
		})
	}
	t.Cleanup(func() {
		if len(asked) == 0 {
			t.Error("nobody asked the metadata server")
		}
	})
}

func (g gcsIdentity) run(t *testing.T, server *testenv.GCSServer) {
	name := strings.NewReplacer(" ", "-", ",", "").Replace(strings.ToLower(filepath.Base(t.Name())))
	if err := server.CreateBucket(t.Context(), name, false); err != nil {
		t.Fatal(err)
	}
	l := server.Location(name, "p")
	l.CredentialsFile = g.file
	for k, v := range g.config {
		l.Config[k] = v
	}
	body, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGCSIdentityChild$", "-test.v")
	child.Env = append(os.Environ(), "HOME="+t.TempDir(), gcsChildVariable+"="+string(body))
	child.Env = append(child.Env, g.env...)
	start := time.Now()
	out, err := child.CombinedOutput()
	if took := time.Since(start); took > 40*time.Second {
		t.Errorf("took %s", took)
	}
	if g.want == "" {
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if !strings.Contains(string(out), g.want) || strings.Contains(string(out), "ya29.") {
		t.Errorf("%s", out)
	}
}

// TestGCSIdentityChild is what TestGCSIdentity starts.
func TestGCSIdentityChild(t *testing.T) {
	body := os.Getenv(gcsChildVariable)
	if body == "" {
		return // it is for TestGCSIdentity to start
	}
	var l store.Location
	if err := json.Unmarshal([]byte(body), &l); err != nil {
		t.Fatal(err)
	}
	b := open(t, l)
	if _, err := b.Stat(t.Context(), "none"); !errors.Is(err, store.ErrNotExist) {
		t.Fatal(err)
	}
	storetest.Writes(t, b, gcsPartSize)
}

// metadataServer answers as that of a node or of GKE does, and returns its
// address.
func metadataServer(t *testing.T, server *testenv.GCSServer, asked chan<- string) string {
	t.Helper()
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if r.Header.Get("Metadata-Flavor") != "Google" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		asked <- r.URL.Path
		if r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/token" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600,"token_type":"Bearer"}`, server.IssueToken())
	}))
	t.Cleanup(metadata.Close)
	return strings.TrimPrefix(metadata.URL, "http://")
}

// TestGCSFederation exchanges a token of another issuer, as the one that a cluster
// outside of Google's projects into a pod.
func TestGCSFederation(t *testing.T) {
	t.Parallel()
	server := startGCS(t, testenv.GCSOptions{TLS: true})
	if err := server.CreateBucket(t.Context(), "bucket", false); err != nil {
		t.Fatal(err)
	}
	server.Trust("trusted-token")
	for subject, want := range map[string]error{"trusted-token": nil, "geheim-token": store.ErrDenied} {
		t.Run(subject, func(t *testing.T) {
			t.Parallel()
			l := server.Location("bucket", "p")
			l.CredentialsFile = federate(t, server.TokenURL, subject)
			b := open(t, l)
			if want == nil {
				storetest.Writes(t, b, gcsPartSize)
				return
			}
			err := b.Create(t.Context(), "k", nil)
			if !errors.Is(err, want) || !strings.Contains(err.Error(), "trust this cluster") || strings.Contains(err.Error(), "geheim") {
				t.Errorf("%v", err)
			}
		})
	}
}

// federate writes what "gcloud iam workload-identity-pools create-cred-config"
// does.
func federate(t *testing.T, tokenURL, subjectToken string) string {
	t.Helper()
	dir := t.TempDir()
	subject := filepath.Join(dir, "token")
	body, err := json.Marshal(map[string]any{
		"type":               "external_account",
		"audience":           "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
		"token_url":          tokenURL,
		"credential_source":  map[string]any{"file": subject},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "cloud")
	if err := errors.Join(os.WriteFile(subject, []byte(subjectToken), 0o600), os.WriteFile(file, body, 0o600)); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestGCSTokensAreRevoked has the store refuse a token that hasn't run out.
func TestGCSTokensAreRevoked(t *testing.T) {
	t.Parallel()
	buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{})}
	b := buckets.open(t, "")
	storetest.Put(t, b, "k", []byte("x"))
	buckets.server.RevokeTokens()
	_, err := b.Stat(t.Context(), "k")
	if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "doesn't take this account's token") || strings.Contains(err.Error(), "ya29") {
		t.Errorf("%v", err)
	}
}
