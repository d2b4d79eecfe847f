//go:build e2e

package tests

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/artifact"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/compare"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/shop"
)

// TestStory is the demo's story: a backup of the sample application, its loss,
// its restore. What was written is checked against the format on the way.
func TestStory(t *testing.T) {
	s := patient(t)
	s.ownShop()
	s.deployShop()
	name := unique("story")
	before, err := shop.Read(t.Context(), s.config)
	s.check(err)

	out := s.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", shop.Namespace, "--wait")
	if !strings.Contains(out, "Completed") {
		t.Errorf("the backup's end isn't told: %q", out)
	}
	if got := s.must("kubectl", "velero", "backup", "get", name, "-o", "name"); strings.TrimSpace(got) != "backup.velero.io/"+name {
		t.Errorf("backup get -o name: %q", got)
	}
	if got := s.must("kubectl", "velero", "backup", "describe", name); !strings.Contains(got, "Completed") {
		t.Errorf("describe says no Completed:\n%s", got)
	}
	if got := s.must("kubectl", "velero", "backup", "logs", name); !strings.Contains(got, "level=info") {
		t.Errorf("logs hold no line:\n%s", got)
	}
	t.Run("format", func(t *testing.T) { checkFormat(t, s, name) })

	s.check(shop.Delete(t.Context(), s.c))
	s.must("kubectl", "velero", "restore", "create", name, "--from-backup", name, "--wait")
	s.check(shop.WaitRunning(t.Context(), s.c))
	s.check(shop.ReadFile(t.Context(), s.c))
	s.compare(before, compare.Options{})
	s.checkRestoreRead(name)

	s.must("kubectl", "velero", "backup", "delete", name, "--confirm")
	s.checkDeleted(name)
	s.check(shop.DeleteAll(t.Context(), s.c))
}

// deployShop applies the application anew and waits until it runs.
func (s *session) deployShop() {
	s.t.Helper()
	s.check(shop.DeleteAll(s.t.Context(), s.c))
	data := "/var/tmp/kubectl-velero-e2e/shop-data"
	if s.cluster.Kind == provider.Local {
		data = filepath.Join(s.folder, "shop-data")
	}
	files, err := shop.Manifests(s.tree, filepath.Join(s.folder, "shop"), shop.Values{Image: s.images[artifact.AppName], DataDir: data})
	s.check(err)
	s.check(shop.Apply(s.t.Context(), s.c, files))
	s.check(shop.WriteFile(s.t.Context(), s.c))
}

// compare wants the application to be what it was.
func (s *session) compare(before compare.State, options compare.Options) {
	s.t.Helper()
	exceptions, err := compare.Written()
	s.check(err)
	read := func(ctx context.Context) (compare.State, error) { return shop.Read(ctx, s.config) }
	result, err := compare.Settle(s.t.Context(), 30*time.Second, read, func(after compare.State) compare.Result {
		return compare.Compare(before, after, exceptions, options)
	})
	s.check(err)
	for _, difference := range result.Differences {
		s.t.Errorf("differs: %s", difference)
	}
	s.t.Logf("%d objects are what they were", result.Same)
	for _, reason := range slices.Sorted(maps.Keys(result.Excepted)) {
		s.t.Logf("%5d × %s", result.Excepted[reason], reason)
	}
	// A comparison of nothing would pass.
	if result.Same < 20 {
		s.t.Errorf("only %d objects are what they were", result.Same)
	}
}

// checkRestoreRead looks at a restore with every verb that reads it.
func (s *session) checkRestoreRead(name string) {
	s.t.Helper()
	if got := s.must("kubectl", "velero", "restore", "get", name); !strings.Contains(got, string(velerov1.RestorePhaseCompleted)) {
		s.t.Errorf("restore get: %s", got)
	}
	if got := s.must("kubectl", "velero", "restore", "describe", name); !strings.Contains(got, name) {
		s.t.Errorf("restore describe: %s", got)
	}
	if got := s.must("kubectl", "velero", "restore", "logs", name); !strings.Contains(got, "level=info") {
		s.t.Errorf("restore logs: %s", got)
	}
	bindings, err := s.kube.RbacV1().ClusterRoleBindings().List(s.t.Context(), metav1.ListOptions{
		LabelSelector: "kubectl-velero.io/operation=restore,kubectl-velero.io/name=" + name,
	})
	s.check(err)
	if len(bindings.Items) > 0 {
		s.t.Errorf("the restore's rights are left: %s", bindings.Items[0].Name)
	}
}

// checkDeleted wants nothing of a deleted backup in cluster and bucket.
func (s *session) checkDeleted(name string) {
	s.t.Helper()
	if got := s.must("kubectl", "-n", namespace, "get", "backups.velero.io,restores.velero.io", "-o", "name"); strings.Contains(got, name) {
		s.t.Errorf("left in the cluster: %s", got)
	}
	if keys := s.keys("backups/" + name + "/"); len(keys) > 0 {
		s.t.Errorf("left in the bucket: %q", keys)
	}
	if keys := s.keys("restores/" + name + "/"); len(keys) > 0 {
		s.t.Errorf("left in the bucket: %q", keys)
	}
}
