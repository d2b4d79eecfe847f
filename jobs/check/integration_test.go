//go:build integration

package check

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/installed"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// s3Server starts a server with a bucket.
func s3Server(t *testing.T, o testenv.StartOptions) *testenv.S3Server {
	t.Helper()
	o.Root = filepath.Join(t.TempDir(), "s3")
	s, err := testenv.StartS3(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() })
	if err := s.CreateBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	return s
}

// tried checks a location on a server.
func tried(t *testing.T, l store.Location, size int64) report.LocationCheck {
	t.Helper()
	bucket, err := store.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	e := newExam(&velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: l.Provider, Config: l.Config,
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: l.Bucket, Prefix: l.Prefix},
		},
	})
	e.bucket, e.size, e.clusterID = bucket, size, thisCluster
	e.run(t.Context())
	var table strings.Builder
	for _, c := range e.result.Checks {
		c.Print(&table)
	}
	t.Log("\n" + table.String())
	return e.result
}

// compare wants the results of a good server but for those that differ.
func compareWith(t *testing.T, got report.LocationCheck, differs map[string]report.CheckStatus) {
	t.Helper()
	want := good()
	for check, status := range differs {
		if want[check] = status; status == "" {
			delete(want, check)
		}
	}
	if diff := cmp.Diff(want, statuses(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// keys are those of the bucket that lie below the prefix.
func keys(t *testing.T, l store.Location) []string {
	t.Helper()
	bucket, err := store.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for info, err := range bucket.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return all
}

// TestGoodServers: all works, over http and https, with and without versions, and
// nothing is left.
func TestGoodServers(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]testenv.StartOptions{
		"versitygw":               {Program: testenv.Versity},
		"versitygw with versions": {Program: testenv.Versity, Versions: true, TLS: true},
		"minio":                   {Program: testenv.MinIO},
		"minio over https":        {Program: testenv.MinIO, TLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s3Server(t, o)
			l := s.Location("bucket", "some/prefix")
			l.Config["partSizeMiB"] = "5"
			result := tried(t, l, 12<<20)
			got := statuses(result)
			// Servers differ in what they tell.
			for _, tells := range []string{"clock", "versioning", "lock"} {
				if got[tells] == report.CheckFailed || got[tells] == report.CheckWarning {
					t.Errorf("%s: %+v", tells, named(t, result, tells))
				}
			}
			compareWith(t, result, map[string]report.CheckStatus{"clock": got["clock"], "versioning": got["versioning"], "lock": got["lock"], "uploads": got["uploads"]})
			if all := keys(t, l); len(all) > 0 {
				t.Errorf("left: %q", all)
			}
			uploads, err := s.Uploads(t.Context(), "bucket")
			if err != nil || len(uploads) > 0 {
				t.Errorf("uploads left: %q, %v", uploads, err)
			}
			if m := result.Measured; m.UploadBytesPerSecond == 0 || m.DownloadBytesPerSecond == 0 || m.ReadLatencyMilliseconds == 0 || m.WriteLatencyMilliseconds == 0 {
				t.Errorf("%+v", m)
			}
		})
	}
}

// TestGoodStores: what other providers keep works too.
func TestGoodStores(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) store.Location{
		"azure": func(t *testing.T) store.Location { return testenv.Azure(t) },
		"gcp":   func(t *testing.T) store.Location { return testenv.GCS(t) },
		"filesystem": func(t *testing.T) store.Location {
			return store.Location{
				Provider: "filesystem", Bucket: "backups", Prefix: "p", Root: t.TempDir(),
				Config: map[string]string{"persistentVolumeClaim": "backups"},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := open(t)
			result := tried(t, l, 20<<20)
			got := statuses(result)
			differs := map[string]report.CheckStatus{}
			for _, tells := range []string{"clock", "versioning", "lock", "uploads"} {
				if differs[tells] = got[tells]; got[tells] == report.CheckFailed || got[tells] == report.CheckWarning {
					t.Errorf("%s: %+v", tells, named(t, result, tells))
				}
			}
			compareWith(t, result, differs)
			if all := keys(t, l); len(all) > 0 {
				t.Errorf("left: %q", all)
			}
		})
	}
}

