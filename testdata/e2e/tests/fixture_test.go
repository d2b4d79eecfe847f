//go:build e2e

package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/compare"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/shop"
)

// fixture is what an unmodified Velero 1.18.0 wrote for the application, below
// the root.
const fixture = "testdata/fixtures/velero-1.18.0"

// fixtureHello is an image of the fixture; its other one is the pause image.
const fixtureHello = "local/hello:1"

// TestFixture restores a backup that Velero wrote in another cluster.
func TestFixture(t *testing.T) {
	s := patient(t)
	s.ownShop()
	s.check(shop.DeleteAll(t.Context(), s.c))
	location, name := unique("fixture"), "shop"
	s.location(location, fixturePrefix)
	s.putFixture(name)
	// The records only: what deleting a backup does has its own test.
	s.after("kubectl", "-n", namespace, "delete", "--ignore-not-found",
		"backup.velero.io/"+name, "backupstoragelocation.velero.io/"+location)
	if s.cluster.Kind == provider.Local {
		// The fixture's volume is a folder that the kubelet makes on this machine;
		// nothing writes into it, and one that isn't empty stays.
		t.Cleanup(func() { _ = os.Remove("/var/lib/shop-data") })
	}
	s.syncBackup(location, name)

	restore := unique("restore")
	s.must("kubectl", "velero", "restore", "create", restore, "--from-backup", name, "--wait")
	s.check(shop.WaitRunning(t.Context(), s.c))
	before, err := compare.Load(os.DirFS(s.tree.Path(fixture, "state-before")))
	s.check(err)
	s.compare(before, compare.Options{OtherCluster: true})
	s.check(shop.DeleteAll(t.Context(), s.c))
}

// fixturePrefix keeps Velero's backup apart from ours of the same name.
const fixturePrefix = "velero-wrote"

// otherPrefix is that of locations for which the default's folders won't do.
const otherPrefix = "other"

// location creates a BackupStorageLocation in the tests' bucket.
func (s *session) location(name, prefix string) {
	s.t.Helper()
	s.apply(fmt.Sprintf(`apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: %s, namespace: %s}
spec:
  provider: aws
  objectStorage: {bucket: %s, prefix: %s}
  config: {region: us-east-1, s3ForcePathStyle: "true", s3Url: %q}
`, name, namespace, bucket, prefix, s.s3.Endpoint))
}

// putFixture copies Velero's files into the bucket.
func (s *session) putFixture(name string) {
	s.t.Helper()
	store := s.open()
	folder := s.tree.Path(fixture, name)
	files, err := os.ReadDir(folder)
	s.check(err)
	for _, file := range files {
		body, err := os.ReadFile(path.Join(folder, file.Name()))
		s.check(err)
		s.check(store.Put(s.t.Context(), path.Join(fixturePrefix, "backups", name, file.Name()), bytes.NewReader(body)))
	}
}

// syncBackup creates the Backup as Velero's sync does from velero-backup.json:
// the location is the local one, the rest stays.
func (s *session) syncBackup(location, name string) {
	s.t.Helper()
	text, err := os.ReadFile(s.tree.Path(fixture, name, "velero-backup.json"))
	s.check(err)
	var backup velerov1.Backup
	s.check(json.Unmarshal(text, &backup))
	backup.Namespace, backup.ResourceVersion, backup.UID = namespace, "", ""
	backup.ManagedFields, backup.OwnerReferences = nil, nil
	backup.Spec.StorageLocation = location
	backup.Labels[velerov1.StorageLocationLabel] = velerov1.ValidName(location)
	_, err = s.velero.Backups(namespace).Create(s.t.Context(), &backup, metav1.CreateOptions{})
	s.check(err)
}
