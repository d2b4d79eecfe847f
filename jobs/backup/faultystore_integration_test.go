//go:build integration

package backup_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// severalParts is how many Secrets make an archive of several parts.
const severalParts = 24

// expectNothing checks that no backup exists, and that nothing is left of its
// upload: only the claim and the log stay.
func (f *fixture) expectNothing(name string) {
	f.t.Helper()
	for _, key := range f.keys() {
		if suffix := strings.TrimPrefix(key, "backups/"+name+"/"+name+"-"); suffix != "claim.json" && suffix != "logs.gz" {
			f.t.Errorf("%s is in the bucket", key)
		}
	}
	f.expectNoUploads(name)
}

// expectNoUploads checks that no parts of an unfinished upload are left.
func (f *fixture) expectNoUploads(name string) {
	f.t.Helper()
	n, err := f.bucket().(store.UploadAborter).AbortUploads(f.t.Context(), "backups/"+name+"/")
	if err != nil || n > 0 {
		f.t.Errorf("%d unfinished uploads are left, %v", n, err)
	}
}

// isPart says whether the request uploads a part.
func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}

func TestASlowStoreIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.weighty()
	weighty := f.app
	f.crowded()
	var slow atomic.Bool
	spec := f.storeThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isPart(r) && slow.CompareAndSwap(false, true) {
			r.Body = &trickle{ReadCloser: r.Body, left: 15} // 15 s at 1 KiB/s, then as fast as it can
		}
		next.ServeHTTP(w, r)
	})
	spec.IncludedNamespaces = append(spec.IncludedNamespaces, weighty)
	f.backUp("slow", report.Completed, spec)
	f.expectMany("slow", manyObjects)
	if !slow.Load() {
		t.Error("no part was slow: the test doesn't test")
	}
	f.expectNoUploads("slow")
}

// trickle reads 1 KiB a second for a while.
type trickle struct {
	io.ReadCloser
	left int
}

func (b *trickle) Read(p []byte) (int, error) {
	if b.left > 0 {
		b.left--
		time.Sleep(time.Second)
		p = p[:min(len(p), 1<<10)]
	}
	return b.ReadCloser.Read(p)
}

// Every request is refused once, as S3 does when it is busy, and broken off
// once.
func TestABusyStoreIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ballast(severalParts / 2)
	var paths perPath
	spec := f.storeThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		part := *r
		part.URL = &url.URL{Path: r.Method + r.URL.RequestURI()}
		switch paths.next(&part) {
		case 1:
			_, _ = io.Copy(io.Discard, r.Body) // as servers do
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			next.ServeHTTP(w, r)
		}
	})
	f.backUp("busy", report.Completed, spec)
	f.expectNoUploads("busy")
}

func TestAFullStoreFailsTheBackup(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct {
		code int
		body string
		want string
	}{
		"quota": {http.StatusForbidden, `<?xml version="1.0"?><Error><Code>QuotaExceeded</Code><Message>the bucket is full</Message></Error>`, "QuotaExceeded"},
		"disk":  {http.StatusInsufficientStorage, `<?xml version="1.0"?><Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free drive threshold.</Message></Error>`, "XMinioStorageFull"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.weighty()
			var parts atomic.Int32
			spec := f.storeThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if isPart(r) && parts.Add(1) > 2 {
					_, _ = io.Copy(io.Discard, r.Body) // as servers do
					w.Header().Set("Content-Type", "application/xml")
					w.WriteHeader(answer.code)
					_, _ = io.WriteString(w, answer.body) // a client that is gone doesn't matter
					return
				}
				next.ServeHTTP(w, r)
			})
			_, after := f.backUp(name, report.Failed, spec)
			if after.Status.Phase != velerov1.BackupPhaseFailed || !strings.Contains(after.Status.FailureReason, answer.want) {
				t.Errorf("phase %s, reason %q", after.Status.Phase, after.Status.FailureReason)
			}
			f.expectNothing(name)
		})
	}
}

// A file system that really is full.
func TestAFullFileSystemFailsTheBackup(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.weighty()
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	server := f.ownStore(root)
	_, after := f.backUp("full", report.Failed, velerov1.BackupSpec{StorageLocation: "own", IncludedNamespaces: []string{f.app}})
	if after.Status.FailureReason == "" {
		t.Error("no reason")
	}
	f.location = server.Location("own", "")
	f.expectNothing("full")
}

