package reader

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

func TestVolumesRun(t *testing.T) {
	t.Parallel()
	row := report.VolumeCheck{PV: "pv-1", Method: "CSISnapshot", Status: report.VolumeMissing}
	for name, c := range map[string]struct {
		lines []string
		end   report.VolumesEnd
		rows  []report.VolumeCheck
		err   string
	}{
		"whole": {
			lines: []string{
				`{"progress":{"done":0,"total":1}}`, `{"volume":{"pv":"pv-1","method":"CSISnapshot","status":"missing"}}`,
				`{"end":{"checked":1,"missing":1}}`, `{"volume":{"pv":"after the end"}}`,
			},
			rows: []report.VolumeCheck{row}, end: report.VolumesEnd{Checked: 1, Missing: 1},
		},
		"torn": {
			lines: []string{`{"volume":{"pv":"pv-1","method":"CSISnapshot","status":"missing"}}`},
			rows:  []report.VolumeCheck{row}, err: "look for the volumes' data: the answer broke off before its end: unexpected EOF",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := connected(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/volumes" || r.Header.Get("Authorization") != "Bearer secret" {
					http.Error(w, "wrong request", http.StatusBadRequest)
				}
				for _, line := range c.lines {
					fmt.Fprintln(w, line)
				}
			})
			r.doing = "look for the volumes' data"
			var rows []report.VolumeCheck
			end, err := (&Volumes{server: r.server}).Run(t.Context(), func(e report.VolumeEvent) error {
				if e.Volume != nil {
					rows = append(rows, *e.Volume)
				}
				return nil
			})
			if c.err != "" && (err == nil || err.Error() != c.err) || c.err == "" && err != nil {
				t.Errorf("%v, want %s", err, c.err)
			}
			if diff := cmp.Diff(c.end, end); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.rows, rows); diff != "" {
				t.Error(diff)
			}
		})
	}
}
