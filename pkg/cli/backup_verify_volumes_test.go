package cli

import (
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// TestVolumesOutcome: what is missing is a broken backup, what nobody could tell is no
// success.
func TestVolumesOutcome(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  report.VolumesEnd
		exit int
	}{
		"all there":             {report.VolumesEnd{Checked: 2, OK: 2}, 0},
		"none saved":            {report.VolumesEnd{}, 0},
		"missing":               {report.VolumesEnd{Checked: 2, OK: 1, Missing: 1}, 3},
		"failed":                {report.VolumesEnd{Checked: 1, Failed: 1}, 3},
		"missing, some unknown": {report.VolumesEnd{Checked: 2, Unknown: 1, Missing: 1}, 3},
		"unknown":               {report.VolumesEnd{Checked: 1, Unknown: 1}, 1},
		"interrupted":           {report.VolumesEnd{Checked: 1, OK: 1, Reason: "the deadline was reached"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := (&volumesResult{Summary: c.end}).outcome("shop")
			got := ExitCode(err)
			if got != c.exit {
				t.Errorf("exit code %d, want %d: %v", got, c.exit, err)
			}
		})
	}
}
