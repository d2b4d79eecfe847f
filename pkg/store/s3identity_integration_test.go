//go:build integration

package store_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

const podToken = "geheim-pod-token"

// identityService hands out the keys of an S3 server like one of AWS' services.
type identityService struct {
	server *testenv.S3Server
	// life is how long the keys are said to be good.
	life  time.Duration
	calls atomic.Int32
	// refuse makes it refuse.
	refuse atomic.Bool
}

func (s *identityService) start(t *testing.T, handler http.HandlerFunc) (url string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func (s *identityService) expiration() string {
	return time.Now().Add(s.life).UTC().Format(time.RFC3339)
}

// webIdentity is AssumeRoleWithWebIdentity of STS.
func (s *identityService) webIdentity(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	w.Header().Set("Content-Type", "text/xml")
	switch {
	case r.FormValue("Action") != "AssumeRoleWithWebIdentity", r.FormValue("WebIdentityToken") != podToken, r.FormValue("RoleArn") != "arn:aws:iam::1:role/backups", s.refuse.Load():
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>")
		return
	}
	fmt.Fprintf(w, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
		s.server.AccessKey, s.server.SecretKey, s.expiration())
}

func (s *identityService) keys(w http.ResponseWriter) {
	_ = json.NewEncoder(w).Encode(map[string]string{
		"Code": "Success", "AccessKeyId": s.server.AccessKey, "SecretAccessKey": s.server.SecretKey, "Token": "", "Expiration": s.expiration(),
	})
}

// podIdentity is EKS' agent on the node.
func (s *identityService) podIdentity(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	if r.Header.Get("Authorization") != podToken || s.refuse.Load() {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	s.keys(w)
}

// metadata is EC2's service of the second version; without sessions it is what
// kube2iam and kiam answer.
func (s *identityService) metadata(sessions bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		const session, path = "session", "/latest/meta-data/iam/security-credentials/"
		switch {
		case s.refuse.Load():
			http.NotFound(w, r)
		case sessions && r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			fmt.Fprint(w, session)
		case sessions && r.Header.Get("X-Aws-Ec2-Metadata-Token") != session:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == path:
			fmt.Fprint(w, "role")
		case r.URL.Path == path+"role":
			s.calls.Add(1)
			s.keys(w)
		default:
			http.NotFound(w, r)
		}
	}
}

// TestIdentityS3 uses a server with nothing but what a pod's environment has. It
// must not run beside tests that look at the environment.
func TestIdentityS3(t *testing.T) {
	server := startS3(t, testenv.StartOptions{})
	if err := server.CreateBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(podToken), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, environment := range map[string]func(t *testing.T, s *identityService) map[string]string{
		"web identity": func(t *testing.T, s *identityService) map[string]string {
			return map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_ARN": "arn:aws:iam::1:role/backups", "AWS_ENDPOINT_URL_STS": s.start(t, s.webIdentity)}
		},
		"pod identity": func(t *testing.T, s *identityService) map[string]string {
			return map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": s.start(t, s.podIdentity) + "/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token}
		},
		"instance metadata": func(t *testing.T, s *identityService) map[string]string {
			return map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": s.start(t, s.metadata(true))}
		},
		"kube2iam": func(t *testing.T, s *identityService) map[string]string {
			return map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": s.start(t, s.metadata(false))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &identityService{server: server, life: time.Hour}
			clearAWS(t)
			for variable, value := range environment(t, s) {
				t.Setenv(variable, value)
			}
			l := server.Location("bucket", name)
			l.CredentialsFile = "/nowhere/cloud" // what Jobs name where no Secret is mounted
			l.Config["partSizeMiB"] = fmt.Sprint(partSize >> 20)
			put(t, open(t, l), "k", make([]byte, 2*partSize))
			if s.calls.Load() != 1 {
				t.Errorf("%d requests for keys", s.calls.Load())
			}
			checkRenewed(t, s, open(t, l))
			checkRefused(t, s, open(t, l))
		})
	}
}

func clearAWS(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
}

// checkRenewed has keys that are good for a moment: a long Job asks again.
func checkRenewed(t *testing.T, s *identityService, b store.Bucket) {
	t.Helper()
	s.life = time.Second
	before := s.calls.Load()
	put(t, b, "first", nil)
	time.Sleep(1100 * time.Millisecond)
	s.life = time.Hour
	put(t, b, "second", nil)
	if calls := s.calls.Load() - before; calls < 2 {
		t.Errorf("%d requests for keys that had ended", calls)
	}
}

func checkRefused(t *testing.T, s *identityService, b store.Bucket) {
	t.Helper()
	s.refuse.Store(true)
	err := b.Put(t.Context(), "k", strings.NewReader("x"))
	if err == nil || !strings.Contains(err.Error(), "hint: ") || strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), s.server.SecretKey) {
		t.Errorf("refused: %v", err)
	}
	t.Logf("refused: %v", err)
}
