package launch

import (
	"slices"
	"testing"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// TestEndTakesCountsAway of snapshots that were taken for a backup that failed: they
// belong to none.
func TestEndTakesCountsAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		operation string
		outcome   report.Outcome
		gone      bool
	}{
		"failed backup":  {velerov1.OperationBackup, report.Failed, true},
		"partly":         {velerov1.OperationBackup, report.PartiallyFailed, false},
		"completed":      {velerov1.OperationBackup, report.Completed, false},
		"failed restore": {velerov1.OperationRestore, report.Failed, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status := endPatch(State{Operation: c.operation}, Verdict{Outcome: c.outcome})["status"].(map[string]any)
			gone := !slices.ContainsFunc(velerov1.SnapshotCounts(), func(field string) bool {
				value, told := status[field]
				return !told || value != nil
			})
			if gone != c.gone {
				t.Errorf("status %v: counts are taken away: %t", status, gone)
			}
		})
	}
}
