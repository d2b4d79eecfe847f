//go:build integration

package maintain_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func lockingServer(t *testing.T, program testenv.S3Program) *testenv.S3Server {
	t.Helper()
	server, err := testenv.StartS3(t.Context(), testenv.StartOptions{Program: program, Root: t.TempDir(), Versions: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() }) // it ends with this process at the latest
	if err := server.CreateLockingBucket(t.Context(), "locked"); err != nil {
		t.Fatal(err)
	}
	return server
}

// TestLockedBackupsExpireLater keeps a backup on real servers that lock objects.
func TestLockedBackupsExpireLater(t *testing.T) {
	t.Parallel()
	for _, program := range []testenv.S3Program{testenv.Versity, testenv.MinIO} {
		t.Run(string(program), func(t *testing.T) {
			t.Parallel()
			server := lockingServer(t, program)
			u := newUser(t, testenv.APIServer(t), server.Location("locked", ""))
			if got := u.backUp("shop", time.Second); got.Outcome != report.Completed {
				t.Fatalf("%+v", got)
			}
			// Long enough for all that is done until then, on a busy machine, too.
			until := time.Now().Add(15 * time.Second).Truncate(time.Second)
			if err := server.Retain(t.Context(), "locked", "backups/shop/velero-backup.json", until); err != nil {
				t.Fatal(err)
			}
			files := u.keys()
			time.Sleep(time.Second)
			if got := maintained(t, u.Installation, time.Hour); got.Outcome != report.Completed || got.Warnings != 1 {
				t.Errorf("maintenance: %+v", got)
			}
			u.expectFiles(files)
			u.expectShown("shop Completed")
			b := u.get("shop")
			if label, stamp := b.Labels[velerov1.GCFailureLabel], b.Annotations[velerov1.LockedUntilAnnotation]; label != "Locked" || stamp != until.UTC().Format(time.RFC3339) {
				t.Errorf("label %q, locked until %q, want %s", label, stamp, until.UTC().Format(time.RFC3339))
			}
			if got, err := deletejob.Run(t.Context(), deletejob.Config{Env: u.Env, Backup: "shop"}); err != nil || got.Outcome != report.Failed || !strings.Contains(got.Reason, "is locked until") {
				t.Errorf("delete: %+v, %v", got, err)
			}
			u.expectShown("shop Completed")
			time.Sleep(time.Until(until.Add(time.Second)))
			if got := maintained(t, u.Installation, time.Hour); got.Outcome != report.Completed || got.Items != 1 {
				t.Errorf("maintenance later: %+v", got)
			}
			u.expectShown()
			u.expectFiles(nil)
		})
	}
}

// TestASecondAttemptOnALockingBucket writes over what the first one left: such
// servers keep it as an older version.
func TestASecondAttemptOnALockingBucket(t *testing.T) {
	t.Parallel()
	for _, program := range []testenv.S3Program{testenv.Versity, testenv.MinIO} {
		t.Run(string(program), func(t *testing.T) {
			t.Parallel()
			server := lockingServer(t, program)
			if err := server.LockNew(t.Context(), "locked", 1); err != nil {
				t.Fatal(err)
			}
			u := newUser(t, testenv.APIServer(t), server.Location("locked", ""))
			u.open(&cutOff{Bucket: u.Bucket, key: "-results.gz"})
			u.Env.LastAttempt = false
			if got := u.backUp("shop", time.Second); got.Outcome != report.Temporary {
				t.Fatalf("first attempt: %+v", got)
			}
			u.open(u.Bucket)
			u.Env.Attempt, u.Env.LastAttempt = 2, true
			if got := u.goOn("shop"); got.Outcome != report.Completed {
				t.Fatalf("second attempt: %+v", got)
			}
			if program == testenv.Versity {
				return // it tells of no object that the bucket's rule locks it
			}
			time.Sleep(time.Second)
			maintained(t, u.Installation, time.Hour)
			until, err := time.Parse(time.RFC3339, u.get("shop").Annotations[velerov1.LockedUntilAnnotation])
			if in := time.Until(until); err != nil || in < 23*time.Hour || in > 25*time.Hour {
				t.Errorf("locked for %s, %v", in, err)
			}
		})
	}
}

// cutOff is a bucket that can't be reached any more once a key is to be written.
type cutOff struct {
	store.Bucket
	key string
}

