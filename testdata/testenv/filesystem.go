package testenv

import (
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// Filesystem is a location in a folder of the test's own, as a Job sees one whose
// volume is mounted there.
func Filesystem(tb testing.TB) store.Location {
	tb.Helper()
	return store.Location{
		Provider: "filesystem", Bucket: "backups", Root: tb.TempDir(),
		Config: map[string]string{"persistentVolumeClaim": "backups"},
	}
}
