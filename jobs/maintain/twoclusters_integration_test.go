//go:build integration

package maintain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// TestTwoClustersOneBucket goes through what two clusters may do to each other's
// backups.
func TestTwoClustersOneBucket(t *testing.T) {
	t.Parallel()
	location := testenv.S3(t)
	a, b := newUser(t, testenv.APIServer(t), location), newUser(t, otherAPIServer(t), location)
	if a.ClusterID() == b.ClusterID() {
		t.Fatal("both clusters have the same id")
	}
	if got := a.backUp("shop", 2*time.Second); got.Outcome != report.Completed {
		t.Fatalf("backup: %+v", got)
	}
	if id := a.get("shop").Annotations[velerov1.ClusterIDAnnotation]; id != a.ClusterID() {
		t.Errorf("cluster id on the Backup %q", id)
	}
	if owner, err := catalog.New(b.Bucket).Owner(t.Context(), "shop"); owner != a.ClusterID() || err != nil {
		t.Errorf("owner %q, %v", owner, err)
	}
	files := a.keys()

	// The other cluster can't take the name, and removing its attempt does no harm.
	if got := b.backUp("shop", time.Hour); got.Outcome != report.Failed || !strings.Contains(got.Reason, "already exists there") {
		t.Errorf("the same name: %+v", got)
	}
	if got := b.sync(false); got.Outcome != report.Completed || got.Warnings != 1 {
		t.Errorf("sync beside a failed Backup of the name: %+v", got)
	}
	if got, err := deletejob.Run(t.Context(), deletejob.Config{Env: b.Env, Backup: "shop"}); err != nil || got.Outcome != report.Completed {
		t.Errorf("delete the attempt: %+v, %v", got, err)
	}
	b.expectFiles(files)

	// It sees the backup, can't delete it without force, and doesn't expire it.
	if got := b.sync(false); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("sync: %+v", got)
	}
	b.expectShown("shop Completed")
	if got, err := deletejob.Run(t.Context(), deletejob.Config{Env: b.Env, Backup: "shop"}); err != nil || got.Outcome != report.Usage || !strings.Contains(got.Reason, "made by another cluster") {
		t.Errorf("delete: %+v, %v", got, err)
	}
	time.Sleep(2 * time.Second) // both clusters' clocks are this machine's
	if got := maintained(t, b.Installation, time.Hour); got.Outcome != report.Completed {
		t.Errorf("maintenance there: %+v", got)
	}
	b.expectFiles(files)
	if label := b.get("shop").Labels[velerov1.GCFailureLabel]; label != "NotOurs" {
		t.Errorf("label %q", label)
	}

	// Its own cluster does. Then the other one's record is the last, and stays
	// until somebody says so.
	if got := maintained(t, a.Installation, time.Hour); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("maintenance here: %+v", got)
	}
	a.expectShown()
	a.expectFiles(nil)
	if got := maintained(t, b.Installation, time.Hour); got.Outcome != report.Completed || got.Warnings != 1 {
		t.Errorf("maintenance there: %+v", got)
	}
	if got := b.sync(false); got.Outcome != report.PartiallyFailed || !strings.Contains(got.Reason, "no Backup is removed") {
		t.Errorf("sync: %+v", got)
	}
	b.expectShown("shop Completed")
	if got := b.sync(true); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("forced sync: %+v", got)
	}
	b.expectShown()
}

// expectFiles compares the keys in the bucket.
func (u *user) expectFiles(want []string) {
	u.t.Helper()
	if diff := cmp.Diff(want, u.keys()); diff != "" {
		u.t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// TestARebuiltClusterGetsItsBackupsBack loses every object and the cluster's id.
func TestARebuiltClusterGetsItsBackupsBack(t *testing.T) {
	t.Parallel()
	location := testenv.S3(t)
	old, rebuilt := newUser(t, testenv.APIServer(t), location), newUser(t, otherAPIServer(t), location)
	old.backUp("short", time.Second)
	old.backUp("long", time.Hour)
	time.Sleep(time.Second)
	if got := maintained(t, rebuilt.Installation, time.Hour); got.Outcome != report.Completed || got.Items != 2 {
		t.Errorf("maintenance: %+v", got)
	}
	rebuilt.expectShown("long Completed", "short Completed")
	rebuilt.adopt(old.ClusterID())
	if got := maintained(t, rebuilt.Installation, time.Hour); got.Outcome != report.Completed || got.Items != 1 {
		t.Errorf("maintenance after the adoption: %+v", got)
	}
	rebuilt.expectShown("long Completed")
	if got, err := deletejob.Run(t.Context(), deletejob.Config{Env: rebuilt.Env, Backup: "long"}); err != nil || got.Outcome != report.Completed {
		t.Errorf("delete without force: %+v, %v", got, err)
	}
	rebuilt.expectFiles(nil)
}
