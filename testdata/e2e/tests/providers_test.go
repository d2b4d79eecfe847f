//go:build e2e

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/compare"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/shop"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// elsewhere is a place for backups that isn't the tests' S3 server.
type elsewhere struct {
	provider string
	// create makes a location with credentials of its own, and says how this
	// machine reaches the same place.
	create func(s *session, location string) store.Location
	// recover is how a cluster that has lost its records gets them back before a
	// restore; nil leaves it to the restore.
	recover []string
	// beside is what else is shown with a backup; nil for nothing.
	beside func(s *session, b stored)
}

// places are the providers beside S3. LOCATION stands for the location's name.
var places = []elsewhere{
	{provider: "azure", create: (*session).azureLocation, recover: []string{"kubectl", "velero", "backup-location", "sync", "LOCATION"}},
	{provider: "gcp", create: (*session).gcpLocation, beside: (*session).trustsItself},
	{provider: "filesystem", create: (*session).volumeLocation, recover: []string{"kubectl", "velero", "backup", "get", "--sync"}},
}

// stored is a backup of the sample application that lies elsewhere.
type stored struct {
	elsewhere
	location, backup string
	here             store.Location
}

// TestProviders is the story of the sample application with each other provider:
// all backups are made side by side, and then the application is lost and restored
// from one after the other, each time by a cluster without records of its backups.
func TestProviders(t *testing.T) {
	s := patient(t)
	if s.cluster.Kind != provider.Local {
		t.Skip("needs servers that pods reach on this machine: the local cluster")
	}
	all := make([]stored, len(places))
	for i, place := range places {
		location := unique(place.provider)
		all[i] = stored{elsewhere: place, location: location, backup: location, here: place.create(s, location)}
	}
	s.ownShop()
	s.deployShop()
	before, err := shop.Read(t.Context(), s.config)
	s.check(err)

	t.Run("back up", func(t *testing.T) {
		for _, backup := range all {
			t.Run(backup.provider, func(t *testing.T) {
				t.Parallel()
				backup.backUp(s.sub(t))
			})
		}
	})
	for _, backup := range all {
		t.Run(backup.provider, func(t *testing.T) { backup.comesBack(s.sub(t), before) })
	}
	s.check(shop.DeleteAll(t.Context(), s.c))
}

// backUp makes the backup, and reads it with every verb that does.
func (b stored) backUp(s *session) {
	out := s.must("kubectl", "velero", "backup-location", "check", b.location, "--size", "20Mi")
	if strings.Contains(out, "failed") {
		s.t.Errorf("check:\n%s", out)
	}
	s.must("kubectl", "velero", "backup", "create", b.backup, "--storage-location", b.location, "--include-namespaces", shop.Namespace, "--wait")
	if got := s.must("kubectl", "velero", "backup", "verify", b.backup); !strings.Contains(got, "is sound") {
		s.t.Errorf("verify: %s", got)
	}
	if got := s.must("kubectl", "velero", "backup", "logs", b.backup); !strings.Contains(got, "level=info") {
		s.t.Errorf("logs hold no line:\n%s", got)
	}
	if got := s.must("kubectl", "velero", "backup", "describe", b.backup, "--details"); !strings.Contains(got, "Completed") || !strings.Contains(got, "shop/web") {
		s.t.Errorf("describe:\n%s", got)
	}
	if got := s.must("kubectl", "velero", "backup-location", "get", b.location); !strings.Contains(got, string(velerov1.BackupStorageLocationPhaseAvailable)) {
		s.t.Errorf("location: %s", got)
	}
	if b.beside != nil {
		b.beside(s, b)
	}
}

// trustsItself reads a backup whose location has a certificate that isn't the
// storage's, with the right one at hand.
func (s *session) trustsItself(b stored) {
	dir := s.t.TempDir()
	wrong, right := filepath.Join(dir, "wrong.crt"), filepath.Join(dir, "right.crt")
	s.check(os.WriteFile(right, b.here.CACert, 0o600))
	s.check(testenv.WriteAuthority(wrong))
	s.must("kubectl", "velero", "backup-location", "set", b.location, "--cacert", wrong)
	if result := s.exits(1, "kubectl", "velero", "backup", "verify", b.backup, "--volumes"); !strings.Contains(result.Stderr, "certificate") {
		s.t.Errorf("verify with the wrong certificate: %s", result.Stderr)
	}
	s.must("kubectl", "velero", "backup", "verify", b.backup, "--volumes", "--cacert", right)
	s.must("kubectl", "velero", "backup-location", "set", b.location, "--cacert", right)
}

// comesBack loses the application and the records, restores, and cleans up.
func (b stored) comesBack(s *session, before compare.State) {
	s.must("kubectl", "-n", namespace, "delete", "backup.velero.io/"+b.backup)
	s.check(shop.Delete(s.t.Context(), s.c))
	if b.recover != nil {
		s.must(strings.Fields(strings.ReplaceAll(strings.Join(b.recover, " "), "LOCATION", b.location))...)
		s.must("kubectl", "velero", "backup", "get", b.backup)
	}
	s.must("kubectl", "velero", "restore", "create", b.backup, "--from-backup", b.backup, "--wait")
	s.check(shop.WaitRunning(s.t.Context(), s.c))
	s.check(shop.ReadFile(s.t.Context(), s.c))
	s.compare(before, compare.Options{})
	s.checkRestoreRead(b.backup)

	s.must("kubectl", "velero", "backup", "delete", b.backup, "--confirm")
	if keys := s.keysOf(b.here, ""); len(keys) > 0 {
		s.t.Errorf("left in the bucket: %q", keys)
	}
	s.must("kubectl", "velero", "backup-location", "delete", b.location, "--confirm")
}

// keysOf lists what a location holds below a prefix.
func (s *session) keysOf(l store.Location, prefix string) []string {
	s.t.Helper()
	opened, err := store.Open(s.t.Context(), l)
	s.check(err)
	var keys []string
	for object, err := range opened.List(s.t.Context(), prefix) {
		s.check(err)
		keys = append(keys, object.Key)
	}
	return keys
}

// secret makes a Secret from a file, for as long as the test runs.
func (s *session) secret(name, key, file string) {
	s.t.Helper()
	s.must("kubectl", "-n", namespace, "create", "secret", "generic", name, fmt.Sprintf("--from-file=%s=%s", key, file))
	s.after("kubectl", "-n", namespace, "delete", "secret/"+name)
}