// ownStore starts a store for this test alone and adds it as location "own".
func (f *fixture) ownStore(root string) *testenv.S3Server {
	f.t.Helper()
	server, err := testenv.StartS3(f.t.Context(), testenv.StartOptions{Root: filepath.Join(root, "s3")})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = server.Stop() }) // it may be gone already
	if err := server.CreateBucket(f.t.Context(), "own"); err != nil {
		f.t.Fatal(err)
	}
	f.location.CredentialsFile = server.CredentialsFile
	f.addLocation("own", "own", server.Location("own", "").Config)
	return server
}

func TestAStoreThatGoesAwayFailsTheBackup(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.weighty()
	server := f.ownStore(t.TempDir())
	f.location = server.Location("own", "")
	var parts atomic.Int32
	spec := f.storeThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isPart(r) && parts.Add(1) == 2 {
			_ = server.Kill() // then nothing answers
		}
		next.ServeHTTP(w, r)
	})
	begin := time.Now()
	_, after := f.backUp("gone", report.Failed, spec)
	if after.Status.Phase != velerov1.BackupPhaseFailed || after.Status.FailureReason == "" {
		t.Errorf("status %+v", after.Status)
	}
	if took := time.Since(begin); took > 90*time.Second {
		t.Errorf("it took %s to see that the store is gone", took)
	}
}

func TestACancelledBackupLeavesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.weighty()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var parts atomic.Int32
	spec := f.storeThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isPart(r) && parts.Add(1) == 2 {
			cancel()
		}
		next.ServeHTTP(w, r)
	})
	f.add("cut", spec)
	summary, after := f.runIn(ctx, "cut", nil)
	if summary.Outcome != report.Cancelled || after.Status.Phase != velerov1.BackupPhaseFailed || after.Status.FailureReason == "" {
		t.Errorf("summary %+v, status %+v", summary, after.Status)
	}
	f.expectNothing("cut")
}

// What a killed process leaves, the next attempt takes over and cleans up.
func TestAKilledProcessIsFollowedByAWholeBackup(t *testing.T) {
	t.Parallel()
	binary := testenv.Executor(t)
	for _, at := range []string{"part", "side-file", "marker"} {
		t.Run(at, func(t *testing.T) {
			f := newFixture(t)
			f.weighty()
			reached, release := make(chan struct{}), make(chan struct{})
			var parts, stopped atomic.Int32
			spec := f.storeThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				here := map[string]bool{
					"part":      isPart(r) && parts.Add(1) == 3,
					"side-file": r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "-results.gz"),
					"marker":    r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "velero-backup.json"),
				}[at]
				if here && stopped.CompareAndSwap(0, 1) {
					close(reached)
					<-release
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(w, r)
			})
			defer close(release)
			f.add("again", spec)
			f.kill(binary, "again", reached)
			if keys := f.keys(); slices.Contains(keys, "backups/again/velero-backup.json") {
				t.Errorf("a marker is there: %q", keys)
			}
			if phase := f.get("again").Status.Phase; phase != velerov1.BackupPhaseInProgress {
				t.Errorf("phase %s after the kill", phase)
			}
			summary, after := f.run("again", nil)
			if summary.Outcome != report.Completed || after.Status.Phase != velerov1.BackupPhaseCompleted {
				t.Errorf("second attempt: %+v, phase %s", summary, after.Status.Phase)
			}
			if got := f.keys(); !slices.Equal(got, filesOf("again")) {
				t.Errorf("keys %q", got)
			}
			f.expectNoUploads("again")
		})
	}
}

// kill runs the executor as a process of its own until reached, and kills it.
func (f *fixture) kill(binary, name string, reached <-chan struct{}) {
	f.t.Helper()
	var out strings.Builder
	process := exec.Command(binary, "backup", "--name", name, "--namespace", f.velero, "--kubeconfig", f.kubeconfig, "--credentials-file", f.location.CredentialsFile)
	process.Env = append(os.Environ(), "JOB_NAME=", "JOB_UID=")
	process.Stdout, process.Stderr = &out, &out
	if err := process.Start(); err != nil {
		f.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- process.Wait() }()
	select {
	case <-reached:
	case err := <-ended:
		f.t.Fatalf("the executor ended before it was killed: %v\n%s", err, &out)
	case <-time.After(time.Minute):
		f.t.Errorf("the executor didn't get there")
	}
	if err := process.Process.Kill(); err != nil {
		f.t.Fatal(err)
	}
	if err := <-ended; err == nil {
		f.t.Fatal(fmt.Errorf("the executor ended well\n%s", &out))
	}
}
