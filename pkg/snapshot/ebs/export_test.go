package ebs

import (
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// OpenFast is Open with pauses that a test can bear.
func OpenFast(tb testing.TB, c snapshot.Config) snapshot.Snapshotter {
	tb.Helper()
	s, err := open(tb.Context(), c, pauses{request: time.Millisecond, poll: time.Millisecond, pollMax: 2 * time.Millisecond, visible: 200 * time.Millisecond})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