func (c *cutOff) Put(ctx context.Context, key string, r io.Reader) error {
	if strings.HasSuffix(key, c.key) {
		return store.ErrUnavailable
	}
	return c.Bucket.Put(ctx, key, r)
}

func (c *cutOff) Create(ctx context.Context, key string, body []byte) error {
	if strings.HasSuffix(key, c.key) {
		return store.ErrUnavailable
	}
	return c.Bucket.Create(ctx, key, body)
}

// TestANameThatIsUsedUp makes a second attempt where nothing may be overwritten.
func TestANameThatIsUsedUp(t *testing.T) {
	t.Parallel()
	u := newUser(t, testenv.APIServer(t), testenv.S3(t))
	bucket := memstore.New(nil)
	bucket.LockAll(time.Now().Add(time.Hour))
	u.open(bucket)
	u.Env.LastAttempt = false

	// An attempt that got no further than its claim can be repeated.
	bucket.Fault(failing("Put"))
	if got := u.backUp("claimed", time.Hour); got.Outcome != report.Temporary {
		t.Fatalf("first attempt: %+v", got)
	}
	bucket.Fault(nil)
	u.Env.Attempt = 2
	if got := u.goOn("claimed"); got.Outcome != report.Completed {
		t.Errorf("second attempt: %+v", got)
	}
	if claim := content(t, bucket, "backups/claimed/claimed-claim.json"); !strings.Contains(claim, `"attempt":1`) {
		t.Errorf("the claim was rewritten: %s", claim)
	}
	if attempt := u.get("claimed").Annotations[velerov1.AttemptAnnotation]; attempt != "2" {
		t.Errorf("attempt %s in the Backup", attempt)
	}

	// One that left an archive can't; nobody tries a third time.
	u.Env.Attempt = 1
	bucket.Fault(failing("Create backups/torn/velero-backup.json"))
	if got := u.backUp("torn", time.Hour); got.Outcome != report.Temporary {
		t.Fatalf("first attempt: %+v", got)
	}
	bucket.Fault(nil)
	u.Env.Attempt = 2
	got := u.goOn("torn")
	if got.Outcome != report.Failed || !strings.Contains(got.Reason, "name used up: ") || !strings.Contains(got.Reason, `hint: start it anew under another name than "torn"`) {
		t.Errorf("second attempt: %+v", got)
	}
	if b := u.get("torn"); b.Status.Phase != velerov1.BackupPhaseFailed || b.Status.FailureReason != got.Reason {
		t.Errorf("status %+v", b.Status)
	}
	if keys := bucket.Keys(); strings.Contains(strings.Join(keys, " "), "torn/velero-backup.json") {
		t.Errorf("keys %q", keys)
	}
}

func failing(what string) func(op, key string) error {
	return func(op, key string) error {
		if what == op || what == op+" "+key {
			return store.ErrUnavailable
		}
		return nil
	}
}

func content(t *testing.T, bucket store.Bucket, key string) string {
	t.Helper()
	r, err := bucket.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestLeftoversOnARealServer aborts what a dead writer left.
func TestLeftoversOnARealServer(t *testing.T) {
	t.Parallel()
	server, err := testenv.StartS3(t.Context(), testenv.StartOptions{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() }) // it ends with this process at the latest
	if err := server.CreateBucket(t.Context(), "leftovers"); err != nil {
		t.Fatal(err)
	}
	u := newUser(t, testenv.APIServer(t), server.Location("leftovers", "cluster/one"))
	u.open(&cutOff{Bucket: u.Bucket, key: "velero-backup.json"})
	if got := u.backUp("dead", time.Hour); got.Outcome != report.Failed {
		t.Fatalf("%+v", got)
	}
	u.open(u.Bucket)
	for _, key := range []string{"dead/dead.tar.gz", "other/other.tar.gz"} {
		if err := server.BeginUpload(t.Context(), "leftovers", "cluster/one/backups/"+key, "part"); err != nil {
			t.Fatal(err)
		}
	}
	if got := maintained(t, u.Installation, time.Hour); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("maintenance: %+v", got)
	}
	left, err := server.Uploads(t.Context(), "leftovers")
	if diff := cmp.Diff([]string{"cluster/one/backups/other/other.tar.gz"}, left); err != nil || diff != "" {
		t.Errorf("uploads: %v %s", err, diff)
	}
}