// TestTheAccountMay runs a whole check with the rights of the account that Jobs run
// as, on a real API server.
func TestTheAccountMay(t *testing.T) {
	t.Parallel()
	i := installed.New(t)
	var out strings.Builder
	summary, err := Run(t.Context(), Config{Env: i.Env, Location: velerov1.DefaultName, Size: 1 << 20, Out: &out})
	if err != nil || summary.Outcome != report.Completed {
		t.Errorf("%+v, %v\n%s", summary, err, out.String())
	}
	location, err := i.Velero.BackupStorageLocations(i.Namespace).Get(t.Context(), velerov1.DefaultName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s := location.Status; s.Phase != velerov1.BackupStorageLocationPhaseAvailable || s.LastValidationTime == nil {
		t.Errorf("%+v", s)
	}
}

// TestLockingBucket: probes stay, are named, and everything else works.
func TestLockingBucket(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options testenv.StartOptions
		stay    int
	}{
		// It has no locks on objects, and keeps the versions that are hidden.
		"versitygw": {testenv.StartOptions{Program: testenv.Versity, Versions: true}, 0},
		"minio":     {testenv.StartOptions{Program: testenv.MinIO}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s3Server(t, c.options)
			if err := s.CreateLockingBucket(t.Context(), "locking"); err != nil {
				t.Fatal(err)
			}
			if err := s.LockNew(t.Context(), "locking", 1); err != nil {
				t.Fatal(err)
			}
			l := s.Location("locking", "p")
			l.Config["partSizeMiB"] = "5"
			result := tried(t, l, 1<<20)
			wanted, says := report.CheckOK, "but for their older versions"
			if c.stay > 0 {
				wanted, says = report.CheckWarning, "3 probes can't be deleted until 20"
			}
			if c := named(t, result, "delete"); c.Status != wanted || !strings.Contains(c.Text, says) {
				t.Errorf("%+v", c)
			}
			if c := named(t, result, "lock"); c.Status != report.CheckOK || !strings.Contains(c.Text, "new objects are locked") {
				t.Errorf("%+v", c)
			}
			if all := keys(t, l); len(all) != c.stay || len(result.Left) != c.stay || c.stay > 0 && result.Left[0] != "p/"+all[0] {
				t.Errorf("left: %q, said: %q", all, result.Left)
			}
			if n := result.Count(report.CheckFailed); n > 0 {
				t.Errorf("%d checks failed", n)
			}
		})
	}
}

// TestUnfinishedUploads tells those below the location's prefix from others.
func TestUnfinishedUploads(t *testing.T) {
	t.Parallel()
	for _, program := range []testenv.S3Program{testenv.Versity, testenv.MinIO} {
		t.Run(string(program), func(t *testing.T) {
			t.Parallel()
			s := s3Server(t, testenv.StartOptions{Program: program})
			for _, key := range []string{"p/backups/dead/dead.tar.gz", "other/backups/dead/dead.tar.gz"} {
				if err := s.BeginUpload(t.Context(), "bucket", key, "part"); err != nil {
					t.Fatal(err)
				}
			}
			c := named(t, tried(t, s.Location("bucket", "p"), 0), "uploads")
			if c.Status != report.CheckOK || !strings.HasPrefix(c.Text, "1 unfinished upload, the oldest of 20") {
				t.Errorf("%+v", c)
			}
		})
	}
}

