package check

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/apitest"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// cluster is one with a location whose bucket is on s; openErr keeps it from being
// opened.
func cluster(t *testing.T, s *server, openErr error) Config {
	t.Helper()
	api := apitest.New(t)
	api.Add("/apis/velero.io/v1/namespaces/velero/backupstoragelocations", location())
	api.Add("/api/v1/namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: thisCluster}})
	velero, kube, _ := api.Clients()
	return Config{
		Env: &run.Env{
			Client: velero, Kube: kube, Namespace: "velero", Log: slog.New(slog.DiscardHandler),
			OpenStore: func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) { return s, openErr },
		},
		Location: "default", Size: 100_000,
	}
}

func status(t *testing.T, cfg Config) velerov1.BackupStorageLocationStatus {
	t.Helper()
	l, err := cfg.Client.BackupStorageLocations("velero").Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Status
}

func TestPrinted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server  func() *server
		openErr error
		want    report.Outcome
		reason  string
		phase   velerov1.BackupStorageLocationPhase
		message string
		prints  string
	}{
		"good": {
			server: func() *server { return newServer(nil) }, want: report.Completed, phase: velerov1.BackupStorageLocationPhaseAvailable,
			prints: "STATUS    CHECK              RESULT\nok        connect            https://store.test answers",
		},
		"deleting is denied": {
			server: func() *server { return newServer(nil).denies("Delete") }, want: report.Failed, reason: "is not fit for use: 1 check failed",
			phase: velerov1.BackupStorageLocationPhaseAvailable, prints: "\n                             hint: grant s3:DeleteObject",
		},
		"out of reach": {
			server: func() *server {
				s := newServer(nil)
				s.inspectErr = errors.New("x509: certificate signed by unknown authority")
				return s
			},
			want: report.Failed, phase: velerov1.BackupStorageLocationPhaseUnavailable, message: "x509: certificate signed by unknown authority",
			prints: "failed    connect            x509",
		},
		"can't be opened": {
			server: func() *server { return nil }, openErr: fmt.Errorf("open storage location: no such key; hint: correct it"),
			want: report.Failed, prints: "failed    connect            open storage location: no such key\n                             hint: correct it\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := cluster(t, c.server(), c.openErr)
			var out strings.Builder
			cfg.Out = &out
			summary, err := Run(t.Context(), cfg)
			if err != nil || summary.Outcome != c.want || !strings.Contains(summary.Reason, c.reason) {
				t.Errorf("%+v, %v", summary, err)
			}
			if s := status(t, cfg); s.Phase != c.phase || s.Message != c.message {
				t.Errorf("%+v", s)
			}
			if !strings.Contains(out.String(), c.prints) {
				t.Errorf("printed:\n%s", out.String())
			}
		})
	}
}

func TestNoSuchLocation(t *testing.T) {
	t.Parallel()
	cfg := cluster(t, newServer(nil), nil)
	cfg.Location = "none"
	if summary, err := Run(t.Context(), cfg); err == nil || summary.Outcome != report.Usage {
		t.Errorf("%+v, %v", summary, err)
	}
}

const token = "correct-horse-battery"

// job is a check that is served.
type job struct {
	url     string
	stop    context.CancelFunc
	ended   chan struct{}
	summary report.Summary
	err     error
}

func serve(t *testing.T, cfg Config) *job {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(token))
	cfg.Listener, cfg.TokenSHA256 = listener, hex.EncodeToString(hash[:])
	ctx, cancel := context.WithCancel(t.Context())
	j := &job{url: "http://" + listener.Addr().String(), stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(j.ended)
		j.summary, j.err = Run(ctx, cfg)
	}()
	t.Cleanup(func() { cancel(); <-j.ended })
	return j
}

func (j *job) get(ctx context.Context, t *testing.T, secret string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url+Path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func TestServed(t *testing.T) {
	t.Parallel()
	cfg := cluster(t, newServer(nil), nil)
	j := serve(t, cfg)
	if r := j.get(t.Context(), t, "wrong"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("wrong token: %s", r.Status)
	}
	var checks []report.Check
	var end *report.LocationCheck
	for lines := json.NewDecoder(j.get(t.Context(), t, token).Body); ; {
		var e report.CheckEvent
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if end != nil {
			t.Errorf("%+v after the end", e)
		}
		if e.Check != nil {
			checks = append(checks, *e.Check)
		}
		end = e.End
	}
	if end == nil || len(end.Checks) != len(checks) || len(checks) != len(good()) || end.Location != "default" || end.AccessMode != "ReadWrite" {
		t.Fatalf("%+v, %d checks before", end, len(checks))
	}
	<-j.ended
	if j.err != nil || j.summary.Outcome != report.Completed || status(t, cfg).Phase != velerov1.BackupStorageLocationPhaseAvailable {
		t.Errorf("%+v, %v, %+v", j.summary, j.err, status(t, cfg))
	}
}

// slow makes listing wait until it is let go.
func slow(s *server) (begun, letGo chan struct{}) {
	begun, letGo = make(chan struct{}), make(chan struct{})
	var once bool
	s.Fault(func(op, key string) error {
		if op == "Put" && strings.HasSuffix(key, "-large") && !once {
			once = true
			close(begun)
			<-letGo
		}
		return nil
	})
	return begun, letGo
}

// TestTheClientGoesAway: the check ends, and its probes are removed.
func TestTheClientGoesAway(t *testing.T) {
	t.Parallel()
	s := newServer(nil)
	begun, letGo := slow(s)
	j := serve(t, cluster(t, s, nil))
	ctx, leave := context.WithCancel(t.Context())
	response := j.get(ctx, t, token)
	<-begun
	if r := j.get(t.Context(), t, token); r.StatusCode != http.StatusConflict {
		t.Errorf("a second client: %s", r.Status)
	}
	leave()
	_ = response.Body.Close()
	time.Sleep(200 * time.Millisecond) // the server notices
	close(letGo)
	<-j.ended
	if j.summary.Outcome != report.Cancelled || len(s.Keys()) != 0 {
		t.Errorf("%+v, %v, left %q", j.summary, j.err, s.Keys())
	}
}

// TestTheJobIsStopped: the client is told, and the probes are removed.
func TestTheJobIsStopped(t *testing.T) {
	t.Parallel()
	s := newServer(nil)
	begun, letGo := slow(s)
	j := serve(t, cluster(t, s, nil))
	response := j.get(t.Context(), t, token)
	<-begun
	j.stop()
	time.Sleep(50 * time.Millisecond)
	close(letGo)
	var last string
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		last = lines.Text()
	}
	if !strings.Contains(last, `"interrupted":"`) {
		t.Errorf("the last line is %s", last)
	}
	<-j.ended
	if j.summary.Outcome != report.Cancelled || len(s.Keys()) != 0 {
		t.Errorf("%+v, %v, left %q", j.summary, j.err, s.Keys())
	}
}