// proxy stands before a server and answers as rule says; it passes on the rest.
func proxy(t *testing.T, s *testenv.S3Server, rule func(w http.ResponseWriter, r *http.Request) (answered bool)) store.Location {
	t.Helper()
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !rule(w, r) {
			pass.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	l := s.Location("bucket", "")
	l.Config = maps.Clone(l.Config)
	l.Config["s3Url"], l.Config["partSizeMiB"] = front.URL, "5"
	return l
}

// deny answers as S3 does.
func deny(w http.ResponseWriter) bool {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>`)
	return true
}

// strips takes a header off a request and signs what remains.
func strips(t *testing.T, s *testenv.S3Server, r *http.Request, header string) {
	t.Helper()
	r.Header.Del(header)
	r.Header.Del("Authorization")
	r.URL.Host, r.URL.Scheme = r.Host, "http"
	err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(r.Context(),
		aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", "us-east-1", time.Now())
	if err != nil {
		t.Error(err)
	}
}

// isDelete matches the requests that delete objects.
func isDelete(r *http.Request) bool {
	_, several := r.URL.Query()["delete"]
	return r.Method == http.MethodDelete && !r.URL.Query().Has("uploadId") || r.Method == http.MethodPost && several
}

// TestWhatRealServersRefuse puts a proxy before real servers.
func TestWhatRealServersRefuse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule    func(t *testing.T, s *testenv.S3Server, w http.ResponseWriter, r *http.Request) bool
		differs map[string]report.CheckStatus
		check   string
		says    string
		hint    string
	}{
		"If-None-Match is lost": {
			func(t *testing.T, s *testenv.S3Server, _ http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("If-None-Match") != "" {
					strips(t, s, r, "If-None-Match")
				}
				return false
			},
			map[string]report.CheckStatus{"create-if-absent": report.CheckWarning, "concurrent-create": report.CheckWarning},
			"create-if-absent", "two clusters could take one name", "If-None-Match",
		},
		"deleting is denied": {
			func(_ *testing.T, _ *testenv.S3Server, w http.ResponseWriter, r *http.Request) bool {
				return isDelete(r) && deny(w)
			},
			map[string]report.CheckStatus{"delete": report.CheckFailed},
			"delete", "3 probes could not be removed: kubectl-velero-probe-", "grant s3:DeleteObject",
		},
		"writing is denied": {
			func(_ *testing.T, _ *testenv.S3Server, w http.ResponseWriter, r *http.Request) bool {
				return r.Method == http.MethodPut && deny(w)
			},
			map[string]report.CheckStatus{
				"create": report.CheckFailed, "create-if-absent": report.CheckSkipped, "concurrent-create": report.CheckSkipped, "read": report.CheckSkipped,
				"range": "", "replace": report.CheckSkipped, "upload": report.CheckSkipped, "download": "", "cut-upload": "", "latency": "", "delete": report.CheckSkipped,
			},
			"create", "AccessDenied", "grant s3:PutObject",
		},
		"uploads can't be aborted": {
			func(_ *testing.T, _ *testenv.S3Server, w http.ResponseWriter, r *http.Request) bool {
				return r.Method == http.MethodDelete && r.URL.Query().Has("uploadId") && deny(w)
			},
			map[string]report.CheckStatus{"cut-upload": report.CheckWarning},
			"cut-upload", "takes space", "grant s3:AbortMultipartUpload",
		},
		"ranges are lost": {
			func(t *testing.T, s *testenv.S3Server, _ http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") != "" && strings.Contains(r.Header.Get("Authorization"), ";range;") {
					strips(t, s, r, "Range")
				}
				r.Header.Del("Range")
				return false
			},
			map[string]report.CheckStatus{"range": report.CheckFailed},
			"range", "", "",
		},
	} {
		for _, program := range []testenv.S3Program{testenv.Versity, testenv.MinIO} {
			t.Run(name+" at "+string(program), func(t *testing.T) {
				t.Parallel()
				s := s3Server(t, testenv.StartOptions{Program: program})
				l := proxy(t, s, func(w http.ResponseWriter, r *http.Request) bool { return c.rule(t, s, w, r) })
				result := tried(t, l, 6<<20)
				got := statuses(result)
				differs := map[string]report.CheckStatus{"clock": got["clock"], "versioning": got["versioning"], "lock": got["lock"], "uploads": got["uploads"]}
				maps.Copy(differs, c.differs)
				compareWith(t, result, differs)
				if check := named(t, result, c.check); !strings.Contains(check.Text, c.says) || !strings.Contains(check.Hint, c.hint) {
					t.Errorf("%+v", check)
				}
			})
		}
	}
}

// TestWrongLocations: the check says what is wrong and ends in time.
func TestWrongLocations(t *testing.T) {
	t.Parallel()
	plain := s3Server(t, testenv.StartOptions{})
	secure := s3Server(t, testenv.StartOptions{TLS: true})
	gone := s3Server(t, testenv.StartOptions{})
	if err := gone.Kill(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		location   func(t *testing.T) store.Location
		says, hint string
	}{
		"no such bucket": {
			func(*testing.T) store.Location { return plain.Location("nowhere", "") },
			"bucket does not exist", "create the bucket",
		},
		"wrong password": {
			func(t *testing.T) store.Location {
				l := plain.Location("bucket", "")
				l.CredentialsFile = filepath.Join(t.TempDir(), "credentials")
				if err := testenv.WriteCredentials(l.CredentialsFile, plain.AccessKey, "wrong"); err != nil {
					t.Fatal(err)
				}
				return l
			},
			"", "credentials secret",
		},
		"no CA": {
			func(*testing.T) store.Location {
				l := secure.Location("bucket", "")
				l.CACert = nil
				return l
			},
			"certificate signed by unknown authority", "caCert",
		},
		"http at an https port": {
			func(*testing.T) store.Location {
				l := secure.Location("bucket", "")
				l.Config["s3Url"] = strings.Replace(l.Config["s3Url"], "https:", "http:", 1)
				return l
			},
			"", "s3Url",
		},
		"https at an http port": {
			func(*testing.T) store.Location {
				l := plain.Location("bucket", "")
				l.Config["s3Url"] = strings.Replace(l.Config["s3Url"], "http:", "https:", 1)
				return l
			},
			"", "plain http",
		},
		"nobody listens": {
			func(*testing.T) store.Location { return gone.Location("bucket", "") },
			"connection refused", "check that the store runs",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			result := tried(t, c.location(t), 1<<20)
			if took := time.Since(begun); took > 40*time.Second {
				t.Errorf("it took %s", took)
			}
			if len(result.Checks) != 1 {
				t.Fatalf("%+v", result.Checks)
			}
			only := result.Checks[0]
			if only.Name != "connect" || only.Status != report.CheckFailed || !strings.Contains(only.Text, c.says) || !strings.Contains(only.Hint, c.hint) {
				t.Errorf("%+v", only)
			}
		})
	}
}
